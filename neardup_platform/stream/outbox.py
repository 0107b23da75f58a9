"""Publishes the outbox beside the worker's loop: in order, only what is durable, with little in memory.

Commit → outbox in the store → **sync, read, send** → Kafka → acknowledged: leaves with the next commit. One thread does
all of it, at the start and later. It syncs the store's log once for all commits since the last sync, reads as many
messages from the store as may be in flight, and collects the acknowledgements. So a long outbox, after an outage of the
broker or a command that changed millions of images, takes neither memory nor the loop's time.

Nothing is sent to Kafka before it survives a power cut (`worker.durability`). Otherwise Kafka could keep a decision
that the store has lost and makes again in another way.
"""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neardup_platform.clock import Clock
from neardup_platform.errors import NeardupError, RetryableError
from neardup_platform.kafka.publisher import KafkaPublisher, Outgoing, Settled
from neardup_platform.store.writer import Store
from neardup_platform.stream.crash_points import CrashPoint, CrashPoints

# Sent to the producer and not acknowledged; this is what is in memory.
MOST_IN_FLIGHT = 4_000
MOST_IN_FLIGHT_BYTES = 32 << 20
# How far the outbox may grow above its shortest length since the start before no more embeddings are read.
MOST_BEHIND = 20_000
MOST_BEHIND_BYTES = 128 << 20
# Between two checks of what is in flight.
_POLL_S = 0.02
_CLOSE_S = 10.0
# Syncs whose delay is kept.
_WINDOW = 1_000
# Settled messages that the loop has not taken, above which nothing more is sent.
_MOST_SETTLED = 20_000


@dataclass(slots=True)
class Backlog:
    """How far the outbox has grown above its shortest length. Pure.

    The length itself does not count: a long outbox that is getting shorter does not hold back the stream.
    """

    most: int
    behind: int = 0
    least: int = 0

    def add(self, amount: int) -> None:
        """Add messages, or bytes; a negative amount has left."""
        self.behind += amount
        self.least = min(self.least, self.behind)

    @property
    def full(self) -> bool:
        """Whether nothing more should be added for now."""
        return self.behind - self.least >= self.most


class Outbox:
    """The outbox of the active store.

    Args:
        publisher: from now on used by the thread of this object alone.
        first: number of the first message that is not acknowledged.
        last: number of the last message committed.
        sync: whether a message must survive a power cut before it is sent.
    """

    def __init__(
        self,
        store: Store,
        publisher: KafkaPublisher,
        first: int,
        last: int,
        crash: CrashPoints,
        clock: Clock,
        *,
        sync: bool,
    ) -> None:
        self._store, self._publisher, self._crash, self._sync = store, publisher, crash, sync
        self._clock = clock
        self._next = first
        self._committed = last
        # What an earlier process committed may be in RocksDB's log only.
        self._durable = first - 1
        self._unsynced_since = self._clock.monotonic_s()
        self._delays_ms: deque[float] = deque(maxlen=_WINDOW)
        self._settled: deque[Settled] = deque()
        self._messages, self._bytes = Backlog(MOST_BEHIND), Backlog(MOST_BEHIND_BYTES)
        self._failure: NeardupError | None = None
        self._closing = False
        self._work = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)

    def start(self) -> None:
        """Send the first messages, and continue in a thread.

        Raises:
            SetupError: the disk is full or broken.
        """
        self._round()
        self._thread.start()

    def committed(self, messages: Sequence[Outgoing]) -> None:
        """Record what a commit has put into the outbox."""
        if not messages:
            return
        self._messages.add(len(messages))
        self._bytes.add(sum(message.size for message in messages))
        with self._work:
            if self._durable >= self._committed:
                self._unsynced_since = self._clock.monotonic_s()
            self._committed = messages[-1].number
            self._work.notify()

    def settled(self) -> list[Settled]:
        """Messages acknowledged or refused since the last call, in order; they leave the outbox with the next commit.

        Raises:
            NeardupError: publishing has ended with this error.
        """
        if self._failure is not None:
            raise self._failure
        done = [self._settled.popleft() for _ in range(len(self._settled))]
        if done:
            self._messages.add(-len(done))
            self._bytes.add(-sum(each.size for each in done))
        return done

    @property
    def full(self) -> bool:
        """Whether too much waits to be published for anything more to be decided."""
        return self._messages.full or self._bytes.full

    def has_room(self) -> bool:
        """Whether more may be decided."""
        return not self.full

    def metrics(self) -> dict[str, float]:
        """Messages not acknowledged, and how long the commits of recent syncs waited for the disk."""
        unsent = self._committed - self._next + 1
        waiting = {"outbox": float(unsent + self._publisher.in_flight + len(self._settled))}
        if not self._delays_ms:
            return waiting
        p50, p99 = np.percentile(list(self._delays_ms), [50, 99])
        return {**waiting, "durable_p50_ms": round(float(p50), 1), "durable_p99_ms": round(float(p99), 1)}

    def close(self) -> None:
        """Send what is committed, as far as there is room, and stop."""
        with self._work:
            self._closing = True
            self._work.notify()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        try:
            closing = False
            while not closing:
                with self._work:
                    idle = not self._publisher.in_flight and self._next > self._durable
                    self._work.wait_for(self._has_work, None if idle else _POLL_S)
                    closing = self._closing
                self._round()
        except NeardupError as error:
            self._failure = error
        except Exception as error:  # noqa: BLE001 -- whatever ends publishing must end the loop
            self._failure = RetryableError(f"publishing ended with {type(error).__name__}: {error}")

    def _has_work(self) -> bool:
        return self._closing or self._durable < self._committed or (self._next <= self._durable and self._may_send())

    def _may_send(self) -> bool:
        return (
            self._publisher.in_flight < MOST_IN_FLIGHT
            and self._publisher.in_flight_bytes < MOST_IN_FLIGHT_BYTES
            and len(self._settled) < _MOST_SETTLED
        )

    def _round(self) -> None:
        self._make_durable()
        self._settled.extend(self._publisher.settled())
        self._send()

    def _make_durable(self) -> None:
        with self._work:
            committed, since = self._committed, self._unsynced_since
        if self._durable >= committed:
            return
        if self._sync:
            self._store.sync()
            self._crash.passing(CrashPoint.SYNCED)
            self._delays_ms.append(1_000 * (self._clock.monotonic_s() - since))
        with self._work:
            self._durable = committed
            self._unsynced_since = self._clock.monotonic_s()

    def _send(self) -> None:
        """Send as much of the store's outbox as there is room for."""
        if self._next > self._durable or not self._may_send():
            return
        for number, entry in self._store.outbox.pending(self._next):
            if number > self._durable or not self._may_send():
                break
            self._publisher.send(Outgoing(number, entry.topic, entry.key, entry.value))
            self._next = number + 1
        else:
            self._next = self._durable + 1
        self._crash.passing(CrashPoint.PUBLISHED)
