"""The job `stream_worker` in a separate process, with `worker_double.py` as its worker."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import psutil

from neardup_platform.files import replace_file
from neardup_platform.testing import eventually

ROOT = Path(__file__).parents[2]
_DOUBLE = Path(__file__).with_name("worker_double.py")
_EXECUTE = """
import functools, sys
import dagster as dg
import jobs.stream_worker as job
from neardup_platform.supervise import worker_process
from resources.platform import PlatformResource

class WithDouble(PlatformResource):
    def worker_command(self):
        return [sys.executable, *sys.argv[2:]]

if sys.argv[1]:
    worker_process.STOP_TIMEOUT_S = patience_s = float(sys.argv[1])
    job.sole_supervisor = functools.partial(job.sole_supervisor, patience_s=patience_s)

with dg.DagsterInstance.get() as instance:
    result = job.stream_worker.execute_in_process(
        resources={"platform": WithDouble()}, instance=instance, raise_on_error=False
    )
sys.exit(0 if result.success else 1)
"""


@dataclass
class SupervisedRun:
    home: Path
    dagster_home: Path
    environment: dict[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, behaviour: str, patience_s: str = "") -> subprocess.Popen[bytes]:
        """Start a run; `patience_s` replaces how long it waits for a worker that stops or a supervisor that leaves."""
        with (self.home / "run.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", _EXECUTE, patience_s, str(_DOUBLE), behaviour],
                cwd=ROOT,
                env={**os.environ, **self.environment},
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def stalls_after(self, seconds: int) -> None:
        """How long the worker of a run that is started from now on may be silent."""
        self.environment["NEARDUP_WORKER_STALLED_S"] = str(seconds)

    def measures(self, **metrics: float) -> None:
        """Have the worker report these beside what it always reports."""
        replace_file(self.home / "metrics.json", json.dumps(metrics), durable=False)

    def worker_starts(self) -> list[tuple[int, float]]:
        """Process id and time of each start, in order."""
        file = self.home / "starts"
        lines = file.read_text().splitlines() if file.exists() else []
        return [(int(line.split()[0]), float(line.split()[1])) for line in lines]

    def await_starts(self, count: int, timeout_s: float = 180.0) -> list[tuple[int, float]]:
        eventually(lambda: len(self.worker_starts()) >= count, self.log_tail, timeout_s)
        return self.worker_starts()

    def logged(self) -> str:
        return (self.home / "run.log").read_text()

    def log_tail(self) -> str:
        return self.logged()[-3_000:]

    def runs(self) -> list[dg.DagsterRunStatus]:
        """The status of the runs, oldest first."""
        with dg.DagsterInstance.from_config(str(self.dagster_home)) as instance:
            return [record.dagster_run.status for record in reversed(instance.get_run_records())]

    def cancel(self) -> None:
        """Do what the webserver does before it signals the run's process."""
        with dg.DagsterInstance.from_config(str(self.dagster_home)) as instance:
            (record,) = instance.get_run_records()
            instance.report_run_canceling(record.dagster_run)

    def checks(self, name: str) -> list[dg.AssetCheckEvaluation]:
        """The recorded evaluations of a check of the worker, oldest first."""
        key = dg.AssetCheckKey(dg.AssetKey(["stream", "worker"]), name)
        with dg.DagsterInstance.from_config(str(self.dagster_home)) as instance:
            records = instance.event_log_storage.get_asset_check_execution_history(key, limit=100)
        return [record.event.dagster_event.event_specific_data for record in reversed(records)]

    def run_log(self) -> list[tuple[int, str]]:
        """Level and text of each line that the job wrote to the log of its only run, oldest first."""
        with dg.DagsterInstance.from_config(str(self.dagster_home)) as instance:
            (record,) = instance.get_run_records()
            entries = instance.all_logs(record.dagster_run.run_id)
        return [(entry.level, entry.user_message) for entry in entries if entry.dagster_event is None]

    def observations(self) -> list[dg.AssetObservation]:
        with dg.DagsterInstance.from_config(str(self.dagster_home)) as instance:
            records = instance.fetch_observations(dg.AssetKey(["stream", "worker"]), limit=100).records
        return [record.asset_observation for record in records if record.asset_observation]

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        for pid, _ in self.worker_starts():
            if alive(pid) and "worker_double.py" in " ".join(psutil.Process(pid).cmdline()):
                os.kill(pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
