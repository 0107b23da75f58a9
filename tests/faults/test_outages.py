"""Claims about what the worker needs going away under it: the broker, S3, the disk."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from neardup_platform.kafka.control import new_command, send_command
from neardup_platform.learning.classifier.s3_registry import publish as publish_classifier
from neardup_platform.s3_client import open_s3
from neardup_platform.settings import Settings
from neardup_platform.supervise.heartbeat import Phase, read_heartbeat
from neardup_platform.testing import eventually
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.topics import CONTROL_RESULTS
from tests.faults.traffic import traffic
from tests.faults.world import (
    LIGHT,
    check_moment,
    check_settled,
    home_of,
    listener,
    settle,
    supervised,
    wait_until_settled,
)
from tests.scoring.variants import variant
from tests.stream.worker_process import PATIENCE_S, images, log_tail, read_topic, reading, start

pytestmark = pytest.mark.slow

FROZEN_S = 20.0


@contextlib.contextmanager
def frozen(process: psutil.Process) -> Iterator[None]:
    """SIGSTOP, then SIGCONT: connections stay open without an answer."""
    process.suspend()
    try:
        yield
    finally:
        process.resume()


def test_broker_killed_and_frozen_while_images_come_in(own_log: Settings, tmp_path: Path) -> None:
    """One line is logged for each time that Kafka is away; heartbeats continue while it does not answer."""
    settings = home_of(own_log, tmp_path / "broker")
    broker = settings.kafka.bootstrap or ""
    with traffic(settings) as sender, supervised(settings), reading(settings) as reader:
        sender.images(range(50))
        eventually(lambda: images(reader) == 50)
        listener(broker).kill()
        sender.images(range(50, 120))
        eventually(lambda: images(reader) == 120)
        logged = (settings.home / "worker.log").read_text()
        assert (logged.count("Kafka is away"), logged.count("Kafka answers again")) == (1, 1)

        sender.disordered(range(200, 500), 1, repeat_ratio=0.05)
        with frozen(listener(broker)):
            # It would be as old as the pause, if the loop waited for the broker.
            assert oldest_heartbeat_s(settings, FROZEN_S) < FROZEN_S / 2
        sender.disordered(range(500, 800), 2, repeat_ratio=0.05)
        listener(broker).kill()
        sender.disordered(range(800, 1_100), 3, repeat_ratio=0.05)
        wait_until_settled(settings, reader)
        check_settled(settings, sender.sent)


def oldest_heartbeat_s(settings: Settings, watched_s: float) -> float:
    oldest, until = 0.0, time.monotonic() + watched_s
    while time.monotonic() < until:
        heartbeat = read_heartbeat(settings.home)
        assert heartbeat is not None
        assert heartbeat.phase is Phase.RUNNING
        oldest = max(oldest, heartbeat.age_s(time.time_ns() // 1_000_000))
        time.sleep(0.1)
    return oldest


def test_s3_frozen_while_a_model_is_loaded_holds_up_the_command_and_not_the_stream(
    servers: Settings, empty_log: Settings, tmp_path: Path
) -> None:
    variant(tmp_path / "made", "cafecafecaf1")
    publish_classifier(open_s3(servers.s3), servers.s3, tmp_path / "made")
    settings = empty_log
    with traffic(settings) as sender, supervised(settings), reading(settings) as reader:
        with frozen(listener(settings.s3.endpoint or "")):
            send_command(settings.kafka, new_command("load-model", {"version": "cafecafecaf1"}, "a test"))
            sender.images(range(100))
            eventually(lambda: images(reader) == 100)
            assert read_topic(settings, CONTROL_RESULTS) == []
        wait_until_settled(settings, reader)
        (result,) = [pb.CommandResult.FromString(value) for value in read_topic(settings, CONTROL_RESULTS)]
        assert result.accepted, result.reason
        check_settled(settings, sender.sent)


@contextlib.contextmanager
def small_disk(folder: Path, mb: int) -> Iterator[bool]:
    """A disk of that size mounted there; False where this is not allowed."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mb}m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def test_disk_full_then_freed_costs_nothing(empty_log: Settings, tmp_path: Path) -> None:
    """On a disk of its own; where none can be mounted, writes fail by the limit of file sizes instead."""
    with small_disk(tmp_path / "disk", 128) as mounted, traffic(empty_log) as sender:
        settings = home_of(empty_log, tmp_path / "disk" / "home")
        ballast = tmp_path / "disk" / "ballast"
        settings.home.mkdir()
        # The disk may be full, and what the worker writes last must be readable.
        (settings.home / "worker.log").symlink_to(tmp_path / "worker.log")
        for number in range(3):
            if mounted:
                fill(ballast, leave_kb=500 * (number + 1))
            process = start(settings, 0 if mounted else 300 * (number + 1), LIGHT)
            try:
                sender.images(range(600 * number, 600 * (number + 1)))
                assert process.wait(PATIENCE_S) == 1
            finally:
                process.kill()
                process.wait()
            ballast.unlink(missing_ok=True)
            assert "free some disk" in log_tail(settings.home)
            check_moment(settings)
        settle(settings)
        check_settled(settings, sender.sent)


def fill(ballast: Path, leave_kb: int) -> None:
    free = os.statvfs(ballast.parent).f_bavail * os.statvfs(ballast.parent).f_frsize
    with ballast.open("wb") as file:
        file.write(bytes(max(0, free - leave_kb * 1024)))
