"""Claims about the consumer, on a real Kafka: positions from the store, one static member, a bounded buffer."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psutil
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from neardup_platform.clock import SystemClock
from neardup_platform.errors import HomeInUse, ServerUnavailable
from neardup_platform.kafka import member as kafka_member
from neardup_platform.kafka import source as kafka_source
from neardup_platform.kafka.group_client import GROUP_PREFIX
from neardup_platform.kafka.publisher import make_producer
from neardup_platform.kafka.source import KafkaSource
from neardup_platform.kafka.topics import connection, ensure_topics
from neardup_platform.records import Kind
from neardup_platform.servers.embedded_servers import running_servers
from neardup_platform.settings import KafkaSettings, Settings
from neardup_platform.testing import eventually
from neardup_platform.wire.codec import Message
from neardup_platform.wire.replays import replay_headers
from neardup_platform.wire.topics import CONTROL, EMBEDDINGS

pytestmark = pytest.mark.slow

LSH, PAIR = EMBEDDINGS[Kind.LSH], EMBEDDINGS[Kind.PAIR]
PATIENCE_S = 180.0
_STORES = count()


def store_id() -> str:
    """Return the id of a new store, and so of a new group."""
    return f"test-{next(_STORES)}-{time.monotonic_ns()}"


@contextmanager
def reading(
    settings: Settings, store: str | None = None, positions: dict[tuple[str, int], int] | None = None
) -> Iterator[KafkaSource]:
    source = KafkaSource(settings.kafka, store or store_id(), positions or {}, {}, SystemClock().now_ms)
    try:
        yield source
    finally:
        source.close()


def publish(settings: Settings, numbers: range, topic: str = LSH, size: int = 10) -> None:
    producer = make_producer(settings.kafka)
    for number in numbers:
        producer.send(topic, key=str(number).encode(), value=str(number).encode().zfill(size))
    producer.flush()
    producer.close()


def flood(settings: Settings, messages: int) -> None:
    """Publish so much incompressible data that no single fetch holds it."""
    producer = make_producer(settings.kafka)
    for number in range(messages):
        producer.send(LSH, key=str(number).encode(), value=os.urandom(1_000))
    producer.flush()
    producer.close()


def read(source: KafkaSource, messages: int, most: int = 1_000) -> list[Message]:
    found: list[Message] = []

    def enough() -> bool:
        found.extend(source.poll(most, 100))
        return len(found) >= messages

    eventually(enough)
    return found


def after(messages: list[Message], positions: dict[tuple[str, int], int] | None = None) -> dict[tuple[str, int], int]:
    """Return the positions of a store that has committed these messages."""
    return (positions or {}) | {(m.topic, m.partition): m.offset + 1 for m in messages}


def test_reading_continues_at_the_positions_of_the_store(empty_log: Settings) -> None:
    publish(empty_log, range(100))
    with reading(empty_log) as source:
        first = read(source, 60, most=30)[:60]
    with reading(empty_log, positions=after(first)) as source:
        rest = read(source, 100 - len(first))
    assert sorted(int(m.value) for m in first + rest) == list(range(100))


def test_offsets_committed_to_kafka_do_not_matter(empty_log: Settings) -> None:
    """The group's offsets are committed to Kafka and never read: a restored store reads again."""
    store = store_id()
    publish(empty_log, range(50))
    with reading(empty_log, store) as source:
        source.committed(after(read(source, 50)))
        group = KafkaConsumer(**connection(empty_log.kafka), group_id=GROUP_PREFIX + store, enable_auto_commit=False)
        eventually(lambda: sum(offsets_of(group)) >= 50)
        group.close()
    with reading(empty_log, store) as source:
        assert len(read(source, 50)) == 50


def offsets_of(consumer: KafkaConsumer) -> list[int]:
    partitions = [TopicPartition(LSH, n) for n in consumer.partitions_for_topic(LSH)]
    begins = consumer.beginning_offsets(partitions)
    return [max(0, (consumer.committed(p) or 0) - begins[p]) for p in partitions]


