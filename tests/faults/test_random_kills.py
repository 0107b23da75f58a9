"""Claims about a worker killed at any moment, its start included, while images come in; `make soak` is the long run."""

import random
import threading
from pathlib import Path

import pytest

from neardup_platform.scoring.keras_classifier import PairClassifier
from neardup_platform.settings import Settings
from neardup_platform.stream.crash_points import CrashPoint
from tests.faults.replaying import assert_replay_gives_the_same
from tests.faults.traffic import FAMILY, digest_of, traffic
from tests.faults.world import FULL, check_moment, check_settled, crash, kill_at_random, settle, small_steps

pytestmark = pytest.mark.slow

# That a worker which is not disturbed comes to this digest, too, is a test of test_hard_input.py.
KILLS, FAMILIES = 12, 250
LONGEST_S = 3.0


def test_twelve_random_kills_lose_nothing_double_nothing_and_leave_the_digest_of_an_undisturbed_run(
    empty_log: Settings,
) -> None:
    settings, rng = small_steps(empty_log), random.Random(12)  # noqa: S311 -- a seed, no secret
    heads = range(0, FAMILY * FAMILIES, FAMILY)
    rest = [number for number in range(FAMILY * FAMILIES) if number % FAMILY]
    with traffic(settings) as sender:
        sender.images(heads)
        settle(settings)
        sending = threading.Thread(target=sender.disordered, args=(rest, 1, 0.1, 5_000))
        sending.start()
        for _ in range(KILLS):
            kill_at_random(settings, rng, LONGEST_S)
        sending.join()
        check_moment(settings)
        settle(settings)
        assert check_settled(settings, sender.sent) == digest_of(sender.sent.whole)


def test_the_classifier_that_is_shipped_decides_alike_when_killed_and_when_replayed(
    empty_log: Settings, tmp_path: Path
) -> None:
    settings = small_steps(empty_log)
    with traffic(settings) as sender:
        for number, point in enumerate((CrashPoint.DECIDED, CrashPoint.COMMITTED)):
            sender.disordered(range(120 * number, 120 * (number + 1)), number, repeat_ratio=0.1)
            crash(settings, f"{point}:{number + 2}", FULL)
            check_moment(settings)
        settle(settings, FULL)
        check_settled(settings, sender.sent)
    assert_replay_gives_the_same(settings, tmp_path / "replay", 50, PairClassifier())
