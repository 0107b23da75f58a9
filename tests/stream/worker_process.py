"""A real worker process, and the log and store around it, for tests."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from kafka import KafkaConsumer, TopicPartition

from neardup_platform.bench.synthetic import embeddings
from neardup_platform.errors import ServerUnavailable
from neardup_platform.kafka.publisher import make_producer
from neardup_platform.kafka.topics import connection
from neardup_platform.records import Kind
from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card
from neardup_platform.servers.endpoints import environment
from neardup_platform.settings import Settings
from neardup_platform.store.secondary import SecondaryStore
from neardup_platform.testing import eventually
from neardup_platform.wire.codec import encode_embedding
from neardup_platform.wire.topics import EMBEDDINGS
from tests.stream.forked_worker import ForkedWorker

# Of a wait that ends with a failure: how long a busy machine may take.
PATIENCE_S = 300.0


def start(
    settings: Settings,
    max_file_kb: int = 0,
    module: str = "neardup_platform.cli",
    more: Mapping[str, str] | None = None,
) -> ForkedWorker:
    """Start a worker; with `max_file_kb` its writes fail beyond that size, as on a full disk.

    Args:
        more: variables of its environment.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, **environment(settings), **(more or {})}
    return ForkedWorker(module, env, settings.home / "worker.log", max_file_kb)


@contextmanager
def running(settings: Settings) -> Iterator[ForkedWorker]:
    process = start(settings)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def publish(settings: Settings, numbers: range, kinds: tuple[Kind, ...] = tuple(Kind)) -> None:
    """Publish synthetic images; their event time is now."""
    producer = make_producer(settings.kafka)
    models = read_card(SHIPPED_FOLDER).required_models
    for number in numbers:
        for half in embeddings(number, models, time.time_ns() // 1_000_000):
            if half.kind in kinds:
                producer.send(EMBEDDINGS[half.kind], key=half.image_id.encode(), value=encode_embedding(half))
    producer.flush()
    producer.close()


@contextmanager
def reading(settings: Settings) -> Iterator[SecondaryStore]:
    """A reader of the store, as soon as there is one."""
    opened: list[SecondaryStore] = []

    def is_open() -> bool:
        try:
            opened.append(SecondaryStore(settings.store_path, settings.home / f"reader-{time.monotonic_ns()}"))
        except ServerUnavailable:
            return False
        return True

    eventually(is_open)
    (reader,) = opened
    try:
        yield reader
    finally:
        reader.close()


def images(reader: SecondaryStore) -> int:
    reader.refresh()
    return int(reader.state().images)


def log_tail(home: Path) -> str:
    return (home / "worker.log").read_text()[-2_000:]


def read_topic(settings: Settings, topic: str) -> list[bytes]:
    """Every value in a topic, in the order of partition and offset."""
    consumer = KafkaConsumer(**connection(settings.kafka), enable_auto_commit=False)
    eventually(lambda: consumer.partitions_for_topic(topic))
    partitions = [TopicPartition(topic, n) for n in sorted(consumer.partitions_for_topic(topic))]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    ends, values = consumer.end_offsets(partitions), []
    while any(consumer.position(p) < ends[p] for p in partitions):
        for records in consumer.poll(timeout_ms=500).values():
            values += [record.value for record in records]
    consumer.close()
    return values
