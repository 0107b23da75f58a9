"""Messages between the thread that reads Kafka and the worker's loop; bounded, and never waiting for the broker.

Kafka → reader thread → **read ahead** → worker's loop. What lies here has not been handed out: where reading goes on
after a partition came back is told apart from where the worker is. Pure of IO; safe between two threads.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from neardup_platform.errors import NeardupError
from neardup_platform.wire.codec import UNKNOWN_LOG, Log, Message
from neardup_platform.wire.topics import EMBEDDINGS

Partition = tuple[str, int]


class ReadAhead:
    """A queue for each kind of embedding and one for commands, in the order of reading.

    Args:
        positions: next offset to be handed out, by partition.
        most_messages: from so many embeddings on it is full; a reader may overshoot by what one poll gives it.
        most_bytes: the same in bytes of keys and values; twice that with commands.
        logs: of which log each position is, as far as it is known.
    """

    def __init__(
        self,
        positions: Mapping[Partition, int],
        most_messages: int,
        most_bytes: int,
        logs: Mapping[Partition, Log] | None = None,
    ) -> None:
        self._most_messages, self._most_bytes = most_messages, most_bytes
        self._embeddings = {topic: _Queue() for topic in EMBEDDINGS.values()}
        self._commands = _Queue()
        self._handed_out = dict(positions)
        self._read = dict(positions)
        self._logs = {partition: log for partition, log in (logs or {}).items() if partition in positions}
        self._lying: Counter[Partition] = Counter()
        # Of those that lie here first: read before reading went back, so their offsets say nothing of where it is now.
        self._of_before: Counter[Partition] = Counter()
        self._restarted: dict[Partition, Log] = {}
        self._failure: NeardupError | None = None
        self._arrived = threading.Condition()
        self.hold_commands = self.hold_embeddings = False

    def put(self, messages: Sequence[Message]) -> None:
        """Add what was read, in offset order within each partition."""
        with self._arrived:
            for message in messages:
                self._embeddings.get(message.topic, self._commands).append(message)
                partition = message.topic, message.partition
                # In this order, for `next_to_hand_out` looks without the lock.
                self._lying[partition] += 1
                self._read[partition] = message.offset + 1
                self._logs[partition] = message.log
            self._arrived.notify()

    def fail(self, error: NeardupError) -> None:
        """Reading has ended; every `take` from now on raises this."""
        with self._arrived:
            self._failure = error
            self._arrived.notify()

    def take(self, most: int, most_bytes: int, wait_s: float) -> list[Message]:
        """Hand out messages: commands, then at most `most` embeddings of `most_bytes` in all, unless they are held.

        Of both kinds alike while there are, so that of a backlog, which comes partition by partition, few halves have
        to wait for the other. The first of each is handed out whatever its size. Where there is nothing it waits up to
        `wait_s`; asked for nothing it waits for all of that.

        Raises:
            NeardupError: what reading failed with.
        """
        with self._arrived:
            if most <= 0:
                self._arrived.wait_for(lambda: self._failure is not None, wait_s)
                self._raise()
                return []
            if not self._ready():
                self._arrived.wait_for(self._ready, wait_s)
            self._raise()
            taken = [] if self.hold_commands else self._commands.take(most, most_bytes)
            taken += [] if self.hold_embeddings else self._take_embeddings(most, most_bytes)
            for message in taken:
                self._note_taken((message.topic, message.partition), message.offset)
            return taken

    def _note_taken(self, partition: Partition, offset: int) -> None:
        if self._of_before[partition]:
            self._of_before[partition] -= 1
            return
        self._handed_out[partition] = offset + 1
        self._lying[partition] -= 1

    def lost(self, partitions: Iterable[Partition]) -> None:
        """Partitions went to someone else: forget what was not handed out of them; it is read again if they return.

        What was read before reading went back is kept: nobody can read that again.
        """
        gone = set(partitions)
        with self._arrived:
            kept = Counter(self._of_before)

            def goes(message: Message) -> bool:
                partition = message.topic, message.partition
                if partition in gone and kept[partition]:
                    kept[partition] -= 1
                    return False
                return partition in gone

            for queue in (*self._embeddings.values(), self._commands):
                queue.drop(goes)
            for partition in gone & set(self._read):
                del self._lying[partition], self._read[partition]
                if partition in self._handed_out:
                    self._read[partition] = self._handed_out[partition]

    def begin_at(self, partition: Partition, offset: int, epoch: int = -1) -> None:
        """Reading of a partition begins, or goes on, at an offset: there is nothing to hand out before it.

        Args:
            epoch: leader epoch of what lies before the offset.
        """
        with self._arrived:
            if not self._lying[partition]:
                self._handed_out[partition] = offset
            self._read[partition] = offset
            self._logs[partition] = Log(self._logs.get(partition, UNKNOWN_LOG).id, epoch)

    def identify(self, partitions: Iterable[Partition], log_id: str) -> list[Partition]:
        """Partitions turn out to be of a log; of those that were read from another one reading begins again.

        What was read of the other log and lies here is still handed out.

        Returns:
            Those that were read from another log.
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
        """The end of a log is gone: reading goes on at an offset that was passed, or from the beginning (None)."""
        with self._arrived:
            log = Log(self._logs.get(partition, UNKNOWN_LOG).id, epoch)
            self._go_back(partition, offset, log)
            if offset is None:
                self._restarted[partition] = log

    def _go_back(self, partition: Partition, offset: int | None, log: Log) -> None:
        self._of_before[partition] += self._lying.pop(partition, 0)
        self._logs[partition] = log
        for places in (self._read, self._handed_out):
            if offset is None:
                places.pop(partition, None)
            else:
                places[partition] = offset

    def restarted(self) -> dict[Partition, Log]:
        """Partitions read from their beginning again, once all that was read earlier is handed out; each once."""
        with self._arrived:
            found = {partition: log for partition, log in self._restarted.items() if not self._of_before[partition]}
            for partition in found:
                del self._restarted[partition]
            return found

    def next_to_read(self, partition: Partition) -> int | None:
        """Offset at which reading goes on; None for a partition never read."""
        with self._arrived:
            return self._read.get(partition)

    def log_of(self, partition: Partition) -> Log:
        """The log that a partition was read from, and the epoch of what was read last."""
        with self._arrived:
            return self._logs.get(partition, UNKNOWN_LOG)

    def next_to_hand_out(self, partition: Partition) -> int | None:
        """Offset that the worker gets next; None for a partition never read."""
        # With nothing lying here, also what no one is ever handed is done with: markers, and what was deleted.
        return (self._handed_out if self._lying[partition] else self._read).get(partition)

    @property
    def full(self) -> bool:
        """Whether reading embeddings had better stop."""
        return self.hold_embeddings or self._beyond(self._most_messages, self._most_bytes)

    @property
    def half_full(self) -> bool:
        """Whether reading had better not begin again."""
        return self.hold_embeddings or self._beyond(self._most_messages // 2, self._most_bytes // 2)

    @property
    def commands_full(self) -> bool:
        """Whether reading commands had better stop."""
        return self._commands.beyond(self._most_messages, self._most_bytes)

    def _ready(self) -> bool:
        embeddings = any(self._embeddings.values()) and not self.hold_embeddings
        return bool(self._failure or embeddings or (self._commands and not self.hold_commands))

    def _take_embeddings(self, most: int, most_bytes: int) -> list[Message]:
        queues = sorted(self._embeddings.values(), key=len)
        taken: list[Message] = []
        for left, queue in zip(range(len(queues), 0, -1), queues, strict=True):
            size = sum(message.size for message in taken)
            taken += queue.take((most - len(taken)) // left, (most_bytes - size) // left)
        return taken

    def _beyond(self, most: int, most_bytes: int) -> bool:
        queues = self._embeddings.values()
        return sum(map(len, queues)) >= most or sum(queue.size for queue in queues) >= most_bytes

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure


class _Queue:
    """Messages in order; `size` are the bytes of their keys and values."""

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self.size = 0

    def __len__(self) -> int:
        return len(self._messages)

    def append(self, message: Message) -> None:
        self._messages.append(message)
        self.size += message.size

    def take(self, most: int, most_bytes: int) -> list[Message]:
        taken: list[Message] = []
        size = 0
        while self._messages and len(taken) < most:
            size += self._messages[0].size
            if taken and size > most_bytes:
                break
            taken.append(self._messages.popleft())
            self.size -= taken[-1].size
        return taken

    def drop(self, condition: Callable[[Message], bool]) -> None:
        kept = [message for message in self._messages if not condition(message)]
        self._messages, self.size = deque(kept), sum(message.size for message in kept)

    def beyond(self, most: int, most_bytes: int) -> bool:
        return len(self._messages) >= most or self.size >= most_bytes
