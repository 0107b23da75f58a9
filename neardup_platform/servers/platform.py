"""The whole platform on one machine, as `neardup up` runs it: Kafka and S3, Dagster, the API.

The stream worker is not started here: Dagster's sensor does that, and the API is ready once the worker is.
Run as a module this is the daemon behind `neardup up --detach`.
"""

import argparse
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from neardup_platform.errors import NeardupError
from neardup_platform.servers.beginning import with_logs_start
from neardup_platform.servers.dagster_services import dagster_services, stop_order
from neardup_platform.servers.embedded_servers import claimed, server_services, supervised
from neardup_platform.servers.endpoints import API_PORT, DAGSTER_PORT, environment, needs_kafka, with_ports
from neardup_platform.servers.http_probe import answers_ok
from neardup_platform.servers.ports import check_wanted, choose
from neardup_platform.settings import Settings
from neardup_platform.supervise.service import Service
from neardup_platform.supervise.stop_worker import stop_worker
from neardup_platform.terminal_text import visible

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run_platform(
    settings: Settings, say: Callable[[str], None], on_ready: Callable[[Settings], None] = lambda _: None
) -> None:
    """Start everything, call `on_ready` with resolved settings, and stay until SIGTERM, SIGINT or SIGHUP.

    Runs in the main thread. Nothing it started is left when it returns or raises.

    Args:
        say: takes one line for the operator.

    Raises:
        HomeInUse: another supervisor owns the home.
        SetupError: Java, Maven, disk space, a port that was asked for, or `workspace.yaml` is missing.
        ServerUnavailable: something did not become ready; names its log.
    """
    with stop_on_signal() as stop, claimed(settings.home):
        resolved, services = platform_services(settings)
        if not needs_kafka(settings):
            _ensure_topics(resolved)
        with supervised(settings.home, services, say, stop_order(services)) as supervisor:
            supervisor.start(stop)
            if not stop.is_set():
                on_ready(resolved)
                supervisor.watch(stop)
            say("stopping")


def platform_services(settings: Settings) -> tuple[Settings, list[Service]]:
    """Every service of `neardup up`, and settings in which all addresses are filled in.

    Raises:
        SetupError: see `run_platform`.
    """
    for name, section in (("api.port", settings.api), ("dagster.port", settings.dagster)):
        if section.port:
            check_wanted(name, section.port, section.host)
    with_servers, servers = server_services(settings)
    chosen = choose(settings.home, (DAGSTER_PORT, API_PORT))
    with_addresses = with_ports(with_servers, {name: chosen[name] for name in (DAGSTER_PORT, API_PORT)})
    resolved = with_logs_start(with_addresses, needs_kafka(settings), datetime.now(UTC))
    servers = [
        replace(server, on_ready=lambda: _ensure_topics(resolved)) if server.name == "kafka" else server
        for server in servers
    ]
    dagster = dagster_services(resolved, workspace_file(), lambda: stop_worker(settings.home))
    return resolved, [*servers, *dagster, _api_service(resolved)]


def workspace_file() -> Path:
    """`workspace.yaml` of the checkout that this package belongs to."""
    return Path(__file__).resolve().parents[2] / "workspace.yaml"


@contextlib.contextmanager
def stop_on_signal() -> Iterator[threading.Event]:
    """An event that is set by SIGTERM, SIGINT or SIGHUP; the handlers before are put back at the end."""
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ensure_topics(settings: Settings) -> None:
    # Imported here, because every command asks this package where the servers are and few need a Kafka client.
    from neardup_platform.kafka.topics import ensure_topics

    ensure_topics(settings.kafka)


def _api_service(settings: Settings) -> Service:
    url = settings.api.url
    return Service(
        name="api",
        argv=(sys.executable, "-m", "neardup_platform.serving"),
        env=environment(settings),
        probe=answers_ok(f"{url}/readyz"),
        ports=(settings.api.port,),
        url=url,
        after=("kafka", "s3"),
        # Ready once the worker is, which Dagster starts, and which loads TensorFlow and its index first.
        ready_timeout_s=180.0,
    )


def _log(line: str) -> None:
    sys.stdout.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {visible(line)}\n")
    sys.stdout.flush()


def main() -> int:
    """Run the platform and tell the process waiting on `--ready-fd`, in one JSON line, how the start went."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--ready-fd", type=int, required=True)
    ready_fd = parser.parse_args().ready_fd
    os.set_inheritable(ready_fd, False)

    def tell(message: dict[str, str]) -> None:
        with contextlib.suppress(OSError):
            os.write(ready_fd, json.dumps(message).encode() + b"\n")
            os.close(ready_fd)

    try:
        run_platform(Settings(), _log, lambda _: tell({"ready": "yes"}))
    except NeardupError as error:
        _log(str(error))
        tell({"error": type(error).__name__, "text": str(error)})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
