"""Claims about the outbox on a real broker: bounded whatever its length, in order, and nothing before it is durable."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kafka import TopicPartition

from neardup_platform.clock import Clock, SystemClock
from neardup_platform.kafka import publisher as kafka_publisher
from neardup_platform.kafka.publisher import KafkaPublisher, Outgoing
from neardup_platform.settings import Settings
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.writer import Batch, Store
from neardup_platform.stream.commit import commit
from neardup_platform.stream.crash_points import CrashPoints
from neardup_platform.stream.outbox import MOST_BEHIND, MOST_IN_FLIGHT, Backlog, Outbox
from neardup_platform.stream.outbox_entries import put_outbox
from neardup_platform.stream.steps import StreamStep
from neardup_platform.testing import eventually
from neardup_platform.wire.topics import DEAD_LETTER
from tests.stream.worker_process import read_topic

MESSAGES = 3 * MOST_IN_FLIGHT


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "store")) as opened:
        yield opened


def fill(store: Store, first: int, count: int) -> store_pb.StoreState:
    """Messages in the outbox, as a command that changed many images leaves them."""
    state, batch = store.state(), Batch()
    put_outbox(batch, state, ((DEAD_LETTER, b"k", b"%d" % n) for n in range(first, first + count)))
    batch.put_state(state)
    store.write(batch)
    return state


def test_a_long_outbox_is_published_in_order_a_little_at_a_time(empty_log: Settings, store: Store) -> None:
    state = fill(store, 0, MESSAGES)
    with closing_publisher(empty_log) as publisher:
        outbox = Outbox(store, publisher, 1, MESSAGES, CrashPoints(""), SystemClock(), sync=True)
        outbox.start()
        most, left = 0, MESSAGES

        def is_empty() -> bool:
            nonlocal most, left
            most = max(most, publisher.in_flight)
            settled = outbox.settled()
            left -= len(settled)
            if settled:
                commit(store, state, StreamStep(), 0, settled)
            return left == 0

        eventually(is_empty)
        assert MOST_IN_FLIGHT // 2 < most <= MOST_IN_FLIGHT
        assert not outbox.full
        assert outbox.metrics()["outbox"] == 0
        outbox.close()
    assert list(store.outbox.pending()) == []
    assert state.outbox_first == MESSAGES + 1
    assert read_topic(empty_log, DEAD_LETTER) == [b"%d" % n for n in range(MESSAGES)]


class _SlowDisk(Store):
    """A disk whose syncs take as long as a test wants."""

    held = True

    def sync(self) -> None:
        while self.held:
            time.sleep(0.01)
        super().sync()


def test_nothing_is_published_before_it_is_synced(empty_log: Settings, tmp_path: Path) -> None:
    with closing(_SlowDisk(tmp_path / "slow")) as store, closing_publisher(empty_log) as publisher:
        outbox = Outbox(store, publisher, 1, 0, CrashPoints(""), SystemClock(), sync=True)
        outbox.start()
        state, batch = store.state(), Batch()
        outgoing = put_outbox(batch, state, [(DEAD_LETTER, b"k", b"only once it is durable")])
        store.write(batch)
        outbox.committed(outgoing)
        time.sleep(1)
        assert (publisher.in_flight, outbox.settled(), read_topic(empty_log, DEAD_LETTER)) == (0, [], [])
        store.held = False
        eventually(lambda: read_topic(empty_log, DEAD_LETTER))
        outbox.close()


def test_a_shrinking_outbox_does_not_hold_back_the_stream() -> None:
    backlog = Backlog(MOST_BEHIND)
    backlog.add(-5 * MOST_BEHIND)
    backlog.add(MOST_BEHIND - 1)
    assert not backlog.full
    backlog.add(1)
    assert backlog.full
    backlog.add(-1)
    assert not backlog.full


def closing_publisher(settings: Settings, clock: Clock | None = None) -> closing[KafkaPublisher]:
    """A publisher that is closed at the end."""

    class _Closing(KafkaPublisher):
        def close(self, timeout_s: float = 5.0) -> None:
            super().close(timeout_s)

    return closing(_Closing(settings.kafka, clock or SystemClock()))


def test_a_client_that_sends_nothing_is_replaced(
    empty_log: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kafka_publisher, "_STALLED_S", 1.0)
    messages, done = range(1, 6), []
    with closing_publisher(empty_log) as publisher:
        # As if requests to every partition were in flight, whose answers the client has missed.
        stuck = publisher._producer
        stuck._accumulator.muted.update(TopicPartition(DEAD_LETTER, n) for n in stuck.partitions_for(DEAD_LETTER))
        for number in messages:
            publisher.send(Outgoing(number, DEAD_LETTER, b"k", b"%d" % number))

        def settled() -> bool:
            done.extend(publisher.settled())
            return len(done) == len(messages)

        eventually(lambda: settled() or publisher._producer is not stuck)
        # The new client has all the time it needs, and sends nothing twice.
        monkeypatch.setattr(kafka_publisher, "_STALLED_S", 600.0)
        eventually(lambda: len(done) == len(messages) or settled())
        eventually(lambda: not stuck._sender.is_alive())
    assert "reopening the connection" in caplog.text
    assert [each.refused for each in done] == [None] * len(messages)
    assert read_topic(empty_log, DEAD_LETTER) == [b"%d" % number for number in messages]


def test_a_clock_that_is_hours_ahead_delays_messages_and_loses_none(
    empty_log: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """The broker refuses times over an hour ahead of its own."""

    class _Ahead(SystemClock):
        ahead_ms = 7 * 3_600_000

        def now_ms(self) -> int:
            return super().now_ms() + self.ahead_ms

    clock, messages, done = _Ahead(), range(1, 6), []
    with closing_publisher(empty_log, clock) as publisher:
        for number in messages:
            publisher.send(Outgoing(number, DEAD_LETTER, b"k", b"%d" % number))

        def settled() -> bool:
            done.extend(publisher.settled())
            return len(done) == len(messages)

        eventually(lambda: settled() or "set this machine's clock" in caplog.text)
        assert done == []
        clock.ahead_ms = 0
        eventually(settled)
    assert [each.refused for each in done] == [None] * len(messages)
    assert read_topic(empty_log, DEAD_LETTER) == [b"%d" % number for number in messages]