def test_restart_within_the_session_does_not_wait(empty_log: Settings) -> None:
    """A killed process leaves its membership behind, and the next one takes it over at once."""
    store = store_id()
    publish(empty_log, range(10))
    killed = KafkaSource(empty_log.kafka, store, {}, {}, SystemClock().now_ms)
    first = read(killed, 10)
    # It stops polling, and neither leaves nor closes. As far as the broker knows, it is still running.
    killed._stop.set()
    try:
        publish(empty_log, range(10, 20))
        before = membership(killed)
        with reading(empty_log, store, after(first)) as source:
            assert sorted(int(m.value) for m in read(source, 10)) == list(range(10, 20))
            # No rebalance: that would start another generation.
            assert membership(source)[0] == before[0]
            assert membership(source)[1] != before[1]
    finally:
        killed.close()


def membership(source: KafkaSource) -> tuple[int, str]:
    generation = source._member._consumer._coordinator._generation
    return generation.generation_id, generation.member_id


def test_second_process_for_the_same_store_ends_the_first(empty_log: Settings) -> None:
    store = store_id()
    publish(empty_log, range(10))
    with reading(empty_log, store) as older:
        read(older, 10)
        with reading(empty_log, store) as newer:
            read(newer, 10)

            def fenced() -> bool:
                try:
                    older.poll(10, 10)
                except HomeInUse as error:
                    assert "another worker has joined" in str(error)
                    return True
                return False

            eventually(fenced)
            publish(empty_log, range(10, 20))
            assert len(read(newer, 10)) == 10


def test_partition_that_comes_back_is_neither_skipped_nor_handed_out_twice(empty_log: Settings) -> None:
    """Another member joins the group and leaves: partitions go and come back while messages are in flight."""
    store = store_id()
    seen: list[Message] = []
    with reading(empty_log, store) as source:
        publish(empty_log, range(200))
        seen += read(source, 50, most=50)
        other = KafkaConsumer(
            **connection(empty_log.kafka),
            group_id=GROUP_PREFIX + store,
            enable_auto_commit=False,
            auto_offset_reset="none",
        )
        other.subscribe([LSH, PAIR, CONTROL])
        deadline = time.monotonic() + PATIENCE_S
        while not other.assignment():
            other._coordinator.poll(timeout_ms=200)
            seen += source.poll(20, 10)
            assert time.monotonic() < deadline
        lost = {(p.topic, p.partition) for p in other.assignment()}
        assert lost
        publish(empty_log, range(200, 300))
        for _ in range(30):
            seen += source.poll(20, 10)
        other.close()
        eventually(lambda: seen.extend(source.poll(100, 50)) or len(seen) >= 300)
        seen += source.poll(100, 200)
    assert sorted(int(m.value) for m in seen) == list(range(300))
    for partition in {(m.topic, m.partition) for m in seen}:
        offsets = [m.offset for m in seen if (m.topic, m.partition) == partition]
        assert offsets == sorted(set(offsets))


def test_reading_ahead_is_bounded_and_nothing_is_dropped(empty_log: Settings) -> None:
    publish(empty_log, range(120), size=900_000)
    with reading(empty_log) as source:
        eventually(lambda: source._ahead.full)
        for _ in range(20):
            assert source.poll(0, 20) == []
        # Full at 32 MB, plus one poll of at most one fetch from each partition.
        assert sum(queue.size for queue in source._ahead._embeddings.values()) < 2 * (32 << 20)
        sizes, numbers = [], []
        while len(numbers) < 120:
            batch = source.poll(1_000, 1_000)
            sizes.append(sum(m.size for m in batch))
            numbers += [int(m.key) for m in batch]
    assert sorted(numbers) == list(range(120))
    assert max(sizes) <= 8 << 20


def test_flood_on_one_topic_does_not_keep_the_other_waiting(empty_log: Settings) -> None:
    flood(empty_log, 20_000)
    publish(empty_log, range(100), PAIR)
    with reading(empty_log) as source:
        before, pairs = 0, 0
        while pairs < 100:
            batch = source.poll(500, 1_000)
            pairs += sum(m.topic == PAIR for m in batch)
            before += sum(m.topic == LSH for m in batch)
    assert before < 20_000


