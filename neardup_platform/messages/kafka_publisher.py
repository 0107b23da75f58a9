"""Sends what lies in the outbox; at least once, in order, without ever waiting for the broker."""

import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError
from kafka.producer.future import FutureRecordMetadata

from neardup_platform.errors import ServerUnavailable
from neardup_platform.messages.kafka_topics import PUBLISHED, connection
from neardup_platform.settings import KafkaSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to be published; `number` is its place in the outbox, counting up without gaps."""

    number: int
    topic: str
    key: bytes
    value: bytes

    @property
    def size(self) -> int:
        """Bytes of key and value."""
        return len(self.key) + len(self.value)


class KafkaPublisher:
    """An idempotent producer that remembers what the broker has not acknowledged yet."""

    def __init__(self, settings: KafkaSettings) -> None:
        try:
            self._producer = make_producer(settings)
            # Of a topic never heard of, the first message would wait up to a minute for a broker that is away.
            for topic in PUBLISHED:
                self._producer.partitions_for(topic)
        except KafkaTimeoutError as error:
            raise ServerUnavailable(
                f"Kafka at {settings.bootstrap} does not tell of all topics ({error}): `neardup up` and "
                "`neardup doctor` create those that are missing"
            ) from error
        except KafkaError as error:
            raise ServerUnavailable(f"no Kafka broker at {settings.bootstrap}: {error}") from error
        self._in_flight: deque[tuple[Outgoing, FutureRecordMetadata]] = deque()
        self._bytes = 0
        self._said = False

    def send(self, messages: Iterable[Outgoing]) -> None:
        """Hand messages to the producer, in order of their number."""
        for message in messages:
            future = self._producer.send(message.topic, key=message.key, value=message.value)
            self._in_flight.append((message, future))
            self._bytes += message.size

    @property
    def unacknowledged(self) -> int:
        """Messages handed over and not yet acknowledged."""
        return len(self._in_flight)

    @property
    def unacknowledged_bytes(self) -> int:
        """Their keys and values."""
        return self._bytes

    def acknowledged(self) -> list[int]:
        """Numbers of messages that are in the log now, each once and in order.

        A message that the producer gave up on (its `delivery_timeout_ms` over) is handed over again, and so
        is all that followed it: consumers drop the repeats by event id.
        """
        done: list[int] = []
        while self._in_flight and self._in_flight[0][1].is_done:
            message, future = self._in_flight[0]
            if not future.succeeded():
                self._resend(future.exception)
                break
            done.append(message.number)
            self._said = False
            self._in_flight.popleft()
            self._bytes -= message.size
        return done

    def _resend(self, error: BaseException | None) -> None:
        if not self._said:
            log.warning("publishing failed, trying again until the broker is back: %s", error)
            self._said = True
        waiting = [message for message, _ in self._in_flight]
        self._in_flight.clear()
        self._bytes = 0
        self.send(waiting)

    def close(self, timeout_s: float) -> None:
        """Flush for at most `timeout_s`; what stays unacknowledged is still in the outbox."""
        self._producer.close(timeout=timeout_s)


def make_producer(settings: KafkaSettings, linger_ms: int = 5) -> KafkaProducer:
    """An idempotent, compressing producer with the largest message size that the topics take."""
    return KafkaProducer(
        **connection(settings),
        client_id="neardup-producer",
        acks="all",
        enable_idempotence=True,
        compression_type="lz4",
        linger_ms=linger_ms,
        batch_size=262_144,
        max_request_size=settings.max_message_bytes,
        reconnect_backoff_max_ms=2_000,
        allow_auto_create_topics=False,
        metrics_enabled=False,
    )
