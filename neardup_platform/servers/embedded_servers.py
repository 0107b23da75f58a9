"""The embedded Kafka and S3 without the rest of the platform: for tests, benchmarks and `neardup worker`."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from neardup_platform.files import write_json
from neardup_platform.servers import kafka_server, s3_server
from neardup_platform.servers.endpoints import needs_kafka, needs_s3, state_file, with_ports
from neardup_platform.servers.ports import choose
from neardup_platform.settings import Settings
from neardup_platform.supervise.home import mark_of, owned, prepare_home
from neardup_platform.supervise.process import created_at, marked, stop_processes
from neardup_platform.supervise.service import Service
from neardup_platform.supervise.supervisor import Supervisor


def ignore(_line: str) -> None:
    """Print nothing: for callers without an operator."""


@contextlib.contextmanager
def running_servers(
    settings: Settings, *, kafka: bool = True, s3: bool = True, notify: Callable[[str], None] = ignore
) -> Iterator[Settings]:
    """Run the embedded servers that `settings` does not replace and the caller needs, for the duration of a with block.

    A server that crashes inside the block is restarted. Topics are not created.

    Yields:
        Resolved settings.

    Raises:
        HomeInUse: another process owns the home.
        SetupError: Java, Maven, disk space or another requirement is missing.
        ServerUnavailable: a server did not become ready.
    """
    with claimed(settings.home):
        resolved, services = server_services(settings, kafka=kafka, s3=s3)
        with supervised(settings.home, services, notify) as supervisor:
            stop = threading.Event()
            supervisor.start(stop)
            watcher = threading.Thread(target=supervisor.watch, args=(stop,), name="watch", daemon=True)
            watcher.start()
            try:
                yield resolved
            finally:
                stop.set()
                watcher.join()


@contextlib.contextmanager
def claimed(home: Path) -> Iterator[None]:
    """Own a prepared home, after stopping what a killed supervisor left running.

    Raises:
        HomeInUse: another process owns it.
        SetupError: it is unusable.
    """
    prepare_home(home)
    with owned(home):
        stop_leftovers(home)
        try:
            yield
        finally:
            stop_leftovers(home)
            state_file(home).unlink(missing_ok=True)


@contextlib.contextmanager
def supervised(
    home: Path, services: list[Service], notify: Callable[[str], None], stop_order: tuple[str, ...] = ()
) -> Iterator[Supervisor]:
    """A supervisor for a claimed home; its services are stopped at the end of the with block."""
    identity = {"pid": os.getpid(), "created": created_at(os.getpid())}
    seen_ready: set[str] = set()

    def write_state(status: list[dict[str, Any]]) -> None:
        # A server that crashed keeps its address, even before it is started again.
        seen_ready.update(entry["name"] for entry in status if entry["ready"])
        servers_ready = all(entry["name"] in seen_ready for entry in status if entry["name"] in ("kafka", "s3"))
        write_json(state_file(home), {**identity, "servers_ready": servers_ready, "services": status})

    supervisor = Supervisor(home, mark_of(home), services, notify, write_state)
    try:
        yield supervisor
    finally:
        supervisor.stop(stop_order)


def server_services(settings: Settings, *, kafka: bool = True, s3: bool = True) -> tuple[Settings, list[Service]]:
    """The embedded servers that `settings` does not replace, and settings with their addresses filled in."""
    with_kafka, with_s3 = kafka and needs_kafka(settings), s3 and needs_s3(settings)
    services = []
    if with_kafka:
        chosen = choose(settings.home, kafka_server.PORTS)
        services.append(kafka_server.kafka_service(settings, chosen))
        settings = with_ports(settings, {name: chosen[name] for name in kafka_server.PORTS})
    if with_s3:
        chosen = choose(settings.home, s3_server.PORTS, s3_server.GRPC_OFFSET)
        services.append(s3_server.s3_service(settings, chosen))
        settings = with_ports(settings, {name: chosen[name] for name in s3_server.PORTS})
    return settings, services


def stop_leftovers(home: Path, timeout_s: float = 10.0) -> int:
    """Stop every remaining process that was started for this home; returns the number of processes."""
    processes = [process for process in marked(mark_of(home)) if process.pid != os.getpid()]
    return stop_processes(processes, timeout_s)
