"""Reads both embedding topics and the control topic, from positions that the store holds and Kafka does not.

Kafka → **reader thread → read ahead** → worker's loop, which never waits for a broker. The reader is a static member of
the consumer group `neardup-<store id>`: a restart within the session timeout moves no partition, and a second process
for the same store replaces the first, which ends. The store's positions change in the same atomic write as the
decisions made from them, so only they count. Offsets are committed to Kafka for lag tools and are never read.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping

from kafka import TopicPartition
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from neardup_platform.errors import InvariantBroken, NeardupError, ServerUnavailable
from neardup_platform.kafka.member import Member
from neardup_platform.kafka.read_ahead import Partition, ReadAhead
from neardup_platform.settings import KafkaSettings
from neardup_platform.wire.codec import Log, Message
from neardup_platform.wire.topics import CONTROL

log = logging.getLogger(__name__)

# Read ahead of the worker: a second's worth at the sustained rate. The client itself holds one fetch more.
_MAX_MESSAGES = 4_000
_MAX_BYTES = 32 << 20
# Handed out at once. More would make the commit of a flood of large messages too large.
_BATCH_BYTES = 8 << 20
# Pause after a poll that brought messages, so that a trickle is not read one by one: the client takes as long to
# fetch one message as many, and the worker waits for it; see docs/speed.md.
_LINGER_S = 0.006
_POLL_MS = 100
# Limits of one poll. A compressed fetch of a few megabytes can be gigabytes of messages.
_MAX_POLLED = 500
_FIRST_POLLED = 16
_POLLED_BYTES = 4 << 20
# How often the ends of the partitions are asked for, and offsets are committed to Kafka.
_ENDS_EVERY_S = 1.0
_REPORT_EVERY_S = 3.0
_CLOSE_S = 3.0
# A call of the client takes so long only if it never ends; each has a shorter limit of its own.
_STUCK_S = 180.0


class KafkaSource:
    """All partitions of both embedding topics and of the control topic.

    Args:
        store_id: id of the store that holds the positions; names the consumer group.
        positions: next offset by (topic, partition); other partitions are read from their beginning.
        logs: the log that each position belongs to; a log that was replaced is read from its beginning.
        now_ms: the join's clock, for `read_until`.

    Raises:
        ServerUnavailable: no broker answers.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        store_id: str,
        positions: Mapping[Partition, int],
        logs: Mapping[Partition, Log],
        now_ms: Callable[[], int],
    ) -> None:
        self._ahead = ReadAhead(positions, _MAX_MESSAGES, _MAX_BYTES, logs)
        self._member = Member(settings, store_id, self._ahead, now_ms)
        self._committed = dict(positions)
        self._seen: frozenset[TopicPartition] = frozenset()
        self._partitions: frozenset[Partition] = frozenset()
        self._stop = threading.Event()
        self._turned_at = time.monotonic()
        self._reader = threading.Thread(target=self._read, name="kafka-reader", daemon=True)
        self._reader.start()

    def poll(self, max_messages: int, wait_ms: int) -> list[Message]:
        """Return messages, in offset order within a partition; none if nothing arrives within `wait_ms`.

        Never waits for the broker. With `max_messages` 0 it only waits.

        Raises:
            HomeInUse: another process has joined for the same store.
            SetupError: the broker refuses access, or a codec is not installed.
            ServerUnavailable: the client has not returned from a call for minutes.
        """
        if time.monotonic() - self._turned_at > _STUCK_S:
            raise ServerUnavailable(
                f"the Kafka client has not returned from a call for {_STUCK_S:.0f} s: start the worker again"
            )
        return self._ahead.take(max_messages, _BATCH_BYTES, wait_ms / 1_000)

    def hold_control(self, held: bool) -> None:
        """Stop handing out commands, or resume."""
        self._ahead.hold_commands = held

    def hold_embeddings(self, held: bool) -> None:
        """Stop handing out embeddings, or resume. The partitions are paused and stay assigned."""
        self._ahead.hold_embeddings = held

    def committed(self, positions: Mapping[Partition, int]) -> None:
        """Note positions that the store holds now. They are committed to Kafka within seconds, for lag tools."""
        self._committed = {**self._committed, **positions}

    @property
    def partitions(self) -> frozenset[Partition]:
        """Every partition of the embedding topics, read or not."""
        if self._seen is not self._member.watch.partitions:
            self._seen = self._member.watch.partitions
            self._partitions = frozenset((p.topic, p.partition) for p in self._seen if p.topic != CONTROL)
        return self._partitions

    def restarted(self) -> dict[Partition, Log]:
        """Return the partitions whose reading started over, for the store to note. Each is returned once."""
        return self._ahead.restarted()

    def read_until(self) -> dict[Partition, int]:
        """Return up to when each partition has been read: all that existed at that time has been handed out.

        Each partition is returned once for each time the ends were asked for, about every second. While the broker is
        away the ends are unknown, and nothing is returned.

        Returns:
            Milliseconds of the join's clock by partition.
        """
        return self._member.ends.reached(self._next_to_hand_out)

    def lag(self) -> int:
        """Return the number of embeddings in the log that were not handed out yet, as of the last fetch.

        It includes those in partitions that are not read, and in open transactions.
        """
        return self._member.ends.behind(self._next_to_hand_out)

    def metrics(self) -> dict[str, float]:
        """Return gauges of reading, and counters since the start of the process."""
        member, watch = self._member, self._member.watch
        return {
            "lag": self.lag(),
            "partitions_unread": len(member.assignment.unread),
            "transactions_open": member.transactions_open,
            "messages_lost": watch.messages_lost,
            "messages_truncated": watch.messages_truncated,
            "topics_recreated": watch.topics_recreated,
        }

    @property
    def messages_lost(self) -> int:
        """Messages deleted by retention before they were read."""
        return self._member.watch.messages_lost

    def _next_to_hand_out(self, partition: Partition) -> int:
        offset = self._ahead.next_to_hand_out(partition)
        return self._member.watch.begin_of(partition) if offset is None else offset

    def close(self) -> None:
        """Stop without leaving the group, so that the next process of this store takes the place."""
        self._stop.set()
        self._reader.join(_CLOSE_S)
        self._member.close()

    def _read(self) -> None:
        try:
            self._read_until_stopped()
        except NeardupError as error:
            self._ahead.fail(error)
        except Exception as error:
            log.exception("reading from Kafka failed")
            self._ahead.fail(InvariantBroken(f"reading from Kafka failed: {type(error).__name__}: {error}"))

    def _read_until_stopped(self) -> None:
        most = _FIRST_POLLED
        ends_at = report_at = time.monotonic()
        while not self._stop.is_set():
            messages = self._member.poll(_POLL_MS, most)
            if messages:
                self._ahead.put(messages)
                most = _next_limit(most, max(message.size for message in messages))
            now = self._turned_at = time.monotonic()
            if now >= ends_at:
                ends_at = now + _ENDS_EVERY_S * (1 if self._member.ask_for_ends() else 5)
            if now >= report_at:
                report_at = now + _REPORT_EVERY_S
                self._member.report(self._committed)
            if messages:
                self._stop.wait(_LINGER_S)


