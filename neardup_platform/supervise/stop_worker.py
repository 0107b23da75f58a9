"""Stopping the stream worker, which is the child of a Dagster run and may have outlived it."""

from pathlib import Path

from neardup_platform.supervise.heartbeat import read_heartbeat
from neardup_platform.supervise.home import mark_of
from neardup_platform.supervise.process import group, is_marked, stop_processes

STOP_TIMEOUT_S = 20.0


def stop_worker(home: Path, timeout_s: float = STOP_TIMEOUT_S) -> bool:
    """Stop the worker of a supervised home with the process group that it leads.

    Left alone: another process that merely has the id in `worker.json`, and a worker started by hand.

    Returns:
        Whether a worker was running.
    """
    heartbeat = read_heartbeat(home)
    if heartbeat is None or not is_marked(heartbeat.pid, mark_of(home)):
        return False
    return stop_processes(group(heartbeat.pid), timeout_s) > 0
