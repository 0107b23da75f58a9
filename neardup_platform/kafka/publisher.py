"""Publishes messages to Kafka: at least once, in order, and without stopping at one that Kafka refuses permanently.

Outbox → fitting → **publisher** → log. After any error but a permanent refusal, the message and all that follow are
sent again until that succeeds: the broker may be away, a topic or a permission missing. A client that settles nothing
for long is replaced, because it may never recover by itself. The producer is not idempotent, because kafka-python ends
an idempotent one at the first error that it does not retry. One request in flight at a time keeps the order, and a
message sent twice has the same event id.
"""

import logging
import time
from collections import deque
from dataclasses import dataclass

from kafka import KafkaProducer
from kafka.errors import (
    InvalidRecordError,
    InvalidTimestampError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)
from kafka.future import Future

from neardup_platform.clock import Clock
from neardup_platform.errors import ServerUnavailable
from neardup_platform.kafka.topics import connection
from neardup_platform.settings import KafkaSettings
from neardup_platform.wire.fitting import fitting
from neardup_platform.wire.topics import PUBLISHED

log = logging.getLogger(__name__)

# Headers and framing of a message, with room to spare.
_OVERHEAD_BYTES = 1_024
_MAX_REASON_CHARACTERS = 500
# Pause after a failure, before everything from there on is sent again.
_RETRY_S = 1.0
# Messages are in flight and none of them was settled for this long: more than the client's limit for a request.
_STALLED_S = 45.0
_OPENING_MS = 5_000
# Raised by broker and client for one message.
_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)
# Raised by the broker for a whole batch because of one message in it.
_BAD_RECORD = InvalidRecordError
# Raised by the client for what it cannot serialise.
_UNSENDABLE = (TypeError, ValueError, AssertionError)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to publish. `number` is its ascending place in the outbox."""

    number: int
    topic: str
    key: bytes
    value: bytes

    @property
    def size(self) -> int:
        """Bytes of key and value."""
        return len(self.key) + len(self.value)


@dataclass(frozen=True, slots=True)
class Settled:
    """A message that needs no further attempt: acknowledged, or refused by Kafka permanently.

    Attributes:
        number: its place in the outbox.
        size: bytes of its key and value.
        refused: the message itself, if it was refused.
        why: Kafka's reason for the refusal.
    """

    number: int
    size: int
    refused: Outgoing | None = None
    why: str = ""


class KafkaPublisher:
    """A producer that keeps track of what the broker has not answered yet. For use by one thread.

    Args:
        clock: gives each message its timestamp, whenever it is sent.

    Raises:
        ServerUnavailable: no broker answers.
    """

    def __init__(self, settings: KafkaSettings, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        try:
            self._producer = make_producer(settings, idempotent=False)
            # Otherwise the first message to an unknown topic waits while the broker is away.
            for topic in PUBLISHED:
                self._producer.partitions_for(topic)
        except KafkaTimeoutError as error:
            raise ServerUnavailable(
                f"Kafka at {settings.bootstrap} does not list all topics ({error}): `neardup up` and "
                "`neardup doctor` create those that are missing"
            ) from error
        except KafkaError as error:
            raise ServerUnavailable(f"no Kafka broker at {settings.bootstrap}: {error}") from error
        self._max_bytes = settings.max_message_bytes - _OVERHEAD_BYTES
        self._in_flight: deque[tuple[Outgoing, Future]] = deque()
        self._waiting: deque[Outgoing] = deque()
        self._retry_at = 0.0
        self._settled_at = time.monotonic()
        self._blocked = False
        self._one_by_one = False
        self._bytes = 0
        self._logged = False

    def send(self, message: Outgoing) -> None:
        """Take a message. Its number must be higher than all before."""
        self._bytes += message.size
        self._waiting.append(message)
        self._send_waiting()

    @property
    def in_flight(self) -> int:
        """Number of messages taken and not settled."""
        return len(self._in_flight) + len(self._waiting)

    @property
    def in_flight_bytes(self) -> int:
        """Bytes of their keys and values."""
        return self._bytes

    def settled(self) -> list[Settled]:
        """Return the messages settled since the last call, in order of number, and send failed ones again."""
        done: list[Settled] = []
        while self._in_flight and self._in_flight[0][1].is_done:
            message, future = self._in_flight[0]
            error = None if future.succeeded() else future.exception
            if error is not None and not self._is_refusal(error):
                self._put_back(error)
                break
            self._in_flight.popleft()
            self._bytes -= message.size
            self._logged = self._one_by_one = False
            done.append(_settled(message, error))
        if done or not self.in_flight:
            self._settled_at = time.monotonic()
        elif time.monotonic() - self._settled_at > _STALLED_S:
            self._replace_producer()
        self._send_waiting()
        return done

    def _replace_producer(self) -> None:
        """Send everything again with a new client, unless the broker is away, which no client can help."""
        self._settled_at = time.monotonic()
        try:
            producer = make_producer(self._settings, idempotent=False, opening_ms=_OPENING_MS)
        except KafkaError:
            return
        log.warning("nothing was published for %.0f s: reopening the connection", _STALLED_S)
        _close(self._producer, 0)
        self._producer = producer
        self._take_back()

    def _hand_over(self, message: Outgoing) -> None:
        try:
            value = fitting(message.topic, message.value, self._max_bytes - len(message.key))
            future = self._producer.send(message.topic, key=message.key, value=value, timestamp_ms=self._clock.now_ms())
        except (KafkaError, *_UNSENDABLE) as error:
            future = Future().failure(error)
            # This may have waited for a minute, and so would the next one.
            self._blocked = not self._is_refusal(error)
        self._in_flight.append((message, future))

    def _is_refusal(self, error: BaseException) -> bool:
        """Return whether Kafka refuses this message permanently. Of a refused batch, each is sent alone to find out."""
        return isinstance(error, (*_TOO_LARGE, *_UNSENDABLE)) or (isinstance(error, _BAD_RECORD) and self._one_by_one)

    def _put_back(self, error: BaseException) -> None:
        self._one_by_one = isinstance(error, _BAD_RECORD)
        if not self._logged and not self._one_by_one:
            # Each attempt takes the time of sending, so it works as soon as the clock is right.
            why = "; set this machine's clock" if isinstance(error, InvalidTimestampError) else ""
            log.warning("publishing failed, trying again until it works: %s%s", error, why)
            self._logged = True
        self._take_back()
        self._retry_at = time.monotonic() + (0.0 if self._one_by_one else _RETRY_S)

    def _take_back(self) -> None:
        self._waiting.extendleft(message for message, _ in reversed(self._in_flight))
        self._in_flight.clear()
        self._blocked = False

    def _send_waiting(self) -> None:
        if time.monotonic() < self._retry_at:
            return
        while self._waiting and not self._blocked and not (self._one_by_one and self._in_flight):
            self._hand_over(self._waiting.popleft())

    def close(self, timeout_s: float) -> None:
        """Flush for at most `timeout_s`. What is not settled then stays in the outbox."""
        _close(self._producer, timeout_s)


def _close(producer: KafkaProducer, timeout_s: float) -> None:
    try:
        producer.close(timeout=timeout_s)
    except KafkaTimeoutError:
        # kafka-python then leaves its thread and its connection open.
        producer._sender.force_close()  # noqa: SLF001


def make_producer(
    settings: KafkaSettings, linger_ms: int = 5, *, idempotent: bool = True, opening_ms: int = 30_000
) -> KafkaProducer:
    """Return a compressing producer with the maximum message size of the topics.

    Args:
        idempotent: the broker drops duplicates; one refused message ends the producer.
        opening_ms: how long to wait for a broker.

    Raises:
        KafkaError: no broker answers.
    """
    kind = (
        {"enable_idempotence": True}
        if idempotent
        else {"enable_idempotence": False, "max_in_flight_requests_per_connection": 1}
    )
    return KafkaProducer(
        **connection(settings),
        **kind,
        client_id="neardup-producer",
        bootstrap_timeout_ms=opening_ms,
        acks="all",
        compression_type="lz4",
        linger_ms=linger_ms,
        batch_size=262_144,
        max_request_size=settings.max_message_bytes,
        reconnect_backoff_max_ms=2_000,
        allow_auto_create_topics=False,
        metrics_enabled=False,
    )


def _settled(message: Outgoing, error: BaseException | None) -> Settled:
    if error is None:
        return Settled(message.number, message.size)
    log.error("Kafka refuses message %d of the outbox, for %s: %s", message.number, message.topic, error)
    return Settled(message.number, message.size, message, f"{type(error).__name__}: {error}"[:_MAX_REASON_CHARACTERS])
