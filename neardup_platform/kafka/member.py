"""A static member of a store's consumer group: fetches messages, recovers from what fetching fails with, finds ends.

**Kafka → member** → reader thread (source.py). Used by one thread at a time. assignment.py has the partitions and
rebalances.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from kafka import TopicPartition
from kafka.errors import (
    FencedInstanceIdError,
    KafkaError,
    LogTruncationError,
    OffsetOutOfRangeError,
    RetriableError,
)
from kafka.structs import OffsetAndMetadata

from neardup_platform.errors import NeardupError, ServerUnavailable
from neardup_platform.kafka import fetch_errors
from neardup_platform.kafka.assignment import Assignment
from neardup_platform.kafka.damage import unreadable
from neardup_platform.kafka.group_client import (
    GROUP_PREFIX,
    committed_ends,
    find_partitions,
    finish_joining,
    give_back_parked,
    high_watermarks,
    open_client,
    position_of,
)
from neardup_platform.kafka.log_watch import LogWatch, name
from neardup_platform.kafka.partition_ends import PartitionEnds
from neardup_platform.kafka.read_ahead import Partition, ReadAhead
from neardup_platform.settings import KafkaSettings
from neardup_platform.wire.codec import Log, Message
from neardup_platform.wire.replays import replays_of
from neardup_platform.wire.topics import CONTROL

log = logging.getLogger(__name__)

_CLOSE_MS = 2_000
# Failures in a row, other than damaged batches, before the process ends. Its supervisor waits and starts another.
_MAX_FAILURES = 5
# Messages exist and the broker answers, but nothing arrives for this long. A rebalance takes less.
_STALLED_S = 20.0


class Member:
    """Reads from where `ahead` says, and returns messages.

    Args:
        now_ms: the join's clock.

    Attributes:
        watch: the partitions that exist and what happened to their logs.
        ends: how far the partitions go.
        assignment: the partitions that are read.
        transactions_open: partitions with messages that are neither committed nor aborted.

    Raises:
        ServerUnavailable: no broker answers, or topics are missing.
    """

    def __init__(self, settings: KafkaSettings, store_id: str, ahead: ReadAhead, now_ms: Callable[[], int]) -> None:
        self._settings = settings
        self._group = GROUP_PREFIX + store_id
        self._ahead = ahead
        self._now_ms = now_ms
        self._failures = 0
        self._read_at = self._answered_at = time.monotonic()
        self.transactions_open = 0
        self.watch = LogWatch(ahead)
        self.ends = PartitionEnds()
        self.assignment = Assignment(self._group, self.watch, ahead)
        try:
            self._consumer = open_client(self._settings, self._group)
        except KafkaError as error:
            raise ServerUnavailable(f"no Kafka broker at {settings.bootstrap}: {error}") from error
        try:
            found = find_partitions(self._consumer)
            self.watch.update(self._consumer)
            asked_ms = now_ms()
            self._note_ends(self.watch.check(self._consumer, found), asked_ms)
            self.assignment.subscribe(self._consumer)
        except KafkaError as error:
            self.close()
            raise ServerUnavailable(f"reading from Kafka at {settings.bootstrap} failed: {error}") from error
        except NeardupError:
            self.close()
            raise

    def poll(self, wait_ms: int, most: int) -> list[Message]:
        """Return what arrives within `wait_ms`, in offset order within a partition.

        Raises:
            HomeInUse: another process has joined under our name.
            SetupError: the broker refuses access, or a batch has a codec that is not installed here.
            ServerUnavailable: reading failed too often in a row.
        """
        self.assignment.pause_full()
        finish_joining(self._consumer)
        give_back_parked(self._consumer)
        try:
            polled = self._consumer.poll(timeout_ms=wait_ms, max_records=most)
        except OffsetOutOfRangeError as error:
            return self._recover(error.args[0], self.watch.out_of_range)
        except LogTruncationError as error:
            return self._recover(error.divergent_offsets, self.watch.truncated)
        except fetch_errors.FATAL as error:
            raise fetch_errors.explain(error, self._settings, self._group) from error
        except RetriableError as error:
            log.warning("reading from Kafka failed, trying again: %s", error)
            time.sleep(wait_ms / 1_000)
            return []
        except Exception as error:  # noqa: BLE001 -- the client's decompressors have no error in common
            # A damaged batch makes the client fail in any way.
            return self._skip_damaged(error)
        self._failures = 0
        if polled:
            self._read_at = time.monotonic()
        for partition in polled:
            self.ends.seen(partition, self._consumer.highwater(partition) or 0)
        return self._messages(polled)

    def _messages(self, polled: Mapping[TopicPartition, Any]) -> list[Message]:
        ids = {partition.topic: self._ahead.log_of(partition).id for partition in polled}
        return [
            Message(
                r.topic,
                r.partition,
                r.offset,
                r.key or b"",
                r.value or b"",
                replays_of(r.headers),
                log=Log(ids[r.topic], r.leader_epoch),
            )
            for records in polled.values()
            for r in records
        ]

    def _recover(self, positions: Mapping[TopicPartition, Any], find_out: Callable[[Any, Any], None]) -> list[Message]:
        """Continue where there is something to read again."""
        try:
            find_out(self._consumer, positions)
        except KafkaError as error:
            # The client has not moved, so the next poll fails the same way.
            log.warning("asking Kafka for its offsets failed, trying again: %s", error)
        else:
            self.assignment.seek(self.assignment.owned)
        return []

    def _skip_damaged(self, error: Exception) -> list[Message]:
        """Find the batch that cannot be read, and continue behind it with a new client."""
        self._failures += 1
        log.warning("reading from Kafka failed, looking for a damaged batch: %s: %s", type(error).__name__, error)
        if self._failures > _MAX_FAILURES:
            raise ServerUnavailable(f"reading from Kafka at {self._settings.bootstrap} fails: {error}") from error
        positions = {p: self._ahead.next_to_read(p) or 0 for p in self.assignment.owned}
        damaged = unreadable(self._settings, positions)
        self._reopen()
        return [replace(m, log=self._ahead.log_of(TopicPartition(m.topic, m.partition))) for m in damaged]

    def _reopen(self) -> None:
        """Continue with a new client, without any state of the failed one."""
        self.close()
        try:
            self._consumer = open_client(self._settings, self._group)
        except KafkaError as away:
            raise ServerUnavailable(f"no Kafka broker at {self._settings.bootstrap}: {away}") from away
        self._start_with(self._consumer)

    def _start_with(self, consumer: Any) -> None:
        self._consumer = consumer
        self.assignment.subscribe(consumer)
        self._read_at = self._answered_at = time.monotonic()

    def ask_for_ends(self) -> bool:
        """Ask how far the partitions go. Return whether the broker answered."""
        self.assignment.seek_replaced()
        self.assignment.claim()
        asked_ms = self._now_ms()
        try:
            self.watch.ask_begins(self._consumer)
            existing = list(self.watch.existing)
            ends = high_watermarks(self._consumer, existing) if existing else {}
            with self.assignment.placing:
                for partition in self.assignment.owned & ends.keys():
                    self._skip_markers(partition)
            behind = [p for p in self.assignment.owned & ends.keys() if self.watch.next_offset(p) < ends[p]]
            committed = committed_ends(self._consumer, behind) if behind else {}
        except KafkaError:
            self._replace_unanswered()
            return False
        self._answered_at = time.monotonic()
        self._note_ends(ends, asked_ms)
        self.transactions_open = sum(end < ends[p] for p, end in committed.items())
        self._replace_stalled(committed)
        return True

    def _note_ends(self, ends: Mapping[TopicPartition, int], asked_ms: int) -> None:
        if embeddings := {partition: end for partition, end in ends.items() if partition.topic != CONTROL}:
            self.ends.update(embeddings, asked_ms)

    def _replace_stalled(self, ends: Mapping[TopicPartition, int]) -> None:
        """Recreate a client that delivers nothing despite unread messages, for whatever reason.

        Args:
            ends: how far the partitions can be read: up to the oldest open transaction.
        """
        unread = [p for p, end in ends.items() if not self.assignment.is_paused(p) and self.watch.next_offset(p) < end]
        if not unread:
            self._read_at = time.monotonic()
        elif time.monotonic() - self._read_at > _STALLED_S:
            log.warning(
                "nothing was read for %.0f s of %s: reopening the connection; the client knew of %s",
                _STALLED_S,
                ", ".join(map(name, unread)),
                {name(p): self._consumer.position(p, timeout_ms=0) for p in self._consumer.assignment()},
            )
            self._reopen()

    def _replace_unanswered(self) -> None:
        """Replace a client that no broker answers, unless no broker answers another one either."""
        if time.monotonic() - self._answered_at <= _STALLED_S:
            return
        self._answered_at = time.monotonic()
        try:
            consumer = open_client(self._settings, self._group)
        except KafkaError:
            return
        log.warning("Kafka answers, but not this client for %.0f s: reopening the connection", _STALLED_S)
        self.close()
        self._start_with(consumer)

    def _skip_markers(self, partition: TopicPartition) -> None:
        """Step over the markers that a transaction leaves in the log and that no consumer receives."""
        position = position_of(self._consumer, partition)
        if position is not None and position.offset > self.watch.next_offset(partition):
            self._ahead.begin_at(partition, position.offset, position.leader_epoch)

    def report(self, committed: Mapping[Partition, int]) -> None:
        """Commit the store's offsets to Kafka: for lag tools, and to notice another process in our place."""
        offsets = {
            p: OffsetAndMetadata(committed.get(p, self.watch.begin_of(p)), "", -1) for p in self.assignment.owned
        }
        try:
            if offsets:
                self._consumer.commit_async(offsets, callback=_ignore)
        except FencedInstanceIdError:
            # The next poll raises it.
            return

    def close(self) -> None:
        """Close the connections. A static member does not leave the group: its place waits for the next process."""
        self._consumer.close(autocommit=False, timeout_ms=_CLOSE_MS)


def _ignore(_offsets: object, _answer: object) -> None:
    """Ignore the result: offsets are committed again soon, so a failure is not worth a line in the log."""
