"""A message of the control topic that is finished, or a stage of a command, as the commit takes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from neardup_platform.errors import BadMessage
from neardup_platform.pipeline import Decided
from neardup_platform.stream.control.outcome import Done, Outcome, ReplaceStore, Stage
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import Log, Message

_FATES = {True: "commands_accepted", False: "commands_refused"}

Partition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Handled:
    """What came of a message.

    Attributes:
        result: None for a stage, and for a message that is no command.
        outcome: of an accepted command or a stage; None for what was refused, repeated or no command.
        repeated: whether the command was handled before; `result` is the first result.
        dead: why the message is no command.
        position: the next offset of the control topic that the commit writes; None: the one after this message.
        read_to: by partition, the offset up to which commands have been read and their age checked.
        ahead_of: the id of the long command that this one was handled ahead of, if it is the first such.
        command: of a result that is not repeated.
    """

    message: Message
    result: pb.CommandResult | None = None
    outcome: Outcome | None = None
    repeated: bool = False
    dead: BadMessage | None = None
    position: int | None = None
    read_to: Mapping[Partition, int] = field(default_factory=dict)
    ahead_of: str = ""
    command: pb.Command | None = None

    @property
    def is_stage(self) -> bool:
        """Whether more of the command follows."""
        return isinstance(self.outcome, Stage)

    @property
    def positions(self) -> dict[Partition, int]:
        """The next position of the control topic that the commit writes; none for a stage."""
        if self.is_stage:
            return {}
        message = self.message
        position = message.offset + 1 if self.position is None else self.position
        return {(message.topic, message.partition): position}

    @property
    def logs(self) -> dict[Partition, Log]:
        """The log that each position belongs to."""
        return dict.fromkeys(self.positions, self.message.log)

    @property
    def counts(self) -> dict[str, int]:
        """By how much counters of the store grow."""
        match self.outcome:
            case Stage(counts=counts):
                return dict(counts)
            case Done(counts=counts):
                return {**counts, self._fate: 1}
            case ReplaceStore() | None:
                return {self._fate: 1}

    @property
    def decided(self) -> Sequence[Decided]:
        """New images that a stage decided."""
        return self.outcome.decided if isinstance(self.outcome, Stage) else ()

    def with_decided(self, decided: Sequence[Decided]) -> "Handled":
        """The same stage, after its `images` are decided."""
        outcome = self.outcome
        return replace(self, outcome=replace(outcome, decided=decided)) if isinstance(outcome, Stage) else self

    @property
    def _fate(self) -> str:
        if self.result is None:
            return "commands_garbage"
        return "commands_repeated" if self.repeated else _FATES[self.result.accepted]
