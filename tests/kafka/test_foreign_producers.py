"""Claims about messages of other Kafka clients (librdkafka): every codec, headers, null keys, and transactions."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
from confluent_kafka import Producer
from kafka import KafkaProducer, codec

from neardup_platform.errors import SetupError
from neardup_platform.kafka import member as kafka_member
from neardup_platform.kafka.source import KafkaSource
from neardup_platform.kafka.topics import connection
from neardup_platform.records import Embedding, Kind, ModelSpec
from neardup_platform.settings import JoinSettings, Settings
from neardup_platform.stream.intake import Intake
from neardup_platform.testing import eventually
from neardup_platform.wire.codec import Message, encode_embedding
from neardup_platform.wire.topics import EMBEDDINGS
from tests.kafka.test_source import reading

pytestmark = pytest.mark.slow

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
IMAGES = 12
LSH, PAIR = EMBEDDINGS[Kind.LSH], EMBEDDINGS[Kind.PAIR]
MODELS = {Kind.LSH: ModelSpec("v", 256), Kind.PAIR: ModelSpec("v", 256)}


@contextmanager
def producing(settings: Settings, **more: str) -> Iterator[Producer]:
    assert settings.kafka.bootstrap is not None
    options = {name.replace("_", "."): value for name, value in more.items()}
    producer = Producer({"bootstrap.servers": settings.kafka.bootstrap, "log_level": "0", **options})
    yield producer
    assert producer.flush(120) == 0


def embedding(image_id: str, kind: Kind) -> bytes:
    vector = np.full(MODELS[kind].dim, 0.5, np.float32)
    return encode_embedding(Embedding(image_id, kind, "v", vector, time.time_ns() // 1_000_000))


def intake(source: KafkaSource) -> Intake:
    return Intake(JoinSettings(), MODELS, source.partitions, [], lambda _: False)


class Joining:
    """The images that a worker would join from a source."""

    def __init__(self, source: KafkaSource) -> None:
        self._source, self._intake = source, intake(source)
        self.joined: list[str] = []
        self.messages: list[Message] = []
        self.dead: list[str] = []
        self.reached: set[tuple[str, int]] = set()

    def more(self) -> list[str]:
        messages, reached = self._source.poll(1_000, 50), self._source.read_until()
        step, images = self._intake.take(messages, reached, time.time_ns() // 1_000_000)
        self.reached |= reached.keys()
        self.messages += messages
        self.joined += [image.image_id for image in images]
        self.dead += [error.reason for _, error in step.dead]
        return self.joined

    def until(self, condition: Callable[[], object]) -> None:
        eventually(lambda: self.more() is not None and condition())

    def for_a_while(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.more()


def test_images_arrive_through_every_codec_of_two_clients(empty_log: Settings) -> None:
    wanted = []
    with reading(empty_log) as source:
        for name in CODECS:
            ids = [f"{name}-{number}" for number in range(IMAGES)]
            with producing(empty_log, compression_codec=name, linger_ms="50") as producer:
                for image_id in ids:
                    for kind in Kind:
                        producer.produce(EMBEDDINGS[kind], embedding(image_id, kind), key=image_id)
            ours = KafkaProducer(**connection(empty_log.kafka), compression_type=None if name == "none" else name)
            for image_id in ids:
                for kind in Kind:
                    ours.send(EMBEDDINGS[kind], key=f"k-{image_id}".encode(), value=embedding(f"k-{image_id}", kind))
            ours.close()
            wanted += [*ids, *(f"k-{image_id}" for image_id in ids)]
        joining = Joining(source)
        joining.until(lambda: len(joining.joined) >= len(wanted))
    assert sorted(joining.joined) == sorted(wanted)
    assert joining.dead == []


@pytest.mark.parametrize("name", CODECS[1:])
def test_large_batches_decompress_to_many_times_their_size(empty_log: Settings, name: str) -> None:
    values = [f"{number:04d}".encode() * 5_000 for number in range(400)]
    with (
        reading(empty_log) as source,
        producing(empty_log, compression_codec=name, linger_ms="200", batch_size="900000") as producer,
    ):
        for value in values:
            producer.produce(LSH, value, partition=1)
        producer.flush()
        found: list[Message] = []
        eventually(lambda: found.extend(source.poll(1_000, 50)) or len(found) >= len(values))
    assert [message.value for message in found] == values


def test_null_keys_null_values_and_headers_of_another_client_arrive(empty_log: Settings) -> None:
    with producing(empty_log) as producer:
        producer.produce(LSH, b"v", headers=[("trace", b"\x00\xff"), ("empty", None), ("neardup-replays", b"2")])
        producer.produce(LSH, None, key="tombstone")
        producer.produce(LSH, b"", key="ключ", headers={"ключ": "значение"})
    with reading(empty_log) as source:
        found: list[Message] = []
        eventually(lambda: found.extend(source.poll(10, 50)) or len(found) >= 3)
    assert sorted((m.key.decode(), m.value, m.replays, m.damage) for m in found) == [
        ("", b"v", 2, ""),
        ("tombstone", b"", 0, ""),
        ("ключ", b"", 0, ""),
    ]


def test_missing_codec_stops_reading_names_the_codec_and_skips_nothing(
    empty_log: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with producing(empty_log, compression_codec="snappy", linger_ms="50") as producer:
        for number in range(IMAGES):
            producer.produce(LSH, f"{number}" * 100, partition=0)
    found: list[Message] = []
    monkeypatch.setattr(codec, "snappy", None)
    with reading(empty_log) as source, pytest.raises(SetupError, match=r"compressed with snappy.*python-snappy"):
        eventually(lambda: found.extend(source.poll(1_000, 50)))
    assert found == []
    monkeypatch.undo()
    with reading(empty_log) as source:
        eventually(lambda: found.extend(source.poll(1_000, 50)) or len(found) >= IMAGES)
    assert [message.value for message in found] == [f"{number}".encode() * 100 for number in range(IMAGES)]


@contextmanager
def transaction(settings: Settings) -> Iterator[Producer]:
    with producing(settings, transactional_id=f"t-{time.monotonic_ns()}", transaction_timeout_ms="600000") as producer:
        producer.init_transactions(30)
        producer.begin_transaction()
        yield producer


def send(producer: Producer, image_id: str, kinds: tuple[Kind, ...] = tuple(Kind), partition: int = 0) -> None:
    for kind in kinds:
        producer.produce(EMBEDDINGS[kind], embedding(image_id, kind), key=image_id, partition=partition)


def test_embeddings_of_an_aborted_transaction_are_never_decided(empty_log: Settings) -> None:
    with reading(empty_log) as source:
        joining = Joining(source)
        with transaction(empty_log) as producer:
            send(producer, "aborted")
            producer.flush()
            joining.for_a_while(2)
            producer.abort_transaction(30)
        with producing(empty_log) as producer:
            send(producer, "plain")
        joining.until(lambda: joining.joined)
        # The marker of the abort is at the end of the log, and is stepped over.
        joining.until(lambda: source.lag() == 0 and source.metrics()["transactions_open"] == 0)
        assert joining.joined == ["plain"]
        assert len(joining.messages) == 2


def test_open_transaction_holds_back_its_partition_only_until_it_is_committed(
    empty_log: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with reading(empty_log) as source:
        joining = Joining(source)
        with transaction(empty_log) as producer:
            send(producer, "open")
            producer.flush()
            with producing(empty_log) as plain:
                send(plain, "behind")
                send(plain, "elsewhere", partition=1)
            joining.until(lambda: joining.joined)
            joining.until(lambda: source.metrics()["transactions_open"] == 2)
            joining.until(lambda: source.lag() == 4)
            joining.reached.clear()
            with monkeypatch.context() as patch:
                patch.setattr(kafka_member, "_STALLED_S", 2.0)
                joining.for_a_while(4)
                joining.until(lambda: {partition for _, partition in joining.reached} >= {1, 2, 3})
            assert joining.joined == ["elsewhere"]
            assert source.lag() == 4
            # Its partitions were not read to their ends, so nothing expires because of what may still be committed.
            assert {partition for _, partition in joining.reached} == {1, 2, 3}
            producer.commit_transaction(30)
        joining.until(lambda: len(joining.joined) == 3)
        joining.until(lambda: source.lag() == 0 and source.metrics()["transactions_open"] == 0)
        joining.until(lambda: {(LSH, 0), (PAIR, 0)} <= joining.reached)
    assert sorted(joining.joined) == ["behind", "elsewhere", "open"]
    assert joining.joined[1:] != ["elsewhere"]
    assert "reopening the connection" not in caplog.text


def test_transaction_open_at_the_start_is_read_when_it_is_committed(empty_log: Settings) -> None:
    with transaction(empty_log) as producer:
        send(producer, "early")
        producer.flush()
        with reading(empty_log) as source:
            joining = Joining(source)
            joining.until(lambda: source.metrics()["transactions_open"] == 2)
            assert joining.messages == []
            producer.commit_transaction(30)
            joining.until(lambda: joining.joined)
    assert joining.joined == ["early"]


def test_committed_messages_of_interleaved_transactions_are_read_once_and_in_order(empty_log: Settings) -> None:
    rng = np.random.default_rng(5)
    committed: set[str] = set()
    sent: list[str] = []
    with ExitStack() as stack:
        producers = [stack.enter_context(producing(empty_log, transactional_id=f"r-{n}")) for n in range(3)]
        plain = stack.enter_context(producing(empty_log))
        source = stack.enter_context(reading(empty_log))
        found: list[Message] = []
        is_open: dict[int, list[str]] = {}
        for producer in producers:
            producer.init_transactions(30)
        for number in range(90):
            which, value = int(rng.integers(4)), f"{number}"
            if which == 3:
                plain.produce(LSH, value, partition=0)
                plain.flush()
                committed.add(value)
            elif which in is_open and rng.random() < 0.4:
                if rng.random() < 0.5:
                    producers[which].abort_transaction(30)
                else:
                    producers[which].commit_transaction(30)
                    committed.update(is_open[which])
                del is_open[which]
                continue
            else:
                if which not in is_open:
                    producers[which].begin_transaction()
                is_open.setdefault(which, []).append(value)
                producers[which].produce(LSH, value, partition=0)
                producers[which].flush()
            sent.append(value)
            found += source.poll(1_000, 0)
        for which in is_open:
            producers[which].abort_transaction(30)
        wanted = [value for value in sent if value in committed]
        eventually(lambda: found.extend(source.poll(1_000, 50)) or len(found) >= len(wanted))
        eventually(lambda: source.lag() == 0)
    assert [message.value.decode() for message in found] == wanted
