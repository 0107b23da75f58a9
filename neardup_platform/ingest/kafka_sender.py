"""Publishes embeddings and remembers where they are in the log, so that their outcome can be followed."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from neardup_platform.errors import ServerUnavailable
from neardup_platform.kafka.publisher import make_producer
from neardup_platform.records import Embedding, JoinedImage, Kind
from neardup_platform.settings import Settings
from neardup_platform.wire.codec import encode_embedding
from neardup_platform.wire.topics import EMBEDDINGS

ACKNOWLEDGE_S = 60.0
# Sent messages that are not yet acknowledged; beyond this, sending waits for the broker.
_MOST_OPEN = 20_000

Partition = tuple[str, int]


@dataclass(slots=True)
class Places:
    """The range of each partition that contains the sent messages: first offset, and the one after the last."""

    spans: dict[Partition, tuple[int, int]] = field(default_factory=dict)

    def add(self, partition: Partition, offset: int) -> None:
        """Record a message."""
        first, end = self.spans.get(partition, (offset, offset))
        self.spans[partition] = min(first, offset), max(end, offset + 1)

    def has(self, partition: Partition, offset: int) -> bool:
        """Whether a message may be one of those sent."""
        first, end = self.spans.get(partition, (0, 0))
        return first <= offset < end


class Sender:
    """Sends embeddings and, on exit, makes sure that each was acknowledged.

    Raises:
        ServerUnavailable: Kafka does not answer or accept what is sent.
    """

    def __init__(self, settings: Settings) -> None:
        try:
            self._producer: KafkaProducer = make_producer(settings.kafka)
        except KafkaError as error:
            raise ServerUnavailable(f"no Kafka broker at {settings.kafka.bootstrap}: {error}") from error
        self._open: deque[Any] = deque()
        self.places = Places()

    def send(self, image: JoinedImage) -> None:
        """Pass both embeddings of an image to the producer."""
        for kind in Kind:
            self.send_embedding(image.embedding(kind))

    def send_embedding(self, embedding: Embedding) -> None:
        """Pass one embedding to the producer."""
        key, value = embedding.image_id.encode(), encode_embedding(embedding)
        self._open.append(self._producer.send(EMBEDDINGS[embedding.kind], key=key, value=value))
        while len(self._open) > _MOST_OPEN:
            self._await_oldest()

    def __enter__(self) -> "Sender":
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        try:
            self._producer.flush(timeout=ACKNOWLEDGE_S)
            while self._open:
                self._await_oldest()
        except KafkaError as error:
            if not failed:
                raise ServerUnavailable(f"Kafka did not accept every message: {error}; ingest again") from error
        finally:
            self._producer.close(timeout=ACKNOWLEDGE_S)

    def _await_oldest(self) -> None:
        record = self._open.popleft().get(timeout=ACKNOWLEDGE_S)
        self.places.add((record.topic, record.partition), record.offset)
