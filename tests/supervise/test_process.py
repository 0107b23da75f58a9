"""Child processes: default signal handling, whole groups stopped, other processes left alone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from neardup_platform.supervise.heartbeat import Heartbeat, Phase, write_heartbeat
from neardup_platform.supervise.home import MARK, mark_of, prepare_home
from neardup_platform.supervise.process import group, is_marked, is_same, last_line, rotate, spawn, stop_group
from neardup_platform.supervise.stop_worker import stop_worker
from neardup_platform.testing import eventually

# How long a process that a signal ends may take for it on a busy machine.
PATIENCE_S = 60.0
IGNORES_TERM = (
    "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)


def test_a_child_of_a_shell_that_ignores_sigint_can_be_interrupted(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        child = spawn(["sleep", "600"], {}, tmp_path / "log")
    finally:
        signal.signal(signal.SIGINT, before)
    eventually(lambda: psutil.Process(child.pid).name() == "sleep")
    child.send_signal(signal.SIGINT)
    assert child.wait(PATIENCE_S) == -signal.SIGINT


def test_a_child_leads_its_own_group(tmp_path: Path) -> None:
    child = spawn(["sleep", "600"], {}, tmp_path / "log")
    assert os.getpgid(child.pid) == child.pid != os.getpgid(0)
    stop_group(child, PATIENCE_S)


def test_grandchildren_are_stopped_with_their_group(tmp_path: Path) -> None:
    child = spawn(["sh", "-c", "sleep 600 & sleep 600 & wait"], {}, tmp_path / "log")
    eventually(lambda: len(group(child.pid)) == 3)
    stop_group(child, PATIENCE_S)
    assert group(child.pid) == []
    assert child.returncode == -signal.SIGTERM


def test_a_child_that_ignores_sigterm_is_killed_after_the_deadline(tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = spawn([sys.executable, "-c", IGNORES_TERM], {}, log)
    eventually(lambda: last_line(log) == "up")
    started = time.monotonic()
    stop_group(child, 0.5)
    assert child.returncode == -signal.SIGKILL
    # The child sleeps for 600.
    assert 0.5 <= time.monotonic() - started < 300


def test_a_process_without_the_mark_is_not_ours() -> None:
    other = subprocess.Popen(["sleep", "600"])
    try:
        assert not is_marked(other.pid, "ours")
        assert not is_same(other.pid, time.time() - 3600)
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize("marked", [True, False])
def test_only_a_worker_of_this_home_is_stopped(tmp_path: Path, marked: bool) -> None:
    prepare_home(tmp_path)
    env = {MARK: mark_of(tmp_path)} if marked else {}
    worker = spawn(["sleep", "600"], env, tmp_path / "log")
    eventually(lambda: psutil.Process(worker.pid).name() == "sleep")
    write_heartbeat(tmp_path, Heartbeat(worker.pid, 0, 0, Phase.RUNNING))
    assert stop_worker(tmp_path, timeout_s=PATIENCE_S) is marked
    assert (worker.poll() is None) is not marked
    stop_group(worker, PATIENCE_S)


def test_a_log_beyond_its_limit_is_rotated_while_it_is_written(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"old\n" * 100)
        rotate(log, max_bytes=100)
        writer.write(b"new\n")
    assert log.read_bytes() == b"new\n"
    assert log.with_name("log.1").read_bytes() == b"old\n" * 100


def test_a_log_within_its_limit_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("line\n\n")
    rotate(log, max_bytes=100)
    assert last_line(log) == "line"
