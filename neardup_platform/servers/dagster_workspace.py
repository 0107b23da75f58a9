"""`workspace.yaml` as `neardup up` serves it: every code location, each with its own code server.

The files that Dagster reads are generated from it: `run/dagster-workspace.yaml` in NEARDUP_HOME at every start, and
`dagster.yaml` in DAGSTER_HOME once. An operator's `dagster.yaml` is never changed.
"""

import contextlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from neardup_platform.errors import SetupError
from neardup_platform.files import create_file, replace_file

# By kind of location: the flag of `dagster api grpc`, and the option that names the code.
_CODE = {
    "python_file": ("--python-file", "relative_path"),
    "python_module": ("--module-name", "module_name"),
    "python_package": ("--package-name", "package_name"),
    "autoload_defs_module": ("--autoload-defs-module-name", "module_name"),
}
_KINDS = ", ".join((*_CODE, "grpc_server"))

_INSTANCE: dict[str, Any] = {
    "telemetry": {"enabled": False},
    "nux": {"enabled": False},
    # A run that never starts, or outlives its process, is marked as failed, and the sensor replaces it.
    "run_monitoring": {"enabled": True, "start_timeout_seconds": 120, "poll_interval_seconds": 15},
    "run_coordinator": {
        "module": "dagster.core.run_coordinator",
        "class": "QueuedRunCoordinator",
        "config": {"dequeue_interval_seconds": 1},
    },
    "concurrency": {
        # The stream worker's run occupies one of these permanently.
        "runs": {"max_concurrent_runs": 4},
        # One run at a time of the pool `batch`, so that batch work leaves a processor to the stream.
        "pools": {"granularity": "run", "default_limit": 1},
    },
    # A sensor that runs every few seconds would otherwise leave 6 million ticks a year.
    "retention": {
        "schedule": {"purge_after_days": 90},
        "sensor": {"purge_after_days": {"skipped": 1, "failure": 30, "success": 30, "started": 30}},
    },
}
_OURS = "# Created by the first `neardup up` and never written again: edit it, or delete it to restore the defaults.\n"


@dataclass(frozen=True, slots=True)
class CodeLocation:
    """Code that one of our code servers loads.

    Attributes:
        python: the interpreter, for a location with its own environment.
        arguments: make `dagster api grpc` load the code.
    """

    name: str
    python: str
    arguments: tuple[str, ...]


def code_locations(workspace: Path) -> tuple[list[CodeLocation], list[Mapping[str, Any]]]:
    """The locations of a workspace file, in its order: those of Python code, and external code servers.

    Raises:
        SetupError: the file is missing or empty, has a duplicate name, or has an entry that cannot be served.
    """
    if not workspace.exists():
        raise SetupError(f"{workspace} is missing: run `neardup up` from a checkout, which has it")
    ours, others = [], []
    entries = (yaml.safe_load(workspace.read_text()) or {}).get("load_from") or []
    for entry in entries:
        kind = next((kind for kind in _CODE if kind in entry), None)
        if kind:
            ours.append(_location(kind, entry[kind], workspace.parent))
        elif "grpc_server" in entry:
            others.append(entry)
        else:
            raise SetupError(f"{workspace}: {', '.join(entry)} under load_from is not supported: use one of {_KINDS}")
    if not ours:
        raise SetupError(f"{workspace} lists no Python code under load_from: add one of {', '.join(_CODE)}")
    names = [location.name for location in ours] + [str(o["grpc_server"].get("location_name")) for o in others]
    duplicate = next((name for name in names if name != "None" and names.count(name) > 1), None)
    if duplicate:
        raise SetupError(f"{workspace} has two locations named {duplicate!r}: give each its own location_name")
    return ours, others


def write_workspace(path: Path, sockets: Mapping[str, Path], others: list[Mapping[str, Any]]) -> None:
    """Write the workspace for webserver and daemon: our code servers by socket, the external ones as given."""
    served = [{"grpc_server": {"socket": str(socket), "location_name": name}} for name, socket in sockets.items()]
    workspace = yaml.safe_dump({"load_from": [*served, *map(dict, others)]}, sort_keys=False)
    replace_file(path, workspace, durable=False)


def prepare_dagster_home(home: Path) -> None:
    """Create DAGSTER_HOME, with our `dagster.yaml` unless there is one.

    Raises:
        SetupError: it is not writable.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            create_file(home / "dagster.yaml", _OURS + yaml.safe_dump(_INSTANCE))
    except OSError as error:
        raise SetupError(
            f"cannot write {home}: {error.strerror}: set dagster.home (NEARDUP_DAGSTER_HOME) to a folder you can write"
        ) from error


def _location(kind: str, value: str | Mapping[str, Any], root: Path) -> CodeLocation:
    flag, names_code = _CODE[kind]
    options: Mapping[str, Any] = {names_code: value} if isinstance(value, str) else value
    if names_code not in options:
        raise SetupError(f"{kind} in workspace.yaml needs {names_code}")
    target = str(options[names_code])
    name = str(options.get("location_name", Path(target).name))
    folder = (root / options.get("working_directory", ".")).resolve()
    arguments = [flag, str(root / target) if kind == "python_file" else target, "--working-directory", str(folder)]
    if "attribute" in options:
        arguments += ["--attribute", str(options["attribute"])]
    python = str(options.get("executable_path", sys.executable))
    return CodeLocation(name, python, (*arguments, "--location-name", name))
