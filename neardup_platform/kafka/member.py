"""One static member of a store's consumer group: joining, rebalances, pausing, and what fetching can fail with.

**Kafka → member** → reader thread (kafka_source.py). Used by one thread at a time; the client calls the rebalance
listener from a thread of its own while `poll` waits for it.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from kafka import ConsumerRebalanceListener, TopicPartition
from kafka.errors import (
    FencedInstanceIdError,
    GroupAuthorizationFailedError,
    KafkaError,
    LogTruncationError,
    OffsetOutOfRangeError,
    RetriableError,
    TopicAuthorizationFailedError,
    UnsupportedCodecError,
)
from kafka.structs import OffsetAndMetadata

from neardup_platform.errors import HomeInUse, NeardupError, ServerUnavailable, SetupError
from neardup_platform.kafka.codecs import missing_codec
from neardup_platform.kafka.damage import unreadable
from neardup_platform.kafka.group_client import (
    ASK_MS,
    GROUP_PREFIX,
    TOPICS,
    existing_partitions,
    find_partitions,
    finish_joining,
    give_back_parked,
    high_watermarks,
    open_client,
    position_of,
    rejoin,
    seek,
)
from neardup_platform.kafka.log_identity import LogWatch, name
from neardup_platform.kafka.partition_ends import PartitionEnds
from neardup_platform.kafka.read_ahead import Partition, ReadAhead
from neardup_platform.settings import KafkaSettings
from neardup_platform.wire.codec import Log, Message
from neardup_platform.wire.replays import replays_of
from neardup_platform.wire.topics import CONTROL

log = logging.getLogger(__name__)

_CLOSE_MS = 2_000
# In a row, for a reason that is no damaged batch; then the process ends and its supervisor waits and starts another.
_MOST_FAILURES = 5
# So long nothing may come although something lies there and the broker answers; a rebalance takes less.
_STALLED_S = 20.0
# Between two attempts to be given the partitions that exist, the first and the longest: someone else may have joined.
_REJOIN_S = 5.0
_REJOIN_MOST_S = 60.0


class Member(ConsumerRebalanceListener):  # type: ignore[misc]
    """Reads from where `ahead` says, and gives what it read as messages.

    Args:
        now_ms: the clock of the join.

    Attributes:
        transactions_open: partitions with messages that are neither committed nor aborted yet.

    Raises:
        ServerUnavailable: no broker answers, or topics are missing.
    """

    def __init__(self, settings: KafkaSettings, store_id: str, ahead: ReadAhead, now_ms: Callable[[], int]) -> None:
        self._settings = settings
        self._group = GROUP_PREFIX + store_id
        self._ahead = ahead
        self._now_ms = now_ms
        self._paused: tuple[bool, bool] | None = None
        self._owned: set[TopicPartition] = set()
        self._failed = 0
        self._read_at = time.monotonic()
        self._rejoin_at, self._rejoin_s = self._read_at + _REJOIN_S, _REJOIN_S
        self.transactions_open = 0
        # Until the client stands at the beginning of a log that turned out to be another, its place says nothing.
        self._placing = threading.Lock()
        self.watch = LogWatch(ahead)
        self.ends = PartitionEnds()
        try:
            self._consumer = open_client(self._settings, self._group)
        except KafkaError as error:
            raise ServerUnavailable(f"no Kafka broker at {settings.bootstrap}: {error}") from error
        try:
            found = find_partitions(self._consumer)
            self.watch.look(self._consumer)
            asked_ms = now_ms()
            self._told(self.watch.check(self._consumer, found), asked_ms)
            self._consumer.subscribe(topics=TOPICS, listener=self)
        except KafkaError as error:
            self.close()
            raise ServerUnavailable(f"reading from Kafka at {settings.bootstrap} failed: {error}") from error
        except NeardupError:
            self.close()
            raise

    def _told(self, ends: Mapping[TopicPartition, int], asked_ms: int) -> None:
        if embeddings := {partition: end for partition, end in ends.items() if partition.topic != CONTROL}:
            self.ends.told(embeddings, asked_ms)

    def _go_on(self, partitions: Iterable[TopicPartition]) -> None:
        """Have the client read on from where `ahead` says."""
        for partition in self._owned.intersection(partitions):
            offset = self._ahead.next_to_read(partition)
            if offset is None:
                self._consumer.seek_to_beginning(partition)
            else:
                seek(self._consumer, partition, offset, self._ahead.log_of(partition).epoch)

    def poll(self, wait_ms: int, most: int) -> list[Message]:
        """What has arrived within `wait_ms`, in offset order within a partition.

        Raises:
            HomeInUse: another process has joined under our name.
            SetupError: the broker refuses us, or a batch has a codec that is not installed here.
            ServerUnavailable: the client gave up on the broker.
        """
        self._pause()
        finish_joining(self._consumer)
        give_back_parked(self._consumer)
        try:
            polled = self._consumer.poll(timeout_ms=wait_ms, max_records=most)
        except OffsetOutOfRangeError as error:
            return self._recover(error.args[0], self.watch.out_of_range)
        except LogTruncationError as error:
            return self._recover(error.divergent_offsets, self.watch.truncated)
        except FencedInstanceIdError as error:
            raise HomeInUse(
                f"another worker has joined {self._group} for the same store, maybe from a copy of this NEARDUP_HOME: "
                "this one ends; stop one of them and delete the copy"
            ) from error
        except (GroupAuthorizationFailedError, TopicAuthorizationFailedError) as error:
            raise SetupError(
                f"Kafka at {self._settings.bootstrap} refuses {error}: allow this user to read {', '.join(TOPICS)} "
                f"and the consumer group {self._group}"
            ) from error
        except UnsupportedCodecError as error:
            raise missing_codec(f"one of {', '.join(TOPICS)}", error) from error
        except RetriableError as error:
            log.warning("reading from Kafka failed, trying again: %s", error)
            time.sleep(wait_ms / 1_000)
            return []
        except Exception as error:  # noqa: BLE001 -- the client's decompressors have no error in common
            # Whatever a damaged batch makes the client fail with.
            return self._step_over(error)
        self._failed = 0
        if polled:
            self._read_at = time.monotonic()
        ids = {partition.topic: self._ahead.log_of(partition).id for partition in polled}
        for partition in polled:
            self.ends.seen(partition, self._consumer.highwater(partition) or 0)
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
        """Go on where there is something to be read again."""
        try:
            find_out(self._consumer, positions)
        except KafkaError as error:
            # The client still stands where it stood: the next poll fails the same way.
            log.warning("asking Kafka for its offsets failed, trying again: %s", error)
        else:
            self._go_on(self._owned)
        return []

    def _step_over(self, error: Exception) -> list[Message]:
        """Find the batch that cannot be read, and go on behind it with a client that knows nothing of it."""
        self._failed += 1
        log.warning("reading from Kafka failed, looking for a damaged batch: %s: %s", type(error).__name__, error)
        if self._failed > _MOST_FAILURES:
            raise ServerUnavailable(f"reading from Kafka at {self._settings.bootstrap} fails: {error}") from error
        positions = {p: self._ahead.next_to_read(p) or 0 for p in self._owned}
        damaged = unreadable(self._settings, positions)
        self._open_anew()
        return [replace(m, log=self._ahead.log_of(TopicPartition(m.topic, m.partition))) for m in damaged]

    def _open_anew(self) -> None:
        """Go on with a client that knows nothing of what befell this one."""
        self.close()
        try:
            self._consumer = open_client(self._settings, self._group)
        except KafkaError as away:
            raise ServerUnavailable(f"no Kafka broker at {self._settings.bootstrap}: {away}") from away
        self._owned, self._paused = set(), None
        self._rejoin_at = time.monotonic() + _REJOIN_S
        self._consumer.subscribe(topics=TOPICS, listener=self)
        self._read_at = time.monotonic()

    def _pause(self) -> None:
        """Stop fetching what there is no room for, and go on once there is."""
        ahead = self._ahead
        embeddings, _ = self._paused or (False, False)
        wanted = (ahead.half_full if embeddings else ahead.full), ahead.commands_full
        if wanted == self._paused or not self._owned:
            return
        for paused, of_control in ((wanted[0], False), (wanted[1], True)):
            mine = [p for p in self._owned if (p.topic == CONTROL) is of_control]
            (self._consumer.pause if paused else self._consumer.resume)(*mine)
        self._paused = wanted

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Nothing to be done: positions are in the store, and what comes back goes on where reading was."""

    def on_partitions_lost(self, lost: set[TopicPartition]) -> None:
        """Membership was lost; what becomes of the partitions is known with the next assignment."""

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Go on where reading was; forget what was read and not handed out of a partition that went elsewhere."""
        with self._placing:
            self._place(assigned)

    def _place(self, assigned: set[TopicPartition]) -> None:
        self.watch.look(self._consumer)
        # What was read of a topic that is gone cannot be read again.
        gone = {p for p in self._owned - assigned if p in existing_partitions(self._consumer, p.topic)}
        if gone:
            log.warning("partitions went to another member of %s: %s", self._group, ", ".join(map(name, gone)))
            self._ahead.lost(gone)
        for partition in assigned - self._owned:
            if self._ahead.next_to_read(partition) is None:
                log.info("%s is new, it is read from its beginning", name(partition))
        self._owned, self._paused = set(assigned), None
        self._go_on(assigned)

    def ask_for_ends(self) -> bool:
        """Ask how far the partitions go; returns whether the broker answered."""
        with self._placing:
            self._go_on(self.watch.look(self._consumer))
        self._claim()
        asked_ms = self._now_ms()
        try:
            self.watch.ask_begins(self._consumer)
            there = list(self.watch.there)
            ends = high_watermarks(self._consumer, there) if there else {}
            with self._placing:
                for partition in self._owned & ends.keys():
                    self._skip_markers(partition)
            short = [p for p in self._owned & ends.keys() if self.watch.next_offset(p) < ends[p]]
            committed = self._consumer.end_offsets(short, timeout_ms=ASK_MS) if short else {}
        except KafkaError:
            return False
        self._told(ends, asked_ms)
        self.transactions_open = sum(end < ends[p] for p, end in committed.items())
        self._watch(committed)
        return True

    @property
    def unread(self) -> frozenset[TopicPartition]:
        """Partitions that exist and are not read."""
        return self.watch.partitions - self._owned

    def _claim(self) -> None:
        """Be given the partitions that exist, if the group has assigned others; the first time the client joins."""
        now = time.monotonic()
        if not self._owned or self._owned == self.watch.there:
            self._rejoin_at, self._rejoin_s = now + _REJOIN_S, _REJOIN_S
        elif now >= self._rejoin_at:
            self._rejoin_s = min(2 * self._rejoin_s, _REJOIN_MOST_S)
            self._rejoin_at = now + self._rejoin_s
            log.info("rejoining %s: %s", self._group, ", ".join(map(name, sorted(self.unread))) or "partitions went")
            rejoin(self._consumer)

    def _watch(self, ends: Mapping[TopicPartition, int]) -> None:
        """Replace a client that hands out nothing of what lies there, for whatever reason.

        Args:
            ends: up to where the partitions can be read, which is where the oldest open transaction begins.
        """
        paused = dict(zip((False, True), self._paused or (True, True), strict=True))
        unread = [p for p, end in ends.items() if not paused[p.topic == CONTROL] and self.watch.next_offset(p) < end]
        if not unread:
            self._read_at = time.monotonic()
        elif time.monotonic() - self._read_at > _STALLED_S:
            log.warning(
                "nothing was read for %.0f s of %s: opening the connection anew; the client knew of %s",
                _STALLED_S,
                ", ".join(map(name, unread)),
                {name(p): self._consumer.position(p, timeout_ms=0) for p in self._consumer.assignment()},
            )
            self._open_anew()

    def _skip_markers(self, partition: TopicPartition) -> None:
        """A transaction leaves markers in the log that no one is ever handed."""
        position = position_of(self._consumer, partition)
        if position is not None and position.offset > self.watch.next_offset(partition):
            self._ahead.begin_at(partition, position.offset, position.leader_epoch)

    def tell(self, committed: Mapping[Partition, int]) -> None:
        """Tell Kafka what the store holds: for lag tools, and because this is how we hear of another in our place."""
        offsets = {p: OffsetAndMetadata(committed.get(p, self.watch.begin_of(p)), "", -1) for p in self._owned}
        try:
            if offsets:
                self._consumer.commit_async(offsets, callback=_ignore)
        except FencedInstanceIdError:
            # The next poll says so.
            return

    def close(self) -> None:
        """Close the connections. A static member does not leave: its place is kept for the next process."""
        self._consumer.close(autocommit=False, timeout_ms=_CLOSE_MS)


def _ignore(_offsets: object, _answer: object) -> None:
    """Telling Kafka is repeated anyway; a failure needs no line in the log."""
