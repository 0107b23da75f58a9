"""The heartbeat of the run that supervises the stream worker: `stream_worker_run.json` in NEARDUP_HOME.

The run writes it every second. The sensor reads it and replaces a run whose process is gone or hangs. The next run
reads it and first stops a worker process that outlived the previous run. The start time of a process distinguishes it
from another one with the same id, and only processes of this machine are looked for: a home may be shared by several.
A lock, which the kernel releases when its holder dies, allows one run at a time.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from filelock import FileLock, Timeout

from neardup_platform.errors import HomeInUse
from neardup_platform.files import replace_file
from neardup_platform.supervise.process import created_at, is_same, this_machine

_RECORD = "stream_worker_run.json"
_LOCK = "stream_worker_run.lock"


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process; `created` is the Unix time in seconds at which it started."""

    pid: int
    created: float

    def exists(self) -> bool:
        """Whether this very process is alive on this machine."""
        return is_same(self.pid, self.created)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """Which run supervises, its process, and the worker process it started last; both are on `machine`."""

    run_id: str
    run: ProcessId
    worker: ProcessId | None
    at_ms: int
    machine: str = field(default_factory=this_machine)

    def is_here(self) -> bool:
        """Whether its processes can be seen from this one."""
        return self.machine == this_machine()


def process_id(pid: int) -> ProcessId | None:
    """The identity of a living process, or None if it has already ended."""
    with contextlib.suppress(ProcessLookupError):
        return ProcessId(pid, created_at(pid))
    return None


def read_record(home: Path) -> RunRecord | None:
    """The last record, or None if no run ever supervised.

    Raises:
        OSError, ValueError: the record is unreadable.
    """
    try:
        raw = json.loads((home / _RECORD).read_text())
        worker = ProcessId(**raw["worker"]) if raw["worker"] else None
        machine = raw.get("machine", this_machine())
        return RunRecord(raw["run_id"], ProcessId(**raw["run"]), worker, raw["at_ms"], machine)
    except FileNotFoundError:
        return None
    except (KeyError, TypeError) as error:
        raise ValueError(f"{home / _RECORD} is damaged ({error!r}): delete it") from error


def other_supervisor(home: Path, now_s: float, stalled_s: float) -> str | None:
    """The id of the run that supervises `home`: alive, with a heartbeat within `stalled_s`. None if there is none."""
    with contextlib.suppress(OSError, ValueError):
        record = read_record(home)
        if record and now_s - record.at_ms / 1_000 <= stalled_s and (record.run.exists() or not record.is_here()):
            return record.run_id
    return None


def write_record(home: Path, record: RunRecord) -> None:
    """Replace the record atomically. It is not synced: after a power cut it is worthless."""
    replace_file(home / _RECORD, json.dumps(asdict(record)), durable=False)


def renewed(record: RunRecord, worker: ProcessId | None, now_ms: int) -> RunRecord:
    """The record with the current worker process, as of `now_ms`."""
    return replace(record, worker=worker, at_ms=now_ms)


@contextlib.contextmanager
def sole_supervisor(home: Path, run_id: str, patience_s: float = 10.0) -> Iterator[RunRecord]:
    """Be the only run that supervises `home`; yields a record that still names the previous run's worker.

    Raises:
        HomeInUse: another run still supervises after `patience_s`.
    """
    home.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(home / _LOCK, timeout=patience_s, mode=0o600, fallback_to_soft=False).acquire(poll_interval=0.2)
    except Timeout as error:
        raise HomeInUse(
            f"another run supervises the stream worker of {home}: one is enough; "
            "terminate that one first if you want to replace it"
        ) from error
    with lock:
        own = ProcessId(os.getpid(), created_at(os.getpid()))
        yield RunRecord(run_id, own, _last_worker(home), time.time_ns() // 1_000_000)


def _last_worker(home: Path) -> ProcessId | None:
    """The worker of the last record, if on this machine. A damaged record, about to be replaced, counts as none."""
    with contextlib.suppress(OSError, ValueError):
        record = read_record(home)
        return record.worker if record and record.is_here() else None
    return None
