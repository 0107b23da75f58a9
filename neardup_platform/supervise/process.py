"""A child process: started in a session of its own with default signal handling, stopped with its whole group.

A child of a non-interactive shell's background job inherits SIGINT ignored, and Dagster started like that ignores
everything short of SIGKILL. So a short Python launcher restores the defaults and then becomes the program.
"""

import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil

from neardup_platform.supervise.home import MARK

# A log beyond this size moves to `<name>.log.1`, and a new one starts.
MAX_LOG_BYTES = 20 * 1024 * 1024
_KILLED_WITHIN_S = 5.0

_WITH_DEFAULT_SIGNALS = (
    "import os, signal, sys\n"
    "for name in ('SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGCHLD'):\n"
    "    signal.signal(getattr(signal, name), signal.SIG_DFL)\n"
    "signal.pthread_sigmask(signal.SIG_SETMASK, ())\n"
    "os.execvp(sys.argv[1], sys.argv[1:])\n"
)


def spawn(argv: Iterable[str], env: Mapping[str, str], log: Path, cwd: Path | None = None) -> subprocess.Popen[bytes]:
    """Start `argv` as the leader of its own session and process group, with its output appended to `log`.

    Args:
        env: variables in addition to this process's own.
    """
    rotate(log)
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _WITH_DEFAULT_SIGNALS, *argv],
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=cwd,
        )


def rotate(log: Path, max_bytes: int = MAX_LOG_BYTES) -> None:
    """Keep a log bounded: when it exceeds `max_bytes`, its content moves to `<log>.1`.

    The file is copied and truncated rather than renamed, because a running child keeps appending to it.
    """
    if not log.exists() or log.stat().st_size <= max_bytes:
        return
    log.with_name(log.name + ".1").write_bytes(log.read_bytes())
    os.truncate(log, 0)


def last_line(log: Path, max_bytes: int = 8192) -> str:
    """The last non-blank line of a log, for error messages; empty if there is none."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - max_bytes))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
    return next((line[:300] for line in reversed(lines) if line), "")


def stop_group(leader: subprocess.Popen[bytes], timeout_s: float) -> None:
    """Send SIGTERM to the process group of `leader`, and SIGKILL to what remains after `timeout_s`."""
    for number, wait_s in ((signal.SIGTERM, timeout_s), (signal.SIGKILL, _KILLED_WITHIN_S)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(leader.pid, number)
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline:
            if leader.poll() is not None and not group(leader.pid):
                return
            time.sleep(0.05)


def group(leader_pid: int) -> list[psutil.Process]:
    """The living processes of a process group, without zombies."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            if os.getpgid(process.pid) == leader_pid and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def resident_bytes(leader_pid: int) -> int:
    """Resident memory of a process group; shared pages count once per process."""
    total = 0
    for process in group(leader_pid):
        with contextlib.suppress(psutil.Error):
            total += process.memory_info().rss
    return total


def is_marked(pid: int, mark: str) -> bool:
    """Whether `pid` is alive and was started for the home with this mark."""
    try:
        process = psutil.Process(pid)
        return bool(process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == mark)
    except (psutil.Error, OSError):
        return False


@functools.cache
def this_machine() -> str:
    """Where a process id of ours means something: host name, machine id, and on Linux the namespace of process ids.

    Two containers on one host do not see each other's processes; their namespaces tell them apart.
    """
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/etc/machine-id").read_text().strip())
    with contextlib.suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(filter(None, parts))


def created_at(pid: int) -> float:
    """Unix seconds at which a living process started."""
    return float(psutil.Process(pid).create_time())


def is_same(pid: object, created: object) -> bool:
    """Whether `pid` is alive and is the process that started at `created`, not another one with the same id."""
    if not isinstance(pid, int) or not isinstance(created, float):
        return False
    try:
        # The start time is derived from the boot time, which can change by a second when the clock is set.
        return abs(created_at(pid) - created) < 2.0 and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def marked(mark: str) -> list[psutil.Process]:
    """Every living process started for the home with this mark, in whatever session or group it is now."""
    return [process for process in psutil.process_iter() if is_marked(process.pid, mark)]


def stop_processes(processes: list[psutil.Process], timeout_s: float) -> int:
    """Send SIGTERM to each process and SIGKILL to those left after `timeout_s`; returns the number of processes."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, stubborn = psutil.wait_procs(processes, timeout=timeout_s)
    for process in stubborn:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(stubborn, timeout=5)
    return len(processes)
