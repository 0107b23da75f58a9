"""A bounded buffer between the thread that reads Kafka and the worker's loop, which never waits for the broker.

Kafka → reader thread → **read ahead** → worker's loop. Buffered messages were read and not handed out, so the position
of the reader is kept apart from the position of the worker. No IO; safe between two threads.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from neardup_platform.errors import NeardupError
from neardup_platform.kafka.message_queue import MessageQueue
from neardup_platform.wire.codec import UNKNOWN_LOG, Log, Message
from neardup_platform.wire.topics import EMBEDDINGS

Partition = tuple[str, int]


class ReadAhead:
    """A queue for each kind of embedding and one for commands, in the order of reading.

    Args:
        positions: next offset to hand out, by partition.
        max_messages: it is full with this many embeddings; a reader may overshoot by one poll.
        max_bytes: the same in bytes of keys and values; twice that including commands.
        logs: the log that each position belongs to, where known.
    """

    def __init__(
        self,
        positions: Mapping[Partition, int],
        max_messages: int,
        max_bytes: int,
        logs: Mapping[Partition, Log] | None = None,
    ) -> None:
        self._max_messages, self._max_bytes = max_messages, max_bytes
        self._embeddings = {topic: MessageQueue() for topic in EMBEDDINGS.values()}
        self._commands = MessageQueue()
        self._handed_out = dict(positions)
        self._read = dict(positions)
        self._logs = {partition: log for partition, log in (logs or {}).items() if partition in positions}
        self._buffered: Counter[Partition] = Counter()
        # How many of the first buffered ones were read before reading went back, so that their offsets say nothing now.
        self._outdated: Counter[Partition] = Counter()
        self._restarted: dict[Partition, Log] = {}
        self._failure: NeardupError | None = None
        self._arrived = threading.Condition()
        self.hold_commands = self.hold_embeddings = False

    def put(self, messages: Sequence[Message]) -> None:
        """Add messages, in offset order within each partition."""
        with self._arrived:
            for message in messages:
                self._embeddings.get(message.topic, self._commands).append(message)
                partition = message.topic, message.partition
                # In this order, because `next_to_hand_out` reads without the lock.
                self._buffered[partition] += 1
                self._read[partition] = message.offset + 1
                self._logs[partition] = message.log
            self._arrived.notify()

    def fail(self, error: NeardupError) -> None:
        """End reading: every later `take` raises this error."""
        with self._arrived:
            self._failure = error
            self._arrived.notify()

    def take(self, most: int, max_bytes: int, wait_s: float) -> list[Message]:
        """Hand out messages: commands, then at most `most` embeddings of `max_bytes` in total, unless they are held.

        Embeddings of both kinds are taken evenly. A backlog arrives partition by partition, and this way few embeddings
        have to wait for their partner. The first message of each queue is handed out whatever its size. Without
        messages it waits up to `wait_s`; with `most` 0 it always waits that long.

        Raises:
            NeardupError: the error that reading ended with.
        """
        with self._arrived:
            if most <= 0:
                self._arrived.wait_for(lambda: self._failure is not None, wait_s)
                self._raise()
                return []
            if not self._ready():
                self._arrived.wait_for(self._ready, wait_s)
            self._raise()
            taken = [] if self.hold_commands else self._commands.take(most, max_bytes)
            taken += [] if self.hold_embeddings else self._take_embeddings(most, max_bytes)
            for message in taken:
                self._note_taken((message.topic, message.partition), message.offset)
            return taken

    def _note_taken(self, partition: Partition, offset: int) -> None:
        if self._outdated[partition]:
            self._outdated[partition] -= 1
            return
        self._handed_out[partition] = offset + 1
        self._buffered[partition] -= 1

    def lost(self, partitions: Iterable[Partition]) -> None:
        """Drop the buffered messages of partitions that went to another member. They are read again if these return.

        Messages that were read before reading went back are kept, because they cannot be read again.
        """
        gone = set(partitions)
        with self._arrived:
            kept = Counter(self._outdated)

            def is_dropped(message: Message) -> bool:
                partition = message.topic, message.partition
                if partition in gone and kept[partition]:
                    kept[partition] -= 1
                    return False
                return partition in gone

            for queue in (*self._embeddings.values(), self._commands):
                queue.drop(is_dropped)
            for partition in gone & set(self._read):
                del self._buffered[partition], self._read[partition]
                if partition in self._handed_out:
                    self._read[partition] = self._handed_out[partition]

    def begin_at(self, partition: Partition, offset: int, epoch: int = -1) -> None:
        """Begin or continue a partition at an offset. There is nothing to hand out before it.

        Args:
            epoch: leader epoch of the previous message.
        """
        with self._arrived:
            if not self._buffered[partition]:
                self._handed_out[partition] = offset
            self._read[partition] = offset
            self._logs[partition] = Log(self._logs.get(partition, UNKNOWN_LOG).id, epoch)

    def identify(self, partitions: Iterable[Partition], log_id: str) -> list[Partition]:
        """Set the log of partitions. Reading starts over in those that were read from another log.

        Buffered messages of the other log are still handed out.

        Returns:
            The partitions that were read from another log.
        """
        with self._arrived:
            replaced = []
            for partition in partitions:
                before = self._logs.get(partition, UNKNOWN_LOG)
                if before.id not in ("", log_id):
                    replaced.append(partition)
                    self._go_back(partition, None, Log(log_id))
                    self._restarted[partition] = Log(log_id)
                else:
                    self._logs[partition] = Log(log_id, before.epoch)
            return replaced

    def go_back(self, partition: Partition, offset: int | None, epoch: int = -1) -> None:
        """Go back after the end of a log was lost: to an earlier offset, or to the beginning (None)."""
        with self._arrived:
            log = Log(self._logs.get(partition, UNKNOWN_LOG).id, epoch)
            self._go_back(partition, offset, log)
            if offset is None:
                self._restarted[partition] = log

    def _go_back(self, partition: Partition, offset: int | None, log: Log) -> None:
        self._outdated[partition] += self._buffered.pop(partition, 0)
        self._logs[partition] = log
        for places in (self._read, self._handed_out):
            if offset is None:
                places.pop(partition, None)
            else:
                places[partition] = offset

    def restarted(self) -> dict[Partition, Log]:
        """Return the partitions whose reading started over, after all earlier messages were handed out. Each once."""
        with self._arrived:
            found = {partition: log for partition, log in self._restarted.items() if not self._outdated[partition]}
            for partition in found:
                del self._restarted[partition]
            return found

    def next_to_read(self, partition: Partition) -> int | None:
        """Return the offset at which reading continues; None for a partition never read."""
        with self._arrived:
            return self._read.get(partition)

    def log_of(self, partition: Partition) -> Log:
        """Return the log that a partition is read from, with the epoch of the last message."""
        with self._arrived:
            return self._logs.get(partition, UNKNOWN_LOG)

    def next_to_hand_out(self, partition: Partition) -> int | None:
        """Return the offset that the worker gets next; None for a partition never read."""
        # Without buffered messages this also passes offsets that nobody receives: markers, and deleted messages.
        return (self._handed_out if self._buffered[partition] else self._read).get(partition)

    @property
    def full(self) -> bool:
        """Whether to stop reading embeddings."""
        return self.hold_embeddings or self._beyond(self._max_messages, self._max_bytes)

    @property
    def half_full(self) -> bool:
        """Whether not to resume reading embeddings."""
        return self.hold_embeddings or self._beyond(self._max_messages // 2, self._max_bytes // 2)

    @property
    def commands_full(self) -> bool:
        """Whether to stop reading commands."""
        return self._commands.beyond(self._max_messages, self._max_bytes)

    def _ready(self) -> bool:
        embeddings = any(self._embeddings.values()) and not self.hold_embeddings
        return bool(self._failure or embeddings or (self._commands and not self.hold_commands))

    def _take_embeddings(self, most: int, max_bytes: int) -> list[Message]:
        queues = sorted(self._embeddings.values(), key=len)
        taken: list[Message] = []
        for left, queue in zip(range(len(queues), 0, -1), queues, strict=True):
            size = sum(message.size for message in taken)
            taken += queue.take((most - len(taken)) // left, (max_bytes - size) // left)
        return taken

    def _beyond(self, most: int, max_bytes: int) -> bool:
        queues = self._embeddings.values()
        return sum(map(len, queues)) >= most or sum(queue.size for queue in queues) >= max_bytes

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure
