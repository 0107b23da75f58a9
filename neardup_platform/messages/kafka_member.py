"""One static member of a store's consumer group: joining, rebalances, pausing, and what fetching can fail with.

**Kafka → member** → reader thread (kafka_source.py). Used by one thread at a time; the client calls the rebalance
listener from a thread of its own while `poll` waits for it.
"""

import logging
import time
from collections.abc import Iterable, Mapping

from kafka import ConsumerRebalanceListener, TopicPartition
from kafka.errors import (
    FencedInstanceIdError,
    GroupAuthorizationFailedError,
    KafkaError,
    OffsetOutOfRangeError,
    RetriableError,
    TopicAuthorizationFailedError,
    UnsupportedCodecError,
)
from kafka.structs import OffsetAndMetadata

from neardup_platform.errors import HomeInUse, NeardupError, ServerUnavailable, SetupError
from neardup_platform.messages.codec import Message
from neardup_platform.messages.kafka_codecs import missing_codec
from neardup_platform.messages.kafka_damage import unreadable
from neardup_platform.messages.kafka_group_client import (
    ASK_MS,
    GROUP_PREFIX,
    TOPICS,
    find_partitions,
    finish_joining,
    give_back_parked,
    high_watermarks,
    open_client,
)
from neardup_platform.messages.kafka_topics import CONTROL
from neardup_platform.messages.partition_ends import PartitionEnds
from neardup_platform.messages.read_ahead import Partition, ReadAhead
from neardup_platform.messages.replays import replays_of
from neardup_platform.settings import KafkaSettings

log = logging.getLogger(__name__)

_CLOSE_MS = 2_000
# In a row, for a reason that is no damaged batch; then the process ends and its supervisor waits and starts another.
_MOST_FAILURES = 5
# So long nothing may come although something lies there and the broker answers; a rebalance takes less.
_STALLED_S = 20.0


