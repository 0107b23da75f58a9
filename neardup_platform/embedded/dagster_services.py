"""Dagster on one machine: one code server, shared by webserver and daemon, each a process of its own.

`dagster dev`, or webserver and daemon each loading `workspace.yaml`, would run a second copy of the code
server; docs/embedded-servers.md has the measurements. The engine does not import Dagster: it only starts it.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from neardup_platform.embedded.endpoints import DAGSTER_PORT, environment
from neardup_platform.embedded.http_probe import answers_ok
from neardup_platform.embedded.ports import LOOPBACK, answers
from neardup_platform.embedded.service import Service
from neardup_platform.errors import SetupError
from neardup_platform.settings import Settings

CODE_PORT = "dagster-code"
PORTS = (DAGSTER_PORT, CODE_PORT)
# Daemon first, so that nothing is launched any more; the code server's group holds the runs.
STOP_ORDER = ("dagster-daemon", "dagster-code")

_INSTANCE: dict[str, Any] = {
    "telemetry": {"enabled": False},
    "nux": {"enabled": False},
    # A run that never starts, or outlives its process, is marked failed, and the sensor replaces it.
    "run_monitoring": {"enabled": True, "start_timeout_seconds": 120, "poll_interval_seconds": 15},
    "run_coordinator": {
        "module": "dagster.core.run_coordinator",
        "class": "QueuedRunCoordinator",
        # The stream worker's run holds one of these for good.
        "config": {"max_concurrent_runs": 4, "dequeue_interval_seconds": 1},
    },
    # A sensor that looks every few seconds would otherwise leave 6 million ticks a year.
    "retention": {
        "schedule": {"purge_after_days": 90},
        "sensor": {"purge_after_days": {"skipped": 1, "failure": 30, "success": 30, "started": 30}},
    },
}


def dagster_services(
    settings: Settings, ports: dict[str, int], workspace: Path, stop_worker: Callable[[], object]
) -> list[Service]:
    """Code server, webserver and daemon for the first code location of `workspace`.

    Args:
        settings: resolved; the code server's runs inherit them as environment variables.
        stop_worker: stops a stream worker that outlived a crashed code server.

    Raises:
        SetupError: `workspace` is missing or has no Python code location.
    """
    home = settings.home / "dagster"
    env = {**environment(settings), "DAGSTER_HOME": str(home)}
    shared = home / "workspace.yaml"
    name, code = code_location(workspace)
    port, code_port = ports[DAGSTER_PORT], ports[CODE_PORT]
    url = f"http://{settings.dagster.host}:{port}"
    # The first start creates the SQLite databases: one process at a time.
    fresh = not (home / "history" / "runs.db").exists()
    return [
        Service(
            name="dagster-code",
            argv=_dagster("dagster", "api", "grpc", "-h", LOOPBACK, "-p", str(code_port), *code),
            env=env,
            probe=lambda: None if answers(code_port) else f"nothing answers on port {code_port}",
            ports=(code_port,),
            prepare=lambda: _write_home(home, shared, name, code_port),
            before_restart=stop_worker,
            stop_timeout_s=20.0,
        ),
        Service(
            name="dagster-webserver",
            argv=_dagster("dagster_webserver", "-h", settings.dagster.host, "-p", str(port), "-w", str(shared)),
            env=env,
            probe=answers_ok(f"{url}/server_info"),
            ports=(port,),
            url=url,
            after=("dagster-code",),
        ),
        Service(
            name="dagster-daemon",
            argv=_dagster("dagster._daemon", "run", "-w", str(shared)),
            env=env,
            probe=lambda: None,
            after=("dagster-code", "kafka", "s3", *(("dagster-webserver",) if fresh else ())),
        ),
    ]


def code_location(workspace: Path) -> tuple[str, list[str]]:
    """Name of the first Python code location of a workspace file, and what makes `dagster api grpc` load it.

    Raises:
        SetupError: the file is missing or lists no `python_file`, `python_module` or `python_package`.
    """
    flags = {
        "python_file": "--python-file",
        "python_module": "--module-name",
        "python_package": "--package-name",
    }
    if not workspace.exists():
        raise SetupError(f"{workspace} is missing: run `neardup up` from a checkout, which has it")
    for entry in (yaml.safe_load(workspace.read_text()) or {}).get("load_from", []):
        for kind, flag in flags.items():
            if kind in entry:
                return _location_arguments(kind, flag, entry[kind], workspace.parent)
    raise SetupError(f"{workspace} lists no python_file, python_module or python_package under load_from")


def _location_arguments(kind: str, flag: str, value: str | dict[str, Any], root: Path) -> tuple[str, list[str]]:
    options = value if isinstance(value, dict) else {}
    target = (
        value
        if isinstance(value, str)
        else next(str(options[key]) for key in ("relative_path", "module_name", "package_name") if key in options)
    )
    if kind == "python_file":
        target = str(root / target)
    folder = root / options.get("working_directory", ".")
    arguments = [flag, target, "--working-directory", str(folder.resolve())]
    if "attribute" in options:
        arguments += ["--attribute", str(options["attribute"])]
    name = str(options.get("location_name", "neardup"))
    return name, [*arguments, "--location-name", name]


def _dagster(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *arguments)


def _write_home(home: Path, shared: Path, name: str, code_port: int) -> None:
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    (home / "dagster.yaml").write_text(yaml.safe_dump(_INSTANCE))
    server = {"host": LOOPBACK, "port": code_port, "location_name": name}
    shared.write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}))
