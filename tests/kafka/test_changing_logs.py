"""Claims about logs that change: topics recreated, truncated, or with more partitions than before."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import NewPartitions, NewTopic
from kafka.errors import KafkaError

from neardup_platform.clock import SystemClock
from neardup_platform.kafka import assignment as kafka_assignment
from neardup_platform.kafka import group_client as kafka_group_client
from neardup_platform.kafka.group_client import committed_ends, oldest_offsets
from neardup_platform.kafka.publisher import make_producer
from neardup_platform.kafka.source import KafkaSource
from neardup_platform.kafka.topics import connection, ensure_topics
from neardup_platform.records import Kind
from neardup_platform.servers.embedded_servers import running_servers
from neardup_platform.settings import Settings
from neardup_platform.testing import eventually
from neardup_platform.wire.codec import Log, Message
from neardup_platform.wire.topics import CONTROL, EMBEDDINGS
from tests.kafka.test_source import store_id

pytestmark = pytest.mark.slow

LSH, PAIR = EMBEDDINGS[Kind.LSH], EMBEDDINGS[Kind.PAIR]
PARTITIONS = 4


class Store:
    """Positions and logs as a store keeps them: of the messages handed out, in order."""

    def __init__(self) -> None:
        self.id = store_id()
        self.positions: dict[tuple[str, int], int] = {}
        self.logs: dict[tuple[str, int], Log] = {}
        self.seen: list[Message] = []

    def commit(self, messages: list[Message], restarted: Mapping[tuple[str, int], Log]) -> None:
        for partition, log in restarted.items():
            self.positions[partition], self.logs[partition] = 0, log
        for message in messages:
            partition = message.topic, message.partition
            self.positions[partition], self.logs[partition] = message.offset + 1, message.log
        self.seen += messages

    @contextmanager
    def reading(self, settings: Settings) -> Iterator["Reading"]:
        source = KafkaSource(settings.kafka, self.id, self.positions, self.logs, SystemClock().now_ms)
        try:
            yield Reading(self, source)
        finally:
            source.close()

    def values(self, topic: str = LSH) -> list[str]:
        return sorted(message.value.decode() for message in self.seen if message.topic == topic)


class Reading:
    def __init__(self, store: Store, source: KafkaSource) -> None:
        self.store, self.source = store, source

    def more(self) -> None:
        messages = self.source.poll(1_000, 50)
        self.store.commit(messages, self.source.restarted())

    def until(self, condition: Callable[[], object]) -> None:
        def met() -> object:
            self.more()
            return condition()

        eventually(met)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refresh metadata after one second, and rejoin soon."""
    monkeypatch.setattr(kafka_group_client, "METADATA_MAX_AGE_MS", 1_000)
    monkeypatch.setattr(kafka_assignment, "_REJOIN_S", 1.0)


@contextmanager
def administering(settings: Settings) -> Iterator[KafkaAdminClient]:
    admin = KafkaAdminClient(**connection(settings.kafka))
    yield admin
    admin.close()


def recreate(settings: Settings, *topics: str, partitions: int = PARTITIONS) -> None:
    with administering(settings) as admin:
        before = ids_of(admin, topics)
        admin.delete_topics(list(topics))
        for topic in topics:
            eventually(lambda: is_recreated(admin, topic, partitions, before))  # noqa: B023


def ids_of(admin: KafkaAdminClient, topics: Sequence[str]) -> set[str]:
    """The ids of the topics that exist; one that is recreated has another."""
    return {str(found["topic_id"]) for found in admin.describe_topics(list(topics)) if not found["error_code"]}


def is_recreated(admin: KafkaAdminClient, topic: str, partitions: int, before: set[str]) -> bool:
    """Try to create a topic: its deletion continues for a moment after it was acknowledged."""
    try:
        admin.create_topics([NewTopic(topic, 1 if topic == CONTROL else partitions, 1)])
    except Exception:  # noqa: BLE001 -- the broker refuses with various errors while it is still deleting
        # Or it has created the topic, and the answer came too late.
        return bool(ids_of(admin, [topic]) - before)
    return True


def numbered(settings: Settings, prefix: str, count: int, topic: str = LSH) -> list[str]:
    values = [f"{prefix}{number:04d}" for number in range(count)]
    producer = make_producer(settings.kafka)
    for number, value in enumerate(values):
        producer.send(topic, value=value.encode(), partition=0 if topic == CONTROL else number % PARTITIONS)
    producer.flush()
    producer.close()
    return values


