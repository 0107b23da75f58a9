"""Claims about a worker killed at every named point of its life, over one log and one growing store.

Images are sent in any order, so what they are decided is known only from the order that the store recorded; the last
test has them decided again in that order, in batches of other sizes.
"""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from neardup_platform.kafka.control import new_command, send_command
from neardup_platform.learning.classifier.s3_registry import publish as publish_classifier
from neardup_platform.s3_client import open_s3
from neardup_platform.settings import Settings
from neardup_platform.stream.crash_points import CrashPoint
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.topics import CONTROL_RESULTS
from tests.faults.replaying import assert_replay_gives_the_same
from tests.faults.traffic import Traffic, traffic
from tests.faults.world import check_moment, check_settled, crash, settle
from tests.scoring.variants import variant
from tests.stream.worker_process import read_topic, reading

pytestmark = pytest.mark.slow

VERSIONS = ("aaaaaaaaaaa1", "aaaaaaaaaaa2")
WAVE = 40
AT_START = (CrashPoint.RESTORED, CrashPoint.REPUBLISHED)
# Passed once for several commits.
BY_GROUPS = (CrashPoint.SYNCED, CrashPoint.PUBLISHED, CrashPoint.ACKNOWLEDGED)
OF_COMMANDS = (CrashPoint.PREPARED, CrashPoint.COMMAND_COMMITTED)
# Parts are tested with the commands that have them (tests/stream/control/test_command_stages.py).
POINTS = [point for point in CrashPoint if point is not CrashPoint.STAGE_COMMITTED]
PASSINGS = [
    (point, n) for point in POINTS for n in ((1,) if point in AT_START else (1, 2 if point in BY_GROUPS else 3))
]


class World:
    """The log and the store that all tests here share."""

    def __init__(self, settings: Settings, sender: Traffic) -> None:
        self.settings, self.sender = settings, sender
        self.commands: list[pb.Command] = []
        self._waves = count()

    def wave(self) -> None:
        """More images, with embeddings out of order and some sent twice."""
        number = next(self._waves)
        self.sender.disordered(range(WAVE * number, WAVE * (number + 1)), number, repeat_ratio=0.1, skew_ms=2_000)

    def command(self) -> None:
        """Activate another classifier."""
        version = VERSIONS[len(self.commands) % len(VERSIONS)]
        self.commands.append(new_command("load-model", {"version": version}, "a test"))
        send_command(self.settings.kafka, self.commands[-1])


@pytest.fixture(scope="module")
def world(own_log: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    for version in VERSIONS:
        folder: Path = tmp_path_factory.mktemp(version)
        variant(folder, version)
        publish_classifier(open_s3(own_log.s3), own_log.s3, folder)
    with traffic(own_log) as sender:
        yield World(own_log, sender)


@pytest.mark.parametrize(("point", "passing"), PASSINGS)
def test_killed_at_a_named_point_nothing_is_torn_or_doubled(world: World, point: CrashPoint, passing: int) -> None:
    world.wave()
    for _ in range(passing if point in OF_COMMANDS else 0):
        world.command()
    crash(world.settings, f"{point}:{passing}", more=world.wave)
    check_moment(world.settings)


def test_in_the_end_all_is_accounted_for_and_each_command_was_done_once(world: World) -> None:
    world.wave()
    settle(world.settings)
    check_settled(world.settings, world.sender.sent)
    results: dict[str, set[bytes]] = {}
    for value in read_topic(world.settings, CONTROL_RESULTS):
        results.setdefault(pb.CommandResult.FromString(value).command_id, set()).add(value)
    assert list(results) == [command.command_id for command in world.commands]
    assert all(len(values) == 1 for values in results.values())
    with reading(world.settings) as reader:
        assert [p.command_id for p in reader.commands.promotions()] == [
            command.command_id for command in world.commands
        ]


def test_replay_in_the_recorded_order_decides_all_the_same(world: World, tmp_path: Path) -> None:
    for batch in (7, 500):
        assert_replay_gives_the_same(world.settings, tmp_path / str(batch), batch)
