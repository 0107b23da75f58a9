"""Claims about the buffer between reading and the worker's loop."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.errors import ServerUnavailable
from neardup_platform.kafka.partition_ends import PartitionEnds
from neardup_platform.kafka.read_ahead import ReadAhead
from neardup_platform.records import Kind
from neardup_platform.wire.codec import Log, Message
from neardup_platform.wire.topics import CONTROL, EMBEDDINGS

TOPIC = EMBEDDINGS[Kind.LSH]


def message(partition: int, offset: int, topic: str = TOPIC, size: int = 1) -> Message:
    return Message(topic, partition, offset, b"", b"x" * size)


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["read", "take", "rebalance", "lose"]), st.integers(0, 2), st.integers(1, 5)), max_size=60
)


@given(ACTIONS)
def test_rebalances_neither_repeat_nor_lose_a_message(actions: list[tuple[str, int, int]]) -> None:
    """A log with three partitions, and a reader that continues at the given position after every rebalance."""
    ahead = ReadAhead({(TOPIC, n): 0 for n in range(3)}, 100, 1_000)
    reading = dict.fromkeys(range(3), 0)
    handed_out: list[Message] = []
    for action, partition, number in actions:
        if action == "read":
            ahead.put([message(partition, reading[partition] + n) for n in range(number)])
            reading[partition] += number
        elif action == "take":
            handed_out += ahead.take(number, 1_000, 0)
        else:
            if action == "lose":
                ahead.lost([(TOPIC, partition)])
            reading = {n: ahead.next_to_read((TOPIC, n)) or 0 for n in range(3)}
    handed_out += ahead.take(1_000, 1_000, 0)
    for partition in range(3):
        offsets = [m.offset for m in handed_out if m.partition == partition]
        assert offsets == list(range(reading[partition]))


def test_a_batch_is_limited_by_number_and_bytes_but_never_empty() -> None:
    ahead = ReadAhead({}, 100, 1_000)
    ahead.put([message(0, n, size=size) for n, size in enumerate((500, 10, 10, 10, 10))])
    assert [m.offset for m in ahead.take(3, 100, 0)] == [0]
    assert [m.offset for m in ahead.take(3, 100, 0)] == [1, 2, 3]
    assert [m.offset for m in ahead.take(3, 100, 0)] == [4]


def test_full_by_number_or_bytes_until_half_of_it_is_taken() -> None:
    ahead = ReadAhead({}, 10, 1_000)
    ahead.put([message(0, n) for n in range(10)])
    assert ahead.full
    ahead.take(4, 1_000, 0)
    assert (ahead.full, ahead.half_full) == (False, True)
    ahead.take(2, 1_000, 0)
    assert not ahead.half_full
    ahead.put([message(0, 10, size=1_000)])
    assert ahead.full


def test_held_commands_are_handed_out_once_released() -> None:
    ahead = ReadAhead({}, 10, 1_000)
    ahead.hold_commands = True
    ahead.put([message(0, 0, CONTROL), message(0, 0)])
    assert [m.topic for m in ahead.take(10, 1_000, 0)] == [TOPIC]
    ahead.hold_commands = False
    assert [m.topic for m in ahead.take(10, 1_000, 0)] == [CONTROL]


def test_failure_of_the_reader_wakes_the_loop() -> None:
    ahead = ReadAhead({}, 10, 1_000)
    threading.Timer(0.05, ahead.fail, [ServerUnavailable("gone")]).start()
    for most in (10, 0):
        with pytest.raises(ServerUnavailable, match="gone"):
            ahead.take(most, 1_000, 30)


def test_gap_in_the_log_counts_as_handed_out_once_everything_before_it_is() -> None:
    ahead = ReadAhead({(TOPIC, 0): 0}, 10, 1_000)
    ahead.begin_at((TOPIC, 0), 7)
    assert ahead.next_to_hand_out((TOPIC, 0)) == 7
    ahead.put([message(0, 7)])
    ahead.begin_at((TOPIC, 0), 20)
    assert ahead.next_to_hand_out((TOPIC, 0)) == 7
    ahead.take(10, 1_000, 0)
    assert ahead.next_to_hand_out((TOPIC, 0)) == ahead.next_to_read((TOPIC, 0)) == 20


def test_end_is_reached_once_everything_before_it_is_handed_out_and_is_returned_once() -> None:
    ends, handed_out = PartitionEnds(), {(TOPIC, 0): 3, (TOPIC, 1): 9}
    ends.update({(TOPIC, 0): 5, (TOPIC, 1): 9}, 1_000)
    assert ends.reached(handed_out.get) == {(TOPIC, 1): 1_000}
    assert ends.behind(handed_out.get) == 2
    ends.seen((TOPIC, 1), 12)
    assert ends.behind(handed_out.get) == 5
    handed_out[TOPIC, 0] = 5
    assert ends.reached(handed_out.get) == {(TOPIC, 0): 1_000}
    assert ends.reached(handed_out.get) == {}


def test_buffered_messages_of_a_deleted_log_are_handed_out_even_if_its_partition_goes_elsewhere() -> None:
    ahead, log = ReadAhead({(TOPIC, 0): 0}, 10, 1_000), Log("old")
    ahead.put([Message(TOPIC, 0, offset, b"", b"x", log=log) for offset in range(3)])
    assert ahead.identify([(TOPIC, 0)], "new") == [(TOPIC, 0)]
    ahead.put([Message(TOPIC, 0, 0, b"", b"y", log=Log("new"))])
    assert ahead.restarted() == {}
    ahead.lost([(TOPIC, 0)])
    assert [(m.offset, m.log.id) for m in ahead.take(10, 1_000, 0)] == [(0, "old"), (1, "old"), (2, "old")]
    assert ahead.restarted() == {(TOPIC, 0): Log("new")}
    assert ahead.next_to_read((TOPIC, 0)) is None
