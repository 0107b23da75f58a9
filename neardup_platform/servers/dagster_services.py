"""Dagster on one machine: code servers, shared by webserver and daemon, each in its own process.

`dagster dev`, or webserver and daemon each loading `workspace.yaml`, would run a second copy of every code server;
docs/embedded-servers.md has the measurements. Code servers have no authentication and run whatever they are asked to,
so they listen on Unix sockets in a private folder. The engine does not import Dagster: it only starts it.
"""

import contextlib
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from neardup_platform.servers.dagster_workspace import (
    CodeLocation,
    code_locations,
    prepare_dagster_home,
    write_workspace,
)
from neardup_platform.servers.endpoints import environment
from neardup_platform.servers.http_probe import answers_ok
from neardup_platform.servers.ports import socket_answers
from neardup_platform.servers.worker_supervision import NAME as WORKER_SUPERVISOR
from neardup_platform.settings import Settings
from neardup_platform.supervise.service import Service

_CODE, _DAEMON, _WEB = "dagster-code", "dagster-daemon", "dagster-webserver"
# The address of a Unix socket is limited to 107 bytes.
_LONGEST_SOCKET = 100
_TEMPORARY = "neardup-sockets-"
# The time that a run has to stop its worker (20 s) and to record how it ended.
_STOP_S = 40.0


def dagster_services(settings: Settings, workspace: Path, stop_worker: Callable[[], object]) -> list[Service]:
    """A code server for each location of `workspace`, then webserver and daemon.

    Args:
        settings: resolved; runs inherit them as environment variables.
        stop_worker: stops a stream worker that outlived a crashed code server.

    Raises:
        SetupError: `workspace` is missing or cannot be served.
    """
    locations, others = code_locations(workspace)
    home, shared = settings.dagster_home, settings.home / "run" / "dagster-workspace.yaml"
    names = _service_names(locations)
    sockets = _sockets(settings.home, names)
    env = {**environment(settings), "DAGSTER_HOME": str(home), "PYTHONPATH": str(workspace.parent)}
    # The first start creates the SQLite databases, which only one process at a time may do.
    fresh = not (home / "history" / "runs.db").exists()

    def prepare() -> None:
        prepare_dagster_home(home)
        write_workspace(shared, dict(zip((place.name for place in locations), sockets, strict=True)), others)

    code = [
        _code_server(name, place, socket, env, prepare, stop_worker if name == _CODE else lambda: None)
        for name, place, socket in zip(names, locations, sockets, strict=True)
    ]
    webserver = Service(
        name=_WEB,
        argv=(sys.executable, "-m", "resources.guarded_webserver", str(shared)),
        env=env,
        probe=answers_ok(f"{settings.dagster.url}/server_info"),
        ports=(settings.dagster.port,),
        url=settings.dagster.url,
        after=tuple(names),
    )
    daemon = Service(
        name=_DAEMON,
        argv=(sys.executable, "-m", "dagster._daemon", "run", "-w", str(shared)),
        env=env,
        probe=lambda: None,
        after=(*names, "kafka", "s3", *((_WEB,) if fresh else ())),
    )
    return [*code, webserver, daemon]


def stop_order(services: list[Service]) -> tuple[str, ...]:
    """First the daemon, so that it launches nothing more; then the code servers, whose groups contain the runs.

    Without Dagster, the supervisor of the worker stops first.
    """
    return (_DAEMON, WORKER_SUPERVISOR, *(service.name for service in services if service.name.startswith(_CODE)))


def _code_server(
    name: str,
    location: CodeLocation,
    socket: Path,
    env: Mapping[str, str],
    prepare: Callable[[], None],
    before_restart: Callable[[], object],
) -> Service:
    return Service(
        name=name,
        argv=(location.python, "-m", "dagster", "api", "grpc", "--socket", str(socket), *location.arguments),
        env=env,
        probe=lambda: None if socket_answers(socket) else f"nothing answers on {socket}",
        prepare=prepare,
        before_restart=before_restart,
        on_stopped=lambda: _remove_socket(socket),
        stop_timeout_s=_STOP_S,
    )


def _remove_socket(socket: Path) -> None:
    """Remove a socket, and the temporary folder that was created for it."""
    socket.unlink(missing_ok=True)
    if socket.parent.name.startswith(_TEMPORARY):
        with contextlib.suppress(OSError):
            socket.parent.rmdir()


def _service_names(locations: list[CodeLocation]) -> list[str]:
    """A file name for each location. The first is `dagster-code`, whose runs contain the stream worker."""
    return [_CODE] + [
        f"{_CODE}-{number}-{re.sub(r'[^A-Za-z0-9_]+', '-', location.name)[:40]}"
        for number, location in enumerate(locations[1:], 2)
    ]


def _sockets(home: Path, names: list[str]) -> list[Path]:
    """Socket paths of the code servers: in the home, or in a private temporary folder if the path is too long."""
    folder = home / "run"
    if any(len(bytes(folder / f"{name}.sock")) > _LONGEST_SOCKET for name in names):
        folder = Path(tempfile.mkdtemp(prefix=_TEMPORARY))
        return [folder / f"{number}.sock" for number in range(len(names))]
    return [folder / f"{name}.sock" for name in names]
