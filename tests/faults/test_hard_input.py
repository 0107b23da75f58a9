"""Claims about input that is twice, out of order, late, early, garbage, or too much at once."""

import threading
import time
from pathlib import Path

import pytest

from neardup_platform.records import Kind
from neardup_platform.settings import Settings
from neardup_platform.supervise.heartbeat import read_heartbeat
from neardup_platform.testing import eventually
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.topics import DECISIONS, EMBEDDINGS
from tests.faults.light_worker import CLOCK
from tests.faults.replaying import assert_replay_gives_the_same
from tests.faults.traffic import FAMILY, digest_of, traffic
from tests.faults.world import check_settled, settle, supervised, wait_until_settled
from tests.kafka.test_changing_logs import recreate
from tests.stream.worker_process import images, read_topic, reading

pytestmark = pytest.mark.slow

HOUR_MS = 3_600_000
POISON = 20_000
FLOOD_PER_S, FLOOD_S = 1_000, 5


def test_repeats_disorder_and_garbage_change_nothing_but_the_counts(empty_log: Settings, tmp_path: Path) -> None:
    families = 60
    with traffic(empty_log) as sender:
        sender.images(range(0, FAMILY * families, FAMILY))
        settle(empty_log)
        sender.garbage(300, 1)
        sender.disordered([n for n in range(FAMILY * families) if n % FAMILY], 2, repeat_ratio=0.5, skew_ms=60_000)
        sender.garbage(300, 3)
        sender.alone(FAMILY * families + 1, Kind.PAIR)
        settle(empty_log)
        assert check_settled(empty_log, sender.sent) == digest_of(sender.sent.whole)
    assert_replay_gives_the_same(empty_log, tmp_path / "replay", 31)


def test_producers_hours_behind_and_ahead_lose_no_image(empty_log: Settings) -> None:
    """Within the day ahead that is allowed: clocks that differ by hours between the producers of two images."""
    with traffic(empty_log) as sender, supervised(empty_log), reading(empty_log) as reader:
        now_ms = time.time_ns() // 1_000_000
        for hours in (0, 5, -48, 20, -3):
            number = 100 * (hours + 50)
            sender.images(range(number, number + 60), now_ms + hours * HOUR_MS)
        wait_until_settled(empty_log, reader)
        check_settled(empty_log, sender.sent)


def test_the_workers_clock_may_jump_hours_either_way(empty_log: Settings, tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text("0")
    with (
        traffic(empty_log) as sender,
        supervised(empty_log, **{CLOCK: str(clock)}),
        reading(empty_log) as reader,
    ):
        for turn, jump_ms in enumerate((0, 7 * HOUR_MS, -20 * HOUR_MS, 0)):
            clock.write_text(str(jump_ms))
            sender.disordered(range(100 * turn, 100 * (turn + 1)), turn)
            eventually(lambda: images(reader) == len(sender.sent.whole))
        wait_until_settled(empty_log, reader)
        check_settled(empty_log, sender.sent)


def test_a_clock_hours_ahead_for_a_moment_expires_no_unpaired_embedding(empty_log: Settings, tmp_path: Path) -> None:
    """Nor does a start meanwhile, nor one after it is right again."""
    clock = tmp_path / "clock"
    clock.write_text("0")
    with traffic(empty_log) as sender:
        for turn, jump_ms in enumerate((0, HOUR_MS)):
            clock.write_text(str(jump_ms))
            with supervised(empty_log, **{CLOCK: str(clock)}), reading(empty_log) as reader:
                first, second = tuple(Kind)
                sender.alone(2 * turn, first)
                sender.images([1_000 + turn])
                eventually(lambda: images(reader) == len(sender.sent.whole))
                clock.write_text(str(HOUR_MS - jump_ms))
                sender.alone(2 * turn + 1, second)
                # Long enough for every partition to be read to its end several times.
                time.sleep(3)
                clock.write_text(str(jump_ms))
        with supervised(empty_log), reading(empty_log) as reader:
            for turn in range(2):
                sender.completed(2 * turn, second)
                sender.completed(2 * turn + 1, first)
            wait_until_settled(empty_log, reader)
            assert images(reader) == 6
        check_settled(empty_log, sender.sent)


def test_topics_recreated_with_fewer_partitions_lose_no_image_and_leave_no_clock(empty_log: Settings) -> None:
    topics = tuple(EMBEDDINGS.values())
    with supervised(empty_log), reading(empty_log) as reader:
        with traffic(empty_log) as sender:
            sender.images(range(20))
            # Decisions that are published into the recreated topic would be in it, too.
            wait_until_settled(empty_log, reader)
        recreate(empty_log, *topics, partitions=2)
        recreate(empty_log, DECISIONS)
        with traffic(empty_log) as sender:
            sender.images(range(10, 40))
            eventually(lambda: images(reader) == 40)
        gone = {(topic, number) for topic in topics for number in (2, 3)}
        eventually(
            lambda: (
                images(reader)
                and not gone & (reader.positions.clocks_ms().keys() | reader.positions.next_offsets().keys())
            )
        )
        eventually(lambda: images(reader) and reader.state().counters["received"] == 100)
        fates = dict(reader.state().counters)
        assert (fates["repeated"], fates.get("expired", 0)) == (20, 0)
        assert fates["partitions_restarted"] == 4
        eventually(lambda: len(published(empty_log)) == 20, lambda: len(published(empty_log)))
    recreate(empty_log, *topics)


def published(settings: Settings) -> set[str]:
    """The event ids in the topic of decisions: one that is published again counts once."""
    return {pb.Decision.FromString(value).event_id for value in read_topic(settings, DECISIONS)}


def test_a_flood_of_five_times_the_peak_is_taken_in_and_the_room_stays_bounded(empty_log: Settings) -> None:
    with traffic(empty_log) as sender, supervised(empty_log), reading(empty_log) as reader:
        sender.images(range(10))
        eventually(lambda: images(reader) == 10)
        ids = range(10, 10 + FLOOD_PER_S * FLOOD_S)
        seconds = [sender.prepared(ids[at : at + FLOOD_PER_S], at) for at in range(0, len(ids), FLOOD_PER_S)]
        for messages in seconds:
            begun = time.monotonic()
            sender.send(messages)
            time.sleep(max(0.0, begun + 1 - time.monotonic()))
        wait_until_settled(empty_log, reader)
        check_settled(empty_log, sender.sent)
        # The latest heartbeat may be of a moment before.
        eventually(lambda: (heartbeat := read_heartbeat(empty_log.home)) and heartbeat.metrics["waiting"] == 0)


def test_a_flood_of_poison_is_set_aside_and_the_good_ones_among_it_are_decided(empty_log: Settings) -> None:
    with traffic(empty_log) as sender, supervised(empty_log), reading(empty_log) as reader:
        poison = threading.Thread(target=sender.garbage, args=(POISON, 7))
        poison.start()
        with traffic(empty_log) as good:
            for at in range(0, 500, 50):
                good.images(range(at, at + 50))
                time.sleep(0.2)
        poison.join()
        sender.sent.messages += good.sent.messages
        sender.sent.whole |= good.sent.whole
        wait_until_settled(empty_log, reader)
        check_settled(empty_log, sender.sent)