def test_client_that_delivers_nothing_is_recreated(
    empty_log: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kafka_member, "_STALLED_S", 2.0)
    with reading(empty_log) as source:
        publish(empty_log, range(10))
        numbers: list[int] = []
        eventually(lambda: numbers.extend(numbers_of(source)) or len(numbers) == 10)
        eventually(lambda: source._member.assignment._paused == (False, False))
        # Without the member's knowledge: it still expects messages from these.
        source._member._consumer.pause(*source._member.assignment.owned)
        publish(empty_log, range(10, 20))
        publish(empty_log, range(20, 30), CONTROL)
        eventually(lambda: numbers.extend(numbers_of(source)) or len(numbers) == 30)
    assert sorted(numbers) == list(range(30))
    assert "reopening the connection" in caplog.text


def test_client_that_no_broker_answers_is_replaced_if_one_answers_another_client(
    empty_log: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kafka_member, "_STALLED_S", 2.0)
    with reading(empty_log) as source:
        publish(empty_log, range(10))
        numbers: list[int] = []
        eventually(lambda: numbers.extend(numbers_of(source)) or len(numbers) == 10)
        manager = source._member._consumer._manager
        # The client believes for an hour that it has to wait before it connects again.
        monkeypatch.setattr(manager, "connection_delay", lambda _: 3_600.0)
        for connection in list(manager._conns.values()):
            manager._net.call_soon(connection.close)
        publish(empty_log, range(10, 20))
        eventually(lambda: numbers.extend(numbers_of(source)) or len(numbers) == 20)
    assert sorted(numbers) == list(range(20))
    assert "Kafka answers, but not this client" in caplog.text


