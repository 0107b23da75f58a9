"""The whole platform on one machine, as `neardup up` runs it: Kafka and S3, Dagster, the API.

The stream worker is not started here: Dagster's sensor starts it, and the API is ready once the worker is. Run as a
module, this is the daemon behind `neardup up --detach`.
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
from neardup_platform.servers.dagster_services import dagster_services, stop_order
from neardup_platform.servers.embedded_servers import claimed, server_services, supervised
from neardup_platform.servers.endpoints import API_PORT, DAGSTER_PORT, environment, needs_kafka, with_ports
from neardup_platform.servers.http_probe import answers_ok
from neardup_platform.servers.logs_start import with_logs_start
from neardup_platform.servers.ports import check_available, choose
from neardup_platform.servers.worker_supervision import worker_service
from neardup_platform.settings import Settings
from neardup_platform.supervise.service import Service
from neardup_platform.supervise.stop_worker import stop_worker
from neardup_platform.terminal_text import visible

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run_platform(
    settings: Settings, notify: Callable[[str], None], on_ready: Callable[[Settings], None] = lambda _: None
) -> None:
    """Start everything, call `on_ready` with resolved settings, and run until SIGTERM, SIGINT or SIGHUP.

    Runs in the main thread. When it returns or raises, no process that it started is left.

    Args:
        notify: called with one line for the operator.

    Raises:
        HomeInUse: another supervisor owns the home.
        SetupError: Java, Maven, disk space, a requested port, or `workspace.yaml` is missing.
        ServerUnavailable: a service did not become ready; names its log.
    """
    with stop_on_signal() as stop, claimed(settings.home):
        resolved, services = platform_services(settings)
        if not needs_kafka(settings):
            _ensure_topics(resolved)
        with supervised(settings.home, services, notify, stop_order(services)) as supervisor:
            supervisor.start(stop)
            if not stop.is_set():
                on_ready(resolved)
                supervisor.watch(stop)
            notify("stopping")


def platform_services(settings: Settings) -> tuple[Settings, list[Service]]:
    """Every service of `neardup up`, and settings with all addresses filled in.

    Raises:
        SetupError: see `run_platform`.
    """
    for name, section in (("api.port", settings.api), ("dagster.port", settings.dagster)):
        if section.port:
            check_available(name, section.port, section.host)
    with_servers, servers = server_services(settings)
    chosen = choose(settings.home, (DAGSTER_PORT, API_PORT))
    with_addresses = with_ports(with_servers, {name: chosen[name] for name in (DAGSTER_PORT, API_PORT)})
    resolved = with_logs_start(with_addresses, needs_kafka(settings), datetime.now(UTC))
    servers = [
        replace(server, on_ready=lambda: _ensure_topics(resolved)) if server.name == "kafka" else server
        for server in servers
    ]
    return resolved, [*servers, *_worker_services(resolved), _api_service(resolved)]


def _worker_services(settings: Settings) -> list[Service]:
    """Dagster, whose sensor starts the worker; outside a checkout, which has no code location, the worker itself."""
    workspace = workspace_file()
    if workspace.exists():
        return dagster_services(settings, workspace, lambda: stop_worker(settings.home))
    return [worker_service(settings)]


def workspace_file() -> Path:
    """`workspace.yaml` of the checkout that contains this package."""
    return Path(__file__).resolve().parents[2] / "workspace.yaml"


@contextlib.contextmanager
def stop_on_signal() -> Iterator[threading.Event]:
    """An event that SIGTERM, SIGINT or SIGHUP sets; the previous handlers are restored at the end of the with block."""
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    previous = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _ensure_topics(settings: Settings) -> None:
    # Imported here because every command imports this package and few need a Kafka client.
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
        # Ready once the worker is, which Dagster starts, and which first loads TensorFlow and its index.
        ready_timeout_s=180.0,
    )


def _log(line: str) -> None:
    sys.stdout.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {visible(line)}\n")
    sys.stdout.flush()


def main() -> int:
    """Run the platform, and report the outcome of the start in one JSON line to the process waiting on `--ready-fd`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--ready-fd", type=int, required=True)
    ready_fd = parser.parse_args().ready_fd
    os.set_inheritable(ready_fd, False)

    def report(message: dict[str, str]) -> None:
        with contextlib.suppress(OSError):
            os.write(ready_fd, json.dumps(message).encode() + b"\n")
            os.close(ready_fd)

    try:
        run_platform(Settings(), _log, lambda _: report({"ready": "yes"}))
    except NeardupError as error:
        _log(str(error))
        report({"error": type(error).__name__, "text": str(error)})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
