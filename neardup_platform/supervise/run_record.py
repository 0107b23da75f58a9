"""The sign of life of the run that supervises the stream worker: `stream_worker_run.json` in NEARDUP_HOME.

Written by the run every second, read by the sensor, which replaces a run whose process is gone or hangs, and
by the next run, which first ends a worker process that outlived its own. Processes are told from strangers
with the same number by the time they began. A lock, freed by the kernel, keeps two runs from supervising.
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from neardup_platform.errors import HomeInUse
from neardup_platform.supervise.process import created_at, is_same


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process on this machine; `created` is the Unix time in seconds at which it began."""

    pid: int
    created: float

    def exists(self) -> bool:
        """Whether this very process is alive."""
        return is_same(self.pid, self.created)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """Which run supervises, in which process, and the worker process it started last."""

    run_id: str
    run: ProcessId
    worker: ProcessId | None
    at_ms: int


def process_id(pid: int) -> ProcessId | None:
    """The identity of a living process, or None where it has ended already."""
    with contextlib.suppress(ProcessLookupError):
        return ProcessId(pid, created_at(pid))
    return None


def read_record(home: Path) -> RunRecord | None:
    """The last record, or None where no run ever supervised.

    Raises:
        OSError, ValueError: there is one and it cannot be read.
    """
    try:
        raw = json.loads((home / "stream_worker_run.json").read_text())
        worker = ProcessId(**raw["worker"]) if raw["worker"] else None
        return RunRecord(raw["run_id"], ProcessId(**raw["run"]), worker, raw["at_ms"])
    except FileNotFoundError:
        return None
    except (KeyError, TypeError) as error:
        raise ValueError(f"{home / 'stream_worker_run.json'} is damaged ({error!r}): delete it") from error


def other_supervisor(home: Path, now_s: float, stalled_s: float) -> str | None:
    """The run that supervises the worker of `home`, alive and heard of within `stalled_s`; None where none is."""
    with contextlib.suppress(OSError, ValueError):
        record = read_record(home)
        if record and record.run.exists() and now_s - record.at_ms / 1_000 <= stalled_s:
            return record.run_id
    return None


def write_record(home: Path, record: RunRecord) -> None:
    """Replace the record atomically."""
    staged = home / "stream_worker_run.tmp"
    staged.write_text(json.dumps(asdict(record)))
    staged.replace(home / "stream_worker_run.json")


def renewed(record: RunRecord, worker: ProcessId | None, now_ms: int) -> RunRecord:
    """The record with the worker process of now, as of `now_ms`."""
    return replace(record, worker=worker, at_ms=now_ms)


@contextlib.contextmanager
def sole_supervisor(home: Path, run_id: str, patience_s: float = 10.0) -> Iterator[RunRecord]:
    """Be the only run that supervises for `home`; yields a record that still names the last run's worker.

    Raises:
        HomeInUse: another run still supervises after `patience_s`.
    """
    home.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(home / "stream_worker_run.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(descriptor, home, patience_s)
        last = _last_worker(home)
        myself = ProcessId(os.getpid(), created_at(os.getpid()))
        yield RunRecord(run_id, myself, last, time.time_ns() // 1_000_000)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, home: Path, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise HomeInUse(
                    f"another run supervises the stream worker of {home}: one is enough; "
                    "terminate that one first if you want to replace it"
                ) from error
            time.sleep(0.2)
        else:
            return


def _last_worker(home: Path) -> ProcessId | None:
    """The worker of the last record; a damaged record is as good as none, for it is about to be replaced."""
    with contextlib.suppress(OSError, ValueError):
        record = read_record(home)
        return record.worker if record else None
    return None
