"""Claims about the process that decides again: it reports errors, can be interrupted, and never outlives its worker."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import pytest

from neardup_platform.errors import PermanentError, RetryableError
from neardup_platform.settings import JoinSettings, Settings
from neardup_platform.stream.reprocess.remote_reprocess import RemoteReprocessing
from neardup_platform.testing import eventually


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[RemoteReprocessing]:
    with closing(RemoteReprocessing(Settings(home=tmp_path), tmp_path / "log")) as opened:
        yield opened


def test_an_error_of_the_process_is_reported_to_the_worker(remote: RemoteReprocessing, tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="has to open the stores first"):
        remote.round(tmp_path / "checkpoint", 1)


def test_other_settings_than_the_workers_refuse_the_call_for_now(tmp_path: Path) -> None:
    worker = Settings(home=tmp_path, join=JoinSettings(lateness_s=7))
    with (
        closing(RemoteReprocessing(worker, tmp_path / "log")) as remote,
        pytest.raises(RetryableError, match=r"neardup.toml has changed"),
    ):
        remote.open(tmp_path / "checkpoint", tmp_path / "target", tmp_path / "scratch", "c", "rules", "")


def test_an_interrupted_process_fails_the_call_that_waits_for_it(remote: RemoteReprocessing, tmp_path: Path) -> None:
    remote.interrupt()
    with pytest.raises(RetryableError, match="has ended"):
        remote.round(tmp_path / "checkpoint", 1)


def test_it_ends_when_its_worker_is_killed(tmp_path: Path) -> None:
    ours, theirs = multiprocessing.Pipe()
    worker = multiprocessing.get_context("spawn").Process(target=_launch, args=(tmp_path, theirs))
    worker.start()
    launched = psutil.Process(ours.recv())
    os.kill(worker.pid or 0, signal.SIGKILL)
    worker.join()
    eventually(lambda: not launched.is_running() or launched.status() == psutil.STATUS_ZOMBIE, timeout_s=30)


def _launch(home: Path, report: Connection) -> None:
    """Start the process, wait until it answers, report its id, and wait to be killed."""
    remote = RemoteReprocessing(Settings(home=home), home / "log")
    try:
        remote.round(home / "checkpoint", 1)
    except PermanentError:
        report.send(remote._process.pid)
    signal.pause()
