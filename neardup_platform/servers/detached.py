"""The platform in the background: start it, stop it, get its status."""

import json
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from neardup_platform import errors
from neardup_platform.errors import ServerUnavailable
from neardup_platform.files import read_json
from neardup_platform.servers.embedded_servers import stop_leftovers
from neardup_platform.servers.endpoints import environment, resolve, state_file
from neardup_platform.settings import Settings
from neardup_platform.supervise.home import mark_of, prepare_home
from neardup_platform.supervise.process import is_marked, is_same, last_line, resident_bytes, rotate, stop_processes

READY_TIMEOUT_S = 240.0
# Longer than the stop timeouts of all services in sequence.
STOP_TIMEOUT_S = 120.0
_URL_SERVICES = {"dagster": "dagster-webserver", "api": "api"}


def start_detached(settings: Settings, timeout_s: float = READY_TIMEOUT_S) -> Settings:
    """Run the platform as a daemon that outlives this process; returns once everything is ready.

    Returns:
        Resolved settings.

    Raises:
        HomeInUse, SetupError, ServerUnavailable: as `run_platform`; no process is left running.
    """
    prepare_home(settings.home)
    log = settings.home / "logs" / "platform.log"
    rotate(log)
    read_end, write_end = os.pipe()
    try:
        with log.open("ab") as output:
            daemon = subprocess.Popen(
                [sys.executable, "-m", "neardup_platform.servers.platform", "--ready-fd", str(write_end)],
                env={**os.environ, **environment(settings)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(write_end,),
            )
        os.close(write_end)
        try:
            _await_ready(read_end, log, timeout_s)
        except BaseException:
            # Also on Ctrl-C: a cancelled start must not continue in the background.
            _stop_daemon(daemon, settings.home)
            raise
    finally:
        os.close(read_end)
    return resolve(settings)


def stop(settings: Settings, timeout_s: float = STOP_TIMEOUT_S) -> bool:
    """Stop the platform of this home, in the foreground or detached, and whatever a killed one left behind.

    Returns:
        Whether anything was running.
    """
    home = settings.home
    if not home.is_dir():
        return False
    pid = _supervisor(home)
    if pid is not None:
        stop_processes([psutil.Process(pid)], timeout_s)
    (home / "run").mkdir(exist_ok=True)
    left = stop_leftovers(home)
    if pid is not None or left:
        state_file(home).unlink(missing_ok=True)
    return pid is not None or left > 0


def platform_status(settings: Settings) -> dict[str, Any]:
    """What runs for this home, according to the supervisor's state file and the existing processes.

    Returns:
        `ready` (every service is), `supervisor` (`alive`, `pid`), `services` by name (`alive`, `ready`, `pid`,
        `rss_mb`, `restarts`, `ports`, `url`, `log`) and `urls` (`dagster`, `api`, `explorer`; empty if nothing runs).
    """
    state = read_json(state_file(settings.home))
    pid = _supervisor(settings.home)
    mark = mark_of(settings.home) if state else ""
    services = {entry["name"]: _service_status(entry, mark) for entry in state.get("services", [])}
    urls = {name: services.get(service, {}).get("url", "") for name, service in _URL_SERVICES.items()}
    return {
        "ready": pid is not None and bool(services) and all(entry["ready"] for entry in services.values()),
        "supervisor": {"alive": pid is not None, "pid": pid},
        "services": services,
        "urls": {**urls, "explorer": f"{urls['api']}/" if urls["api"] else ""},
    }


def _service_status(entry: dict[str, Any], mark: str) -> dict[str, Any]:
    pid = entry["pid"]
    alive = isinstance(pid, int) and is_marked(pid, mark)
    return {
        "alive": alive,
        "ready": alive and bool(entry["ready"]),
        "pid": pid if alive else None,
        "rss_mb": resident_bytes(pid) >> 20 if alive else 0,
        **{name: entry[name] for name in ("restarts", "ports", "url", "log")},
    }


def _supervisor(home: Path) -> int | None:
    state = read_json(state_file(home))
    return state["pid"] if is_same(state.get("pid"), state.get("created")) else None


def _await_ready(read_end: int, log: Path, timeout_s: float) -> None:
    readable, _, _ = select.select([read_end], [], [], timeout_s)
    if not readable:
        raise ServerUnavailable(f"the platform was not ready within {timeout_s:.0f} s: see {log}")
    message = json.loads(os.read(read_end, 65_536) or b"{}")
    if "error" in message:
        kind = getattr(errors, message["error"], ServerUnavailable)
        raise kind(message["text"])
    if "ready" not in message:
        raise ServerUnavailable(f"the platform ended before it was ready: {last_line(log)} (log: {log})")


def _stop_daemon(daemon: subprocess.Popen[bytes], home: Path) -> None:
    daemon.terminate()
    try:
        daemon.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        daemon.kill()
        stop_leftovers(home)