class Member(ConsumerRebalanceListener):  # type: ignore[misc]
    """Reads from where `ahead` says, and gives what it read as messages.

    Raises:
        ServerUnavailable: no broker answers, or topics are missing.
        SetupError: a position lies beyond the end of its partition.
    """

    def __init__(self, settings: KafkaSettings, store_id: str, ahead: ReadAhead) -> None:
        self._settings = settings
        self._group = GROUP_PREFIX + store_id
        self._ahead = ahead
        self._paused: tuple[bool, bool] | None = None
        self._owned: set[TopicPartition] = set()
        self._begins: dict[TopicPartition, int] = {}
        self._failed = 0
        self._read_at = time.monotonic()
        self.messages_lost = 0
        self.transactions_open = 0
        self.ends = PartitionEnds()
        try:
            self._consumer = open_client(self._settings, self._group)
        except KafkaError as error:
            raise ServerUnavailable(f"no Kafka broker at {settings.bootstrap}: {error}") from error
        try:
            self.found = find_partitions(self._consumer)
            self._check(self.found)
            self._consumer.subscribe(topics=TOPICS, listener=self)
        except KafkaError as error:
            self.close()
            raise ServerUnavailable(f"reading from Kafka at {settings.bootstrap} failed: {error}") from error
        except NeardupError:
            self.close()
            raise

    def _check(self, partitions: Iterable[TopicPartition]) -> None:
        """Compare positions with the log, and begin at what is left where retention deleted some."""
        wanted = list(partitions)
        asked_ms = _now_ms()
        begins = self._consumer.beginning_offsets(wanted, timeout_ms=ASK_MS)
        self._begins |= begins
        ends = high_watermarks(self._consumer, wanted)
        for partition in wanted:
            begin, end = begins[partition], ends[partition]
            position = self._ahead.next_to_read(partition)
            if position is not None and position > end:
                raise SetupError(
                    f"{_name(partition)} ends at {end}, the store has read up to {position}: "
                    "this is another log; point NEARDUP_HOME or NEARDUP_KAFKA_BOOTSTRAP at the matching pair"
                )
            if position is not None and position < begin:
                self.messages_lost += begin - position
                log.error(
                    "%s: %d messages were deleted by retention before they were read, from offset %d on",
                    _name(partition),
                    begin - position,
                    position,
                )
            self._ahead.begin_at(partition, max(begin, position or 0))
        self.ends.told({p: end for p, end in ends.items() if p.topic != CONTROL}, asked_ms)

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
            self._check(error.args[0])
            for partition in error.args[0]:
                self._consumer.seek(partition, self._ahead.next_to_read(partition))
            return []
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
        for partition in polled:
            self.ends.seen(partition, self._consumer.highwater(partition) or 0)
        return [
            Message(r.topic, r.partition, r.offset, r.key or b"", r.value or b"", replays_of(r.headers))
            for records in polled.values()
            for r in records
        ]

    def _step_over(self, error: Exception) -> list[Message]:
        """Find the batch that cannot be read, and go on behind it with a client that knows nothing of it."""
        self._failed += 1
        log.warning("reading from Kafka failed, looking for a damaged batch: %s: %s", type(error).__name__, error)
        if self._failed > _MOST_FAILURES:
            raise ServerUnavailable(f"reading from Kafka at {self._settings.bootstrap} fails: {error}") from error
        positions = {p: self._ahead.next_to_read(p) or 0 for p in self._owned}
        damaged = unreadable(self._settings, positions)
        self._open_anew()
        return damaged

    def _open_anew(self) -> None:
        """Go on with a client that knows nothing of what befell this one."""
        self.close()
        try:
            self._consumer = open_client(self._settings, self._group)
        except KafkaError as away:
            raise ServerUnavailable(f"no Kafka broker at {self._settings.bootstrap}: {away}") from away
        self._owned, self._paused = set(), None
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
        gone = self._owned - assigned
        if gone:
            log.warning("partitions went to another member of %s: %s", self._group, ", ".join(map(_name, gone)))
            self._ahead.lost(gone)
        for partition in assigned:
            offset = self._ahead.next_to_read(partition)
            if offset is None:
                log.info("%s is new, it is read from its beginning", _name(partition))
                self._consumer.seek_to_beginning(partition)
            else:
                self._consumer.seek(partition, offset)
        self._owned, self._paused = set(assigned), None

    def ask_for_ends(self) -> bool:
        """Ask how far the partitions go; returns whether the broker answered."""
        asked_ms = _now_ms()
        try:
            ends = high_watermarks(self._consumer, list(self._owned)) if self._owned else {}
            for partition in ends:
                self._skip_markers(partition)
            short = [p for p, end in ends.items() if (self._ahead.next_to_read(p) or 0) < end]
            committed = self._consumer.end_offsets(short, timeout_ms=ASK_MS) if short else {}
        except KafkaError:
            return False
        embeddings = {p: end for p, end in ends.items() if p.topic != CONTROL}
        if embeddings:
            self.ends.told(embeddings, asked_ms)
        self.transactions_open = sum(end < ends[p] for p, end in committed.items())
        self._watch(committed)
        return True

    def _watch(self, ends: Mapping[TopicPartition, int]) -> None:
        """Replace a client that hands out nothing of what lies there, for whatever reason.

        Args:
            ends: up to where the partitions can be read, which is where the oldest open transaction begins.
        """
        paused = dict(zip((False, True), self._paused or (True, True), strict=True))
        unread = [
            p for p, end in ends.items() if not paused[p.topic == CONTROL] and (self._ahead.next_to_read(p) or 0) < end
        ]
        if not unread:
            self._read_at = time.monotonic()
        elif time.monotonic() - self._read_at > _STALLED_S:
            log.warning(
                "nothing was read for %.0f s of %s: opening the connection anew; the client knew of %s",
                _STALLED_S,
                ", ".join(map(_name, unread)),
                {_name(p): self._consumer.position(p, timeout_ms=0) for p in self._consumer.assignment()},
            )
            self._open_anew()

    def _skip_markers(self, partition: TopicPartition) -> None:
        """A transaction leaves markers in the log that no one is ever handed."""
        position = self._consumer.position(partition, timeout_ms=0)
        if position is not None and position > (self._ahead.next_to_read(partition) or 0):
            self._ahead.begin_at(partition, position)

    def tell(self, committed: Mapping[Partition, int]) -> None:
        """Tell Kafka what the store holds: for lag tools, and because this is how we hear of another in our place."""
        offsets = {p: OffsetAndMetadata(committed.get(p, self._begins.get(p, 0)), "", -1) for p in self._owned}
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


def _name(partition: TopicPartition) -> str:
    return f"{partition.topic}[{partition.partition}]"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
