"""Reads the two embedding topics and the control topic from positions that the store holds, not Kafka.

The store's offsets change in the same atomic write as the decisions made from them, so they are the truth;
a consumer group's would only ever be a second opinion.
"""

import logging
import time
from collections.abc import Mapping

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from neardup_platform.errors import ServerUnavailable, SetupError
from neardup_platform.messages.codec import Message
from neardup_platform.messages.kafka_topics import CONTROL, EMBEDDINGS, connection
from neardup_platform.settings import KafkaSettings

log = logging.getLogger(__name__)


class KafkaSource:
    """All partitions of both embedding topics and of the control topic, in one reader that never commits to Kafka.

    Args:
        positions: next offset by (topic, partition); a partition not in it is read from its beginning.

    Raises:
        ServerUnavailable: no broker answers.
        SetupError: a position lies beyond the end of its partition, so this is not the log that the store
            was made from.
    """

    def __init__(self, settings: KafkaSettings, positions: Mapping[tuple[str, int], int]) -> None:
        try:
            self._consumer = KafkaConsumer(
                **connection(settings),
                client_id="neardup-worker",
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                # Many small fetches cost this Python client more than a few milliseconds of waiting.
                fetch_min_bytes=1,
                fetch_max_wait_ms=100,
                reconnect_backoff_max_ms=2_000,
                metrics_enabled=False,
            )
            self._all = self._assign()
            self._partitions = [partition for partition in self._all if partition.topic != CONTROL]
            self._control = [partition for partition in self._all if partition.topic == CONTROL]
            self._control_held = False
            self._heard_at = dict.fromkeys(self._all, time.monotonic())
            self.messages_lost = self._seek(positions)
        except KafkaError as error:
            raise ServerUnavailable(f"reading from Kafka at {settings.bootstrap} failed: {error}") from error

    def _assign(self) -> list[TopicPartition]:
        topics = (*EMBEDDINGS.values(), CONTROL)
        partitions = [
            TopicPartition(topic, number)
            for topic in topics
            for number in sorted(self._consumer.partitions_for_topic(topic) or ())
        ]
        if len({p.topic for p in partitions}) < len(topics):
            raise ServerUnavailable(f"topics {sorted(topics)} are not all there: run `neardup up`")
        self._consumer.assign(partitions)
        return partitions

    def _seek(self, positions: Mapping[tuple[str, int], int]) -> int:
        """Go to the stored positions and return how many messages retention deleted before they were read."""
        begins = self._consumer.beginning_offsets(self._all)
        ends = self._consumer.end_offsets(self._all)
        lost = 0
        for partition in self._all:
            begin, end = begins[partition], ends[partition]
            position = positions.get((partition.topic, partition.partition), begin)
            if position > end:
                raise SetupError(
                    f"{partition.topic}[{partition.partition}] ends at {end}, the store has read up to {position}: "
                    "this is another log; point NEARDUP_HOME or NEARDUP_KAFKA_BOOTSTRAP at the matching pair"
                )
            if position < begin:
                lost += begin - position
                log.error(
                    "%s[%d]: %d messages were deleted by retention before they were read, from offset %d on",
                    partition.topic,
                    partition.partition,
                    begin - position,
                    position,
                )
            self._consumer.seek(partition, max(position, begin))
        return lost

    def poll(self, max_messages: int, wait_ms: int) -> list[Message]:
        """What has arrived, in offset order within a partition; empty when nothing has within `wait_ms`.

        Asked for no messages at all, it only waits.
        """
        if not max_messages:
            time.sleep(wait_ms / 1_000)
            return []
        polled = self._consumer.poll(timeout_ms=wait_ms, max_records=max_messages)
        self._heard_at |= dict.fromkeys(polled, time.monotonic())
        return [
            Message(r.topic, r.partition, r.offset, r.key or b"", r.value or b"")
            for records in polled.values()
            for r in records
        ]

    def hold_control(self, held: bool) -> None:
        """Read no more of the control topic for now, or go on; what was not handed out is fetched again."""
        if held != self._control_held:
            (self._consumer.pause if held else self._consumer.resume)(*self._control)
            self._control_held = held

    @property
    def partitions(self) -> list[tuple[str, int]]:
        """Every partition that embeddings come from."""
        return [(p.topic, p.partition) for p in self._partitions]

    def idle(self, idle_s: float) -> list[tuple[str, int]]:
        """The partitions read to their end and silent for `idle_s`."""
        silent_since = time.monotonic() - idle_s
        return [
            (p.topic, p.partition)
            for p in self._partitions
            if self._heard_at[p] < silent_since and self._behind(p) == 0
        ]

    def lag(self) -> int:
        """Embeddings in the log that have not been polled yet, as of the last fetch."""
        return sum(self._behind(partition) or 0 for partition in self._partitions)

    def _behind(self, partition: TopicPartition) -> int | None:
        """Messages not yet polled of one partition; None before its first fetch."""
        end = self._consumer.highwater(partition)
        return None if end is None else max(0, end - self._consumer.position(partition))

    def close(self) -> None:
        """Leave; nothing is committed."""
        self._consumer.close()


def wait_for_source(settings: KafkaSettings, positions: Mapping[tuple[str, int], int], timeout_s: float) -> KafkaSource:
    """A `KafkaSource`, retried with back-off while the broker is away, which is said once.

    Raises:
        ServerUnavailable: still away after `timeout_s`.
    """
    deadline, pause_s, said = time.monotonic() + timeout_s, 0.25, False
    while True:
        try:
            return KafkaSource(settings, positions)
        except ServerUnavailable as error:
            if time.monotonic() > deadline:
                raise
            if not said:
                log.warning("%s; trying again for %.0f s", error, timeout_s)
                said = True
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 5.0)
