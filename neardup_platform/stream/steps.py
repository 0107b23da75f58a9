"""What one commit of the worker writes: a step of one of three kinds (commit.py).

A stream step decides the images that messages from the log complete. A command step finishes a control command or one
of its stages. A redecide step changes where stored images are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from neardup_platform.errors import BadMessage
from neardup_platform.join.pairing import UnpairedEmbedding
from neardup_platform.pipeline import Decided
from neardup_platform.records import Decision
from neardup_platform.stream.control.handled import Handled
from neardup_platform.stream.control.outcome import Write, write_nothing
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import Log, Message

Partition = tuple[str, int]
WaitingEmbedding = UnpairedEmbedding[Message]


@dataclass(slots=True)
class Consumed:
    """What a step consumes from the embedding topics, and what that does to the join.

    Attributes:
        positions: next offset by partition.
        logs: the log that each position belongs to.
        gone: partitions that no longer exist; the store keeps nothing of them.
        entered: unpaired embeddings that entered the waiting room.
        left: those that left it, paired, replaced or given up.
        dead: messages that end here, each with its reason.
        clocks: event-time clocks that moved, Unix milliseconds by partition.
        report: on the embeddings that expired or were evicted; None where there are none.
        counts: messages by fate: received, repeated, expired, evicted, dead_lettered, …
    """

    positions: dict[Partition, int] = field(default_factory=dict)
    logs: dict[Partition, Log] = field(default_factory=dict)
    gone: set[Partition] = field(default_factory=set)
    entered: list[WaitingEmbedding] = field(default_factory=list)
    left: list[WaitingEmbedding] = field(default_factory=list)
    dead: list[tuple[Message, BadMessage]] = field(default_factory=list)
    clocks: dict[Partition, int] = field(default_factory=dict)
    report: pb.ExpiryReport | None = None
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, message: Message) -> None:
        """Move the position of its partition past a message."""
        partition = message.topic, message.partition
        self.positions[partition] = message.offset + 1
        self.logs[partition] = message.log

    def count(self, fate: str) -> None:
        """Count one message by its fate."""
        self.counts[fate] = self.counts.get(fate, 0) + 1

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write: no message, no expiry, no clock, no partition that is gone."""
        return not (self.positions or self.left or self.clocks or self.gone)


@dataclass(frozen=True, slots=True)
class StreamStep:
    """Messages from the log, and the images they complete, decided."""

    consumed: Consumed = field(default_factory=Consumed)
    decided: Sequence[Decided] = ()


@dataclass(frozen=True, slots=True)
class CommandStep:
    """A message of the control topic that is finished, or a stage of a command."""

    handled: Handled

    @property
    def decided(self) -> Sequence[Decided]:
        """New images that the stage decides."""
        return self.handled.decided


@dataclass(frozen=True, slots=True)
class RedecideStep:
    """Images decided again: after a newer embedding, an override or a repair, or in another store.

    Attributes:
        write: puts the change into the commit.
        decisions: made by the change, in order of sequence; they are published.
        decided: images that the store lacks, decided.
        consumed: the message that caused it.
    """

    write: Write = write_nothing
    decisions: Sequence[Decision] = ()
    decided: Sequence[Decided] = ()
    consumed: Consumed = field(default_factory=Consumed)


Step = StreamStep | CommandStep | RedecideStep