def test_a_client_that_does_not_return_ends_the_worker(empty_log: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise its heartbeats continue, nothing is read, and the lag stays what it was."""
    monkeypatch.setattr(kafka_source, "_STUCK_S", 2.0)
    returns = threading.Event()
    with reading(empty_log) as source:
        monkeypatch.setattr(source._member._consumer, "poll", lambda **_: returns.wait() and {})
        with pytest.raises(ServerUnavailable, match="has not returned"):
            eventually(lambda: source.poll(1, 10))
        returns.set()


def test_join_that_the_client_forgot_is_finished(empty_log: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """kafka-python forgets a join if the reason for it disappears before the broker answers."""
    with reading(empty_log) as source:
        publish(empty_log, range(10))
        numbers: list[int] = []
        eventually(lambda: numbers.extend(numbers_of(source)) or len(numbers) == 10)
        consumer = source._member._consumer
        consumer._subscription.mark_pending_revocation(source._member.assignment.owned)
        consumer._coordinator.rejoining = True
        publish(empty_log, range(10, 20))
        eventually(lambda: numbers.extend(numbers_of(source)) or len(numbers) == 20)
    assert sorted(numbers) == list(range(20))
    assert "reopening the connection" not in caplog.text


def numbers_of(source: KafkaSource) -> list[int]:
    return [int(message.key) for message in source.poll(1_000, 100)]


def test_held_commands_wait_while_embeddings_continue(empty_log: Settings) -> None:
    with reading(empty_log) as source:
        source.hold_control(True)
        publish(empty_log, range(3), CONTROL)
        publish(empty_log, range(5))
        assert {m.topic for m in read(source, 5)} == {LSH}
        source.hold_control(False)
        assert [m.topic for m in read(source, 3)] == [CONTROL] * 3


def test_ends_are_known_once_everything_was_handed_out(empty_log: Settings) -> None:
    with reading(empty_log) as source:
        publish(empty_log, range(40))
        eventually(lambda: source.lag() == 40)
        taken = read(source, 40, most=7)
        assert source.lag() == 0
        asked_ms = time.time_ns() // 1_000_000
        reached: dict[tuple[str, int], int] = {}
        eventually(lambda: reached.update(source.read_until()) or min(reached.values(), default=0) >= asked_ms)
        assert set(reached) == set(source.partitions)
    assert len(taken) == 40


def test_replays_and_missing_keys_and_values_arrive(empty_log: Settings) -> None:
    producer = make_producer(empty_log.kafka)
    producer.send(LSH, key=None, value=b"", headers=replay_headers(2))
    producer.send(LSH, key=b"tombstone", value=None)
    producer.send(LSH, key=b"k", value=b"v", headers=[("odd", b"\xff"), ("neardup-replays", b"many")])
    producer.close()
    with reading(empty_log) as source:
        found = sorted(read(source, 3), key=lambda m: m.key)
    assert [(m.key, m.value, m.replays) for m in found] == [(b"", b"", 2), (b"k", b"v", 0), (b"tombstone", b"", 0)]


def test_messages_deleted_unread_are_counted_while_running(empty_log: Settings) -> None:
    flood(empty_log, 20_000)
    with reading(empty_log) as source:
        got = read(source, 10, most=10)
        eventually(lambda: source._ahead.full)
        admin = KafkaAdminClient(**connection(empty_log.kafka))
        admin.delete_records({TopicPartition(LSH, n): -1 for n in range(4)})
        admin.close()
        eventually(lambda: got.extend(source.poll(1_000, 50)) or len(got) + source.messages_lost >= 20_000)
        assert len(got) + source.messages_lost == 20_000
        assert source.messages_lost > 0


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A broker whose topics and files a test may damage."""
    with running_servers(Settings(home=tmp_path_factory.mktemp("own")), s3=False) as settings:
        ensure_topics(settings.kafka)
        yield settings


def test_damaged_batch_is_reported_offset_by_offset_and_skipped(own_broker: Settings) -> None:
    topic = PAIR
    # Longer than any pause between two messages: a batch ends where it is flushed.
    producer = make_producer(own_broker.kafka, linger_ms=60_000)
    for batch in range(3):
        for number in range(4):
            producer.send(topic, key=b"k", value=b"batch %d, %d" % (batch, number) * 20, partition=0)
        producer.flush()
    producer.close()
    (log,) = (own_broker.home / "kafka" / "data" / f"{topic}-0").glob("*.log")
    batches, data = [], bytearray(log.read_bytes())
    at = 0
    while at < len(data) and int.from_bytes(data[at + 8 : at + 12]):
        batches.append(at)
        at += 12 + int.from_bytes(data[at + 8 : at + 12])
    assert len(batches) == 3
    flip(log, batches[1] + 70)
    with reading(own_broker) as source:
        found = [m for m in read(source, 12) if m.topic == topic]
    flip(log, batches[1] + 70)  # otherwise a broker that recovers from a crash truncates its log there
    assert [m.offset for m in found] == list(range(12))
    assert [bool(m.damage) for m in found] == [False] * 4 + [True] * 4 + [False] * 4


def flip(file: Path, at: int) -> None:
    with file.open("r+b") as opened:
        opened.seek(at)
        (byte,) = opened.read(1)
        opened.seek(at)
        opened.write(bytes([byte ^ 0xFF]))


def test_a_broker_outage_never_blocks_the_worker(own_broker: Settings) -> None:
    with reading(own_broker) as source:
        publish(own_broker, range(5))
        seen = read(source, 5)
        kill_broker(own_broker.kafka)
        killed_ms, until, reached_ms = time.time_ns() // 1_000_000, time.monotonic() + 5, []
        while time.monotonic() < until:
            seen += source.poll(10, 0)
            reached_ms.append(max(source.read_until().values(), default=0))
            source.lag()
            time.sleep(0.01)
        # Calls that wait for the client, which waits for the broker, would be a few.
        assert len(reached_ms) > 20
        assert max(reached_ms) < killed_ms + 1_000, "the ends are unknown"
        ensure_topics(own_broker.kafka, timeout_s=60)
        publish(own_broker, range(5, 10))
        wanted = {str(number).encode() for number in range(10)}
        eventually(lambda: seen.extend(source.poll(10, 50)) or wanted <= {m.key for m in seen})


def kill_broker(settings: KafkaSettings) -> None:
    port = int(str(settings.bootstrap).split(":")[1])
    (pid,) = {c.pid for c in psutil.net_connections("tcp") if c.laddr.port == port and c.status == "LISTEN"}
    psutil.Process(pid).kill()
