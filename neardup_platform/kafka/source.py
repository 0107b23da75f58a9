"""Reads the two embedding topics and the control topic from positions that the store holds, not Kafka.

Kafka → **reader thread → read ahead** → worker's loop, which therefore never waits for a broker. The reader is a
static member of the consumer group `neardup-<store id>`: a restart within the session timeout moves no partition, and
a second process for the same store takes the place of the first, which ends. The store's positions change in the same
atomic write as the decisions made from them, so they are the truth. Offsets are committed to Kafka for usual lag tools
only and are never read.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping

from kafka import TopicPartition

from neardup_platform.errors import InvariantBroken, NeardupError, ServerUnavailable
from neardup_platform.kafka.member import Member
from neardup_platform.kafka.read_ahead import Partition, ReadAhead
from neardup_platform.settings import KafkaSettings
from neardup_platform.wire.codec import Log, Message
from neardup_platform.wire.topics import CONTROL

log = logging.getLogger(__name__)

# Read ahead of the worker: a second's worth at the sustained rate. The client itself holds one fetch more.
_MOST_MESSAGES = 4_000
_MOST_BYTES = 32 << 20
# Handed out at once: more would make one commit of a flood of large messages too large.
_LOT_BYTES = 8 << 20
# Between two polls that brought something, so that a trickle is not read message by message: the client takes as long
# for a fetch of one message as for one of many, and what it takes the worker waits for; see docs/speed.md.
_LINGER_S = 0.01
_POLL_MS = 100
# What one poll may bring. Compressed, a fetch of a few megabytes can be gigabytes of messages.
_MOST_POLLED = 500
_FIRST_POLLED = 16
_POLLED_BYTES = 4 << 20
# How often the ends of the partitions are asked for, and offsets told to Kafka.
_ENDS_EVERY_S = 1.0
_TELL_EVERY_S = 3.0
_CLOSE_S = 3.0


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class KafkaSource:
    """All partitions of both embedding topics and of the control topic.

    Args:
        store_id: of the store whose positions these are; names the consumer group.
        positions: next offset by (topic, partition); a partition not in it is read from its beginning.
        logs: of which log each position is; where it is not, the log is read from its beginning.
        now_ms: the clock of the join, for `read_until`.

    Raises:
        ServerUnavailable: no broker answers.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        store_id: str,
        positions: Mapping[Partition, int],
        logs: Mapping[Partition, Log] | None = None,
        now_ms: Callable[[], int] = _wall_ms,
    ) -> None:
        self._ahead = ReadAhead(positions, _MOST_MESSAGES, _MOST_BYTES, logs)
        self._member = Member(settings, store_id, self._ahead, now_ms)
        self._committed = dict(positions)
        self._seen: frozenset[TopicPartition] = frozenset()
        self._partitions: frozenset[Partition] = frozenset()
        self._stop = threading.Event()
        self._reader = threading.Thread(target=self._read, name="kafka-reader", daemon=True)
        self._reader.start()

    def poll(self, max_messages: int, wait_ms: int) -> list[Message]:
        """What has arrived, in offset order within a partition; empty when nothing has within `wait_ms`.

        Asked for no messages at all, it only waits. Never waits for the broker.

        Raises:
            HomeInUse: another process has joined for the same store.
            SetupError: the broker refuses us, or a codec is not installed.
        """
        return self._ahead.take(max_messages, _LOT_BYTES, wait_ms / 1_000)

    def hold_control(self, held: bool) -> None:
        """Hand out no more of the control topic for now, or go on."""
        self._ahead.hold_commands = held

    def hold_embeddings(self, held: bool) -> None:
        """Hand out no more embeddings for now, or go on; the partitions are paused, and the membership stays."""
        self._ahead.hold_embeddings = held

    def committed(self, positions: Mapping[Partition, int]) -> None:
        """Note positions that the store holds now; Kafka is told of them within seconds, for its lag tools."""
        self._committed = {**self._committed, **positions}

    @property
    def partitions(self) -> frozenset[Partition]:
        """Every partition that embeddings come from, whether it is read or not."""
        if self._seen is not self._member.watch.partitions:
            self._seen = self._member.watch.partitions
            self._partitions = frozenset((p.topic, p.partition) for p in self._seen if p.topic != CONTROL)
        return self._partitions

    def restarted(self) -> dict[Partition, Log]:
        """Partitions that are read from their beginning again, for the store to know; each once."""
        return self._ahead.restarted()

    def read_until(self) -> dict[Partition, int]:
        """Partitions of which everything that was there at a moment has been handed out, with that moment.

        Each is returned once per asking for the ends, about every second. While the broker is away nobody knows the
        ends, and nothing is returned.

        Returns:
            Milliseconds of the join's clock by partition.
        """
        return self._member.ends.reached(self._next_to_hand_out)

    def lag(self) -> int:
        """Embeddings in the log that have not been handed out yet, as of the last fetch.

        Those in partitions that are not read, and in transactions that are open, are among them.
        """
        return self._member.ends.behind(self._next_to_hand_out)

    def figures(self) -> dict[str, float]:
        """Gauges and counters of reading, those of the process."""
        member, watch = self._member, self._member.watch
        return {
            "lag": self.lag(),
            "partitions_unread": len(member.unread),
            "transactions_open": member.transactions_open,
            "messages_lost": watch.messages_lost,
            "messages_truncated": watch.messages_truncated,
            "topics_recreated": watch.topics_recreated,
        }

    @property
    def messages_lost(self) -> int:
        """Messages that retention deleted before they were read."""
        return self._member.watch.messages_lost

    def _next_to_hand_out(self, partition: Partition) -> int:
        offset = self._ahead.next_to_hand_out(partition)
        return self._member.watch.begin_of(partition) if offset is None else offset

    def close(self) -> None:
        """Leave without a word, so that the next process of this store takes the place."""
        self._stop.set()
        self._reader.join(_CLOSE_S)
        self._member.close()

    def _read(self) -> None:
        try:
            self._read_on()
        except NeardupError as error:
            self._ahead.fail(error)
        except Exception as error:
            log.exception("reading from Kafka failed")
            self._ahead.fail(InvariantBroken(f"reading from Kafka failed: {type(error).__name__}: {error}"))

    def _read_on(self) -> None:
        most = _FIRST_POLLED
        ends_at = tell_at = time.monotonic()
        while not self._stop.is_set():
            messages = self._member.poll(_POLL_MS, most)
            if messages:
                self._ahead.put(messages)
                most = _most_next(most, max(message.size for message in messages))
            now = time.monotonic()
            if now >= ends_at:
                ends_at = now + _ENDS_EVERY_S * (1 if self._member.ask_for_ends() else 5)
            if now >= tell_at:
                tell_at = now + _TELL_EVERY_S
                self._member.tell(self._committed)
            if messages:
                self._stop.wait(_LINGER_S)


def _most_next(most: int, largest: int) -> int:
    """Messages to poll for next, so many that they would not be too large if all were as large as the largest now."""
    return max(1, min(_MOST_POLLED, 4 * most, _POLLED_BYTES // max(1, largest)))


def wait_for_source(
    settings: KafkaSettings,
    store_id: str,
    positions: Mapping[Partition, int],
    timeout_s: float,
    waiting: Callable[[], None],
    logs: Mapping[Partition, Log] | None = None,
    now_ms: Callable[[], int] = _wall_ms,
) -> KafkaSource:
    """A `KafkaSource`, retried with back-off while the broker is away, which is said once.

    Args:
        waiting: called before each attempt, every few seconds.

    Raises:
        ServerUnavailable: still away after `timeout_s`.
    """
    deadline, pause_s, said = time.monotonic() + timeout_s, 0.25, False
    while True:
        waiting()
        try:
            return KafkaSource(settings, store_id, positions, logs, now_ms)
        except ServerUnavailable as error:
            if time.monotonic() > deadline:
                raise
            if not said:
                log.warning("%s; trying again for %.0f s", error, timeout_s)
                said = True
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 2.0)