@pytest.mark.parametrize("after", [150, 50])
def test_topic_recreated_while_no_worker_ran_is_read_from_its_beginning(
    empty_log: Settings, after: int, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store()
    first = numbered(empty_log, "a", 100)
    with store.reading(empty_log) as reading:
        reading.until(lambda: len(store.seen) == 100)
    recreate(empty_log, LSH)
    second = numbered(empty_log, "b", after)
    with store.reading(empty_log) as reading:
        reading.until(lambda: len(store.seen) == 100 + after)
        assert reading.source.metrics()["topics_recreated"] == 1
        reading.until(lambda: reading.source.lag() == 0)
    assert f"{LSH} was deleted and recreated" in caplog.text
    assert store.values() == sorted([*first, *second])
    # The new log is known now, so nothing is read or logged twice.
    with store.reading(empty_log) as reading:
        third = numbered(empty_log, "c", 8)
        reading.until(lambda: len(store.seen) == 108 + after)
        assert reading.source.metrics()["topics_recreated"] == 0
    assert store.values() == sorted([*first, *second, *third])


@pytest.mark.parametrize("after", [150, 50])
@pytest.mark.usefixtures("quick")
def test_topic_recreated_under_a_running_worker_loses_nothing(empty_log: Settings, after: int) -> None:
    """Neither buffered messages of the old topic, nor messages of the new one at offsets already passed, are lost."""
    store = Store()
    first = numbered(empty_log, "a", 100)
    with store.reading(empty_log) as reading:
        reading.until(lambda: store.seen)
        ahead = reading.source._ahead
        eventually(lambda: sum(ahead.next_to_read((LSH, n)) or 0 for n in range(PARTITIONS)) >= 100)
        recreate(empty_log, LSH)
        second = numbered(empty_log, "b", after)
        reading.until(lambda: set(store.values()) == {*first, *second})
        reading.until(lambda: reading.source.lag() == 0 and not reading.source.metrics()["partitions_unread"])
        third = numbered(empty_log, "c", 8)
        reading.until(lambda: set(store.values()) == {*first, *second, *third})
    # The store has positions in the new log, so the next start continues there.
    before = len(store.seen)
    with store.reading(empty_log) as reading:
        fourth = numbered(empty_log, "d", 8)
        reading.until(lambda: set(fourth) <= set(store.values()))
        assert len(store.seen) == before + 8


@pytest.mark.usefixtures("quick")
def test_recreated_control_topic_is_read_from_its_beginning(empty_log: Settings) -> None:
    store = Store()
    numbered(empty_log, "a", 30, CONTROL)
    with store.reading(empty_log) as reading:
        reading.until(lambda: len(store.seen) == 30)
        recreate(empty_log, CONTROL)
        second = numbered(empty_log, "b", 10, CONTROL)
        reading.until(lambda: set(second) <= set(store.values(CONTROL)))
    recreate(empty_log, CONTROL)
    third = numbered(empty_log, "c", 10, CONTROL)
    with store.reading(empty_log) as reading:
        reading.until(lambda: set(third) <= set(store.values(CONTROL)))


def test_store_without_log_ids_accepts_the_existing_log(empty_log: Settings) -> None:
    """Stores written before log ids were kept have none."""
    store = Store()
    numbered(empty_log, "a", 20)
    with store.reading(empty_log) as reading:
        reading.until(lambda: len(store.seen) == 20)
    store.logs.clear()
    with store.reading(empty_log) as reading:
        numbered(empty_log, "b", 20)
        reading.until(lambda: len(store.seen) == 40)
        assert reading.source.metrics()["topics_recreated"] == 0
    assert {log.id for log in store.logs.values()} != {""}


def test_position_beyond_the_end_of_a_log_of_unknown_epoch_reads_the_whole_log(
    empty_log: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store()
    values = numbered(empty_log, "a", 20)
    store.positions[LSH, 0] = 10**9
    with store.reading(empty_log) as reading:
        reading.until(lambda: len(store.seen) == 20)
    assert store.values() == values
    assert f"{LSH}[0] was read up to 1000000000" in caplog.text


def test_reading_continues_where_a_log_was_cut_off(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Messages that the broker wrote in place of lost ones are read, although their offsets were passed before."""
    home, store = Settings(home=tmp_path / "home"), Store()
    with running_servers(home, s3=False) as settings:
        ensure_topics(settings.kafka)
        for batch in range(3):
            in_one_batch(settings, [f"a{batch}{number}" for number in range(10)])
        with store.reading(settings) as reading:
            reading.until(lambda: len(store.seen) == 30)
    folder = home.home / "kafka" / "data"
    cut_last_batch(folder / f"{LSH}-0")
    (folder / ".kafka_cleanshutdown").unlink(missing_ok=True)
    with running_servers(home, s3=False) as settings:
        second = in_one_batch(settings, [f"b{number:02d}" for number in range(14)])
        with store.reading(settings) as reading:
            reading.until(lambda: set(second) <= set(store.values()))
            assert reading.source.metrics()["messages_truncated"] == 10
            assert len(store.seen) == 44
            reading.until(lambda: reading.source.lag() == 0)
    assert "reading continues at offset 20, 10 messages before" in caplog.text


def in_one_batch(settings: Settings, values: list[str]) -> list[str]:
    producer = make_producer(settings.kafka, linger_ms=60_000)
    for value in values:
        producer.send(LSH, value=value.encode(), partition=0)
    producer.flush()
    producer.close()
    return values


def cut_last_batch(folder: Path) -> None:
    """Cut the log like a broker that lost its page cache, or a new leader that never had the batch."""
    (log,) = folder.glob("*.log")
    data, at, begins = log.read_bytes(), 0, []
    while at < len(data) and int.from_bytes(data[at + 8 : at + 12]):
        begins.append(at)
        at += 12 + int.from_bytes(data[at + 8 : at + 12])
    log.write_bytes(data[: begins[-1]])
    for index in (*folder.glob("*.index"), *folder.glob("*.timeindex"), *folder.glob("*.snapshot")):
        index.unlink()


@pytest.mark.usefixtures("quick")
def test_partitions_added_to_one_topic_after_the_other_are_read_even_after_a_restart(
    empty_log: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """A static member that replaces an earlier process gets its assignment and assigns nothing itself."""
    store = Store()
    numbered(empty_log, "a", 20)
    with store.reading(empty_log) as reading:
        reading.until(lambda: len(store.seen) == 20)
    with store.reading(empty_log) as reading, administering(empty_log) as admin:
        reading.more()
        for raised, topic in enumerate((LSH, PAIR), start=1):
            admin.create_partitions({topic: NewPartitions(7)})
            producer = make_producer(empty_log.kafka)
            for partition in range(4, 7):
                producer.send(topic, value=f"new-{partition}".encode(), partition=partition).get(timeout=30)
            producer.close()
            reading.until(lambda: len(store.seen) == 20 + 3 * raised)  # noqa: B023
        reading.until(lambda: reading.source.metrics()["partitions_unread"] == 0)
        assert len(reading.source.partitions) == 14
        reading.until(lambda: (PAIR, 6) in reading.source.read_until())
    assert f"{LSH} has 7 partitions and {PAIR} has 4: images are joined all the same" in caplog.text
    assert "equal numbers of partitions again" in caplog.text
    recreate(empty_log, LSH, PAIR)


@pytest.mark.usefixtures("quick")
def test_unread_partition_shows_in_lag_and_in_a_count(empty_log: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_assignment, "rejoin", lambda _: None)
    store = Store()
    with store.reading(empty_log):
        pass
    with store.reading(empty_log) as reading, administering(empty_log) as admin:
        eventually(lambda: reading.source.metrics()["partitions_unread"] == 0)
        admin.create_partitions({LSH: NewPartitions(6)})
        eventually(lambda: reading.source.metrics()["partitions_unread"] == 2)
        producer = make_producer(empty_log.kafka)
        for _ in range(5):
            producer.send(LSH, value=b"unread", partition=5).get(timeout=30)
        producer.close()
        eventually(lambda: reading.source.lag() == 5)
        # Nothing is known about it, so its clock stands still, and the watermark too.
        reached: set[tuple[str, int]] = set()
        eventually(lambda: reached.update(reading.source.read_until()) or (LSH, 4) in reached)
        time.sleep(1.5)
        reached |= reading.source.read_until().keys()
        assert (LSH, 5) not in reached
        assert (LSH, 5) in reading.source.partitions
    recreate(empty_log, LSH)


@pytest.mark.usefixtures("quick")
def test_missing_partitions_of_a_topic_recreated_with_fewer_are_dropped(empty_log: Settings) -> None:
    store = Store()
    with store.reading(empty_log) as reading:
        numbered(empty_log, "a", 20)
        reading.until(lambda: len(store.seen) == 20)
        recreate(empty_log, LSH, partitions=2)
        reading.until(lambda: {p for p in reading.source.partitions if p[0] == LSH} == {(LSH, 0), (LSH, 1)})
        producer = make_producer(empty_log.kafka)
        for partition in range(2):
            producer.send(LSH, value=b"few", partition=partition).get(timeout=30)
        producer.close()
        reading.until(lambda: store.values().count("few") >= 2)
        reading.until(lambda: reading.source.lag() == 0)
    recreate(empty_log, LSH)


def test_a_partition_deleted_while_its_offsets_are_asked_for_is_an_outage_and_no_broken_invariant() -> None:
    class Deleted:
        """What kafka-python does where a topic is recreated with fewer partitions between metadata and answer."""

        def end_offsets(self, partitions: list[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
            return {partitions[0]: 7}[partitions[-1]]  # type: ignore[return-value]

        beginning_offsets = end_offsets

    for ask in (oldest_offsets, committed_ends):
        with pytest.raises(KafkaError, match=r"partition=1\) no longer exists"):
            ask(Deleted(), [TopicPartition(LSH, 0), TopicPartition(LSH, 1)])
