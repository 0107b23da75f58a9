"""The worker's end of the process that makes the files of the next store, or another index (files_process.py)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from neardup_platform.progress import Progress
from neardup_platform.settings import Settings
from neardup_platform.stream.cells.make_index import IndexOrder
from neardup_platform.stream.child_process import LOW_PRIORITY, ChildProcess
from neardup_platform.stream.next_files.make_files import FilesOrder


class FilesMaker(Protocol):
    """Makes the files of one order; see `RemoteFiles`."""

    def make(self, order: FilesOrder | IndexOrder, progress: Progress) -> None:
        """Make the files; `progress` is called by the same thread."""

    def close(self) -> None:
        """Release what it uses."""

    def interrupt(self) -> None:
        """Make the call in progress fail soon; called from another thread."""


@dataclass(frozen=True, slots=True)
class Made:
    """The answer: the files are complete."""


class RemoteFiles:
    """Makes files in a process of low priority, but not the lowest: images are decided by the state to leave meanwhile.

    Args:
        settings: the process reads its own, which must be the same.
        log: receives the output of the process.
    """

    def __init__(self, settings: Settings, log: Path) -> None:
        self._process = ChildProcess(
            "neardup_platform.stream.next_files.files_process", settings, log, "makes the next files", LOW_PRIORITY
        )

    def make(self, order: FilesOrder | IndexOrder, progress: Progress) -> None:
        """Make the files.

        Raises:
            PermanentError: it failed; the text says why.
            RetryableError: the disk is full, or the process has ended.
        """
        self._process.call(order, Made, progress)

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def interrupt(self) -> None:
        """End the process at once, from any thread."""
        self._process.interrupt()
