"""What both supervisors of the worker do between two looks at it: the Dagster run and `neardup up`."""

from collections.abc import Callable, Mapping
from pathlib import Path

from neardup_platform.clock import Clock
from neardup_platform.supervise.heartbeat import Heartbeat, Phase, paused_by, read_heartbeat
from neardup_platform.supervise.restarts import is_stalled
from neardup_platform.supervise.run_record import ProcessId, RunRecord, renewed, write_record
from neardup_platform.supervise.worker_process import WorkerProcess


class WorkerWatch:
    """Renews the supervisor's record and reads the worker's heartbeat.

    Args:
        stalled_s: age of a heartbeat from which the worker counts as stalled.
        record: of the supervisor, from `sole_supervisor`.
        warn: takes one line for the operator.

    Attributes:
        running: whether the worker process that was checked last had started to work.
        metrics: what it reported last; empty before it has started to work.
    """

    def __init__(
        self, home: Path, stalled_s: float, record: RunRecord, clock: Clock, warn: Callable[[str], object]
    ) -> None:
        self._home, self._stalled_s, self._record = home, stalled_s, record
        self._clock, self._warn = clock, warn
        self._heartbeat: Heartbeat | None = None
        self.running = False
        self.metrics: Mapping[str, float] = {}

    def renew(self, worker: ProcessId | None) -> bool:
        """Renew the record with the current worker process; returns whether the worker is paused."""
        self._record = renewed(self._record, worker, self._clock.now_ms())
        write_record(self._home, self._record)
        return paused_by(self._home) is not None

    def is_stalled(self, worker: WorkerProcess) -> bool:
        """Whether the worker has been silent too long; the last readable heartbeat counts."""
        try:
            self._heartbeat = read_heartbeat(self._home)
        except (OSError, ValueError, KeyError) as error:
            self._warn(f"the heartbeat is unreadable: {error!r}")
        own = self._heartbeat if self._heartbeat and self._heartbeat.pid == worker.pid else None
        self.running = own is not None and own.phase is Phase.RUNNING
        self.metrics = own.metrics if own is not None and own.at_ms >= worker.spawned_ms and self.running else {}
        return is_stalled(own, worker.spawned_ms, self._clock.now_ms(), self._stalled_s)
