"""Claims about the supervision of the worker without Dagster, with a small program in the worker's place."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from neardup_platform.clock import SystemClock
from neardup_platform.servers.worker_supervision import WorkerSupervision, worker_service
from neardup_platform.settings import Settings, WorkerSettings
from neardup_platform.supervise.heartbeat import pause, resume
from neardup_platform.supervise.run_record import read_record, sole_supervisor
from neardup_platform.testing import eventually
from tests.dagster.supervised import alive

DOUBLE = "tests.dagster.worker_double"


@contextmanager
def supervised(home: Path, behaviour: str) -> Iterator[None]:
    settings = Settings(home=home, worker=WorkerSettings(stalled_s=2 if behaviour == "stalls" else 60))
    home.mkdir(exist_ok=True)
    stop = threading.Event()
    with sole_supervisor(home, "a test") as record:
        supervision = WorkerSupervision(
            settings, record, stop, (sys.executable, "-m", DOUBLE, behaviour), SystemClock()
        )
        thread = threading.Thread(target=supervision.run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(180)
            assert not thread.is_alive()


def starts(home: Path) -> list[int]:
    file = home / "starts"
    return [int(line.split()[0]) for line in file.read_text().splitlines()] if file.exists() else []


def started(home: Path, times: int) -> int:
    """Wait for the n-th start; its process id."""
    eventually(lambda: len(starts(home)) >= times, f"start {times}")
    return starts(home)[times - 1]


@pytest.mark.slow
def test_a_crashed_worker_is_started_again_and_stops_with_its_supervisor(tmp_path: Path) -> None:
    with supervised(tmp_path, "well"):
        first = started(tmp_path, 1)
        eventually(lambda: (record := read_record(tmp_path)) and record.worker, "the record names the worker")
        os.kill(first, signal.SIGKILL)
        second = started(tmp_path, 2)
        assert alive(second)
    assert not alive(second)


@pytest.mark.slow
def test_a_pause_stops_the_worker_until_resume(tmp_path: Path) -> None:
    with supervised(tmp_path, "well"):
        first = started(tmp_path, 1)
        pause(tmp_path, "an operator")
        eventually(lambda: not alive(first), "the worker stops")
        assert len(starts(tmp_path)) == 1
        resume(tmp_path)
        assert alive(started(tmp_path, 2))


@pytest.mark.slow
def test_a_stalled_worker_is_killed_and_started_again(tmp_path: Path) -> None:
    with supervised(tmp_path, "stalls"):
        first = started(tmp_path, 1)
        started(tmp_path, 2)
        assert not alive(first)


@pytest.mark.slow
def test_a_misconfigured_worker_is_not_started_again_at_once(tmp_path: Path) -> None:
    with supervised(tmp_path, "misconfigured"):
        first = started(tmp_path, 1)
        eventually(lambda: not alive(first), "the worker exits")
    assert len(starts(tmp_path)) == 1


def test_the_service_runs_the_supervisor_with_the_settings(tmp_path: Path) -> None:
    service = worker_service(Settings(home=tmp_path))
    assert service.argv[1:] == ("-m", "neardup_platform.servers.worker_supervision")
    assert service.env["NEARDUP_HOME"] == str(tmp_path)
    assert service.after == ("kafka", "s3")