def _next_limit(most: int, largest: int) -> int:
    """Return how many messages to poll for next, if all are as large as the largest one now."""
    return max(1, min(_MAX_POLLED, 4 * most, _POLLED_BYTES // max(1, largest)))


def wait_for_source(
    settings: KafkaSettings,
    store_id: str,
    positions: Mapping[Partition, int],
    timeout_s: float,
    waiting: Callable[[], None],
    logs: Mapping[Partition, Log],
    now_ms: Callable[[], int],
) -> KafkaSource:
    """Return a `KafkaSource`, retrying with back-off while the broker is away. The log says so once.

    Args:
        waiting: called before each attempt, every few seconds.

    Raises:
        ServerUnavailable: still away after `timeout_s`.
    """
    attempts = Retrying(
        retry=retry_if_exception_type(ServerUnavailable),
        stop=stop_after_delay(timeout_s),
        wait=wait_exponential(multiplier=0.25, max=2.0),
        before=lambda _: waiting(),
        before_sleep=_log_first_failure,
        reraise=True,
    )
    return attempts(KafkaSource, settings, store_id, positions, logs, now_ms)


def _log_first_failure(attempt: RetryCallState) -> None:
    if attempt.attempt_number == 1 and attempt.outcome is not None:
        log.warning("%s; trying again", attempt.outcome.exception())
