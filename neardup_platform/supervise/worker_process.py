"""A worker process from the view of the supervising run: started, listened to, stopped with its group."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence

import psutil

from neardup_platform.supervise.process import stop_group, stop_processes
from neardup_platform.supervise.restarts import WorkerExit
from neardup_platform.supervise.run_record import ProcessId, process_id

LAST_LINES = 20
STOP_TIMEOUT_S = 20.0


class WorkerProcess:
    """A running worker, the leader of its own process group.

    Its output goes to this process's standard error, where Dagster keeps it as the log of the step; the last lines are
    remembered. Its standard input is a pipe that closes when this process ends, for whatever reason.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            command,
            env={**os.environ, **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.pid = self._process.pid
        self.identity: ProcessId | None = process_id(self.pid)
        self.spawned_ms = time.time_ns() // 1_000_000
        self._started = time.monotonic()
        self._lines: deque[str] = deque(maxlen=LAST_LINES)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def wait(self, seconds: float) -> bool:
        """Wait up to `seconds` for the process to end; returns whether it has ended."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self, kill: bool = False) -> None:
        """Send SIGTERM to the process group and SIGKILL after `STOP_TIMEOUT_S`; or SIGKILL immediately."""
        if kill:
            self._process.kill()
        stop_group(self._process, STOP_TIMEOUT_S)
        self._process.wait()

    def exit_info(self, stalled: bool) -> WorkerExit:
        """How the process ended; call this only after it has ended."""
        # A grandchild may keep the output open; its output is not waited for.
        self._listener.join(timeout=2.0)
        lived_s = time.monotonic() - self._started
        return WorkerExit(self._process.wait(), lived_s, stalled, tuple(self._lines))

    def _listen(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 -- Popen was given a pipe
        for line in self._process.stdout:
            text = line.decode(errors="replace")
            self._lines.append(text.rstrip("\n"))
            # Keep reading even if the log is broken: a worker whose output nobody reads blocks when the pipe is full.
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(text)


def stop_leftover(worker: ProcessId | None) -> bool:
    """Stop a worker process that outlived the previous run; returns whether there was one."""
    if worker is None or not worker.exists():
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        stop_processes([psutil.Process(worker.pid)], STOP_TIMEOUT_S)
    return True
