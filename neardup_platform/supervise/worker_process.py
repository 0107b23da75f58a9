"""One worker process as the supervising run sees it: started, listened to, stopped with its group."""

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
from neardup_platform.supervise.restarts import Ended
from neardup_platform.supervise.run_record import ProcessId, process_id

LAST_LINES = 20
STOP_TIMEOUT_S = 20.0


class WorkerProcess:
    """A running worker, leader of its own process group.

    Its output goes to this process's standard error, where Dagster keeps it as the step's log; the last lines
    are remembered. Its standard input is a pipe that closes when this process ends, whatever the way.
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
        self._began = time.monotonic()
        self._lines: deque[str] = deque(maxlen=LAST_LINES)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def wait(self, seconds: float) -> bool:
        """Wait up to `seconds` for the end; returns whether it has ended."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self, kill: bool = False) -> None:
        """SIGTERM to the process group, SIGKILL after `STOP_TIMEOUT_S`; or SIGKILL at once."""
        if kill:
            self._process.kill()
        stop_group(self._process, STOP_TIMEOUT_S)
        self._process.wait()

    def ended(self, stalled: bool) -> Ended:
        """How it ended; only once it has."""
        # A grandchild may keep the output open: what it says is not waited for.
        self._listener.join(timeout=2.0)
        lived_s = time.monotonic() - self._began
        return Ended(self._process.wait(), lived_s, stalled, tuple(self._lines))

    def _listen(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 -- a pipe was asked for
        for line in self._process.stdout:
            text = line.decode(errors="replace")
            self._lines.append(text.rstrip("\n"))
            # Read on whatever happens to the log: a worker whose output nobody reads hangs when the pipe is full.
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(text)


def end_left_over(worker: ProcessId | None, timeout_s: float = STOP_TIMEOUT_S) -> bool:
    """End a worker process that outlived the run before; returns whether there was one."""
    if worker is None or not worker.exists():
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        stop_processes([psutil.Process(worker.pid)], timeout_s)
    return True
