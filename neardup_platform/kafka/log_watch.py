"""Compares the logs that exist with what was read: which partitions, which log, and where reading continues.

**Kafka's metadata and offsets → watch** → member (member.py), which has the client seek to what `ahead` says then. A
topic may be deleted and recreated, get more partitions, lose messages to retention, or lose its end with a broker's
disk.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from kafka import TopicPartition
from kafka.structs import OffsetAndMetadata

from neardup_platform.kafka.group_client import (
    TOPICS,
    existing_partitions,
    high_watermarks,
    log_id,
    oldest_offsets,
    refresh_metadata,
)
from neardup_platform.kafka.read_ahead import Partition, ReadAhead
from neardup_platform.kafka.topics import uneven
from neardup_platform.wire.topics import EMBEDDINGS

log = logging.getLogger(__name__)


class LogWatch:
    """Keeps `ahead` up to date on where reading continues, and counts what happened to the logs.

    Attributes:
        partitions: every partition, including the last known ones of missing topics.
        messages_lost: messages deleted by retention before they were read.
        messages_truncated: messages that were read and that the broker has lost since.
        topics_recreated: topics that turned out to be another log than the one read before.
    """

    def __init__(self, ahead: ReadAhead) -> None:
        self._ahead = ahead
        self._partitions: dict[str, frozenset[TopicPartition]] = {}
        self._begins: dict[TopicPartition, int] = {}
        self._missing: set[str] = set()
        self._uneven = ""
        self.partitions: frozenset[TopicPartition] = frozenset()
        self.messages_lost = self.messages_truncated = self.topics_recreated = 0

    @property
    def existing(self) -> frozenset[TopicPartition]:
        """Every partition that exists now."""
        return frozenset(partition for partition in self.partitions if partition.topic not in self._missing)

    def begin_of(self, partition: Partition) -> int:
        """Return the oldest offset of a partition when it was first seen."""
        return self._begins.get(TopicPartition(*partition), 0)

    def next_offset(self, partition: TopicPartition) -> int:
        """Return the offset at which reading continues."""
        offset = self._ahead.next_to_read(partition)
        return self.begin_of(partition) if offset is None else offset

    def update(self, consumer: Any) -> set[TopicPartition]:
        """Take over a client's newest metadata. Return the partitions whose reading starts over."""
        replaced: set[TopicPartition] = set()
        for topic in TOPICS:
            found = frozenset(existing_partitions(consumer, topic))
            if not found:
                self._note_missing(topic)
                continue
            self._missing.discard(topic)
            if self._partitions.get(topic) != found:
                self._partitions[topic] = found
                self.partitions = frozenset().union(*self._partitions.values())
            if known := log_id(consumer, topic):
                replaced.update(self._identify(topic, found, known))
        counts = {topic: len(self._partitions.get(topic, ())) for topic in EMBEDDINGS.values()}
        if (text := uneven(counts)) != self._uneven:
            self._uneven = text
            log.warning("%s", text or "the embedding topics have equal numbers of partitions again")
        return replaced

    def _note_missing(self, topic: str) -> None:
        if topic not in self._missing:
            self._missing.add(topic)
            log.error("topic %s no longer exists: `neardup doctor` creates it, and then it is read", topic)

    def _identify(self, topic: str, partitions: Iterable[TopicPartition], known: str) -> list[TopicPartition]:
        before = {self._ahead.log_of(partition).id for partition in partitions} - {"", known}
        replaced = [TopicPartition(*partition) for partition in self._ahead.identify(partitions, known)]
        if replaced:
            self.topics_recreated += 1
            for partition in replaced:
                self._begins.pop(partition, None)
            log.error(
                "%s was deleted and recreated (its id was %s, now it is %s): it is read from its beginning, and known "
                "messages count as repeated; if this is the wrong Kafka, pause the worker and set "
                "NEARDUP_KAFKA_BOOTSTRAP",
                topic,
                " or ".join(sorted(before)),
                known,
            )
        return replaced

    def ask_begins(self, consumer: Any) -> None:
        """Ask where new partitions begin.

        Raises:
            KafkaError: the broker does not answer.
        """
        if new := [partition for partition in self.existing if partition not in self._begins]:
            self._begins |= oldest_offsets(consumer, new)

    def check(self, consumer: Any, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Compare positions with the log, skip what retention has deleted, and return the ends.

        Raises:
            KafkaError: the broker does not answer.
        """
        wanted = list(partitions)
        begins = oldest_offsets(consumer, wanted)
        self._begins |= begins
        ends = high_watermarks(consumer, wanted)
        for partition in wanted:
            begin, position = begins[partition], self._ahead.next_to_read(partition)
            if position is None:
                self._ahead.begin_at(partition, begin)
            elif position > ends[partition] and self._ahead.log_of(partition).epoch < 0:
                # If its epoch is known, the client finds out where the log was cut off.
                self._truncate(partition, position, None)
            elif position < begin:
                self._skip_deleted(partition, position, begin)
        return ends

    def _skip_deleted(self, partition: TopicPartition, position: int, begin: int) -> None:
        self.messages_lost += begin - position
        log.error(
            "%s: %d messages were deleted by retention before they were read, from offset %d on",
            name(partition),
            begin - position,
            position,
        )
        self._ahead.begin_at(partition, begin)

    def truncated(self, consumer: Any, kept: Mapping[TopicPartition, OffsetAndMetadata | None]) -> None:
        """Go back after a broker lost the ends of logs, or replaced logs.

        Args:
            kept: what is left of each log; None if that is unknown.

        Raises:
            KafkaError: the broker does not answer.
        """
        for partition, position in self._of_same_log(consumer, kept):
            self._truncate(partition, position, kept[partition])

    def out_of_range(self, consumer: Any, partitions: Iterable[TopicPartition]) -> None:
        """Move positions that are outside their log: retention, a lost end, or a replaced log.

        Raises:
            KafkaError: the broker does not answer.
        """
        same = dict(self._of_same_log(consumer, partitions))
        for partition, end in self.check(consumer, same).items():
            if (self._ahead.next_to_read(partition) or 0) > end:
                self._truncate(partition, same[partition], None)

    def _of_same_log(self, consumer: Any, partitions: Iterable[TopicPartition]) -> list[tuple[TopicPartition, int]]:
        """Return the partitions whose log was not replaced, with their positions."""
        refresh_metadata(consumer)
        replaced = self.update(consumer)
        positions = ((partition, self._ahead.next_to_read(partition)) for partition in partitions)
        return [(p, position) for p, position in positions if position is not None and p not in replaced]

    def _truncate(self, partition: TopicPartition, position: int, kept: OffsetAndMetadata | None) -> None:
        """Read what was written in place of the lost end, or the whole log if it is unknown where that begins."""
        if kept is None:
            self._ahead.go_back(partition, None)
            where = "its beginning, because it is unknown where the log was cut off"
        else:
            self.messages_truncated += position - kept.offset
            self._ahead.go_back(partition, kept.offset, kept.leader_epoch)
            where = f"offset {kept.offset}, {position - kept.offset} messages before"
        log.error(
            "%s was read up to %d, and its broker has lost the end of it (an unclean leader election, or a disk): "
            "reading continues at %s; known messages count as repeated",
            name(partition),
            position,
            where,
        )


def name(partition: TopicPartition) -> str:
    """Return `topic[partition]`."""
    return f"{partition.topic}[{partition.partition}]"
