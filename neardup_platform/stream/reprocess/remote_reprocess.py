"""The worker's end of the process that decides again (reprocess_process.py).

It is a process of its own, of low priority, so that the stream keeps its pace. What it has decided is in the store
under construction.
"""

from dataclasses import dataclass
from pathlib import Path

from neardup_platform.settings import Settings
from neardup_platform.stream.child_process import ChildProcess
from neardup_platform.stream.reprocess.reprocessing import Reprocessed


@dataclass(frozen=True, slots=True)
class Open:
    """The first call; see `RemoteReprocessing.open`."""

    checkpoint: Path
    target: Path
    scratch: Path
    command_id: str
    rules: str
    classifier: str


@dataclass(frozen=True, slots=True)
class Round:
    """Decide what a checkpoint has more than the previous one."""

    checkpoint: Path
    first_sequence: int


@dataclass(frozen=True, slots=True)
class Finalise:
    """The last call."""

    checkpoint: Path


class RemoteReprocessing:
    """The worker's end.

    Args:
        settings: the process reads its own, which must be the same.
        log: receives the output of the process.
    """

    def __init__(self, settings: Settings, log: Path) -> None:
        self._process = ChildProcess(
            "neardup_platform.stream.reprocess.reprocess_process", settings, log, "decides again"
        )

    def open(
        self, checkpoint: Path, target: Path, scratch: Path, command_id: str, rules: str, classifier: str
    ) -> Reprocessed:
        """Start, or continue what an interrupted attempt by the same rules has done.

        Args:
            checkpoint: of the active store.
            target: folder of the store under construction.
            scratch: folder for its vectors and terms.
            rules: names what decides.
            classifier: version of the classifier.

        Raises:
            NeardupError: it failed; the text says why.
        """
        return self._process.call(Open(checkpoint, target, scratch, command_id, rules, classifier), Reprocessed)

    def round(self, checkpoint: Path, first_sequence: int) -> Reprocessed:
        """See `Reprocessing.round`."""
        return self._process.call(Round(checkpoint, first_sequence), Reprocessed)

    def finalise(self, checkpoint: Path) -> Reprocessed:
        """See `Reprocessing.finalise`; the process has ended afterwards."""
        found = self._process.call(Finalise(checkpoint), Reprocessed)
        self.close()
        return found

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def interrupt(self) -> None:
        """See `Rounds.interrupt`."""
        self._process.interrupt()
