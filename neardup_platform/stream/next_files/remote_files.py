"""The worker's end of the process that makes the files of the next store (files_process.py)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from neardup_platform.errors import PermanentError
from neardup_platform.progress import Progress
from neardup_platform.settings import Settings
from neardup_platform.stream.child_process import ChildProcess
from neardup_platform.stream.next_files.make_files import FilesOrder


class FilesMaker(Protocol):
    """Makes the files of one order; see `RemoteFiles`."""

    def make(self, order: FilesOrder, progress: Progress) -> None:
        """Make the files; `progress` is called by the same thread."""

    def close(self) -> None:
        """Release what it uses."""

    def interrupt(self) -> None:
        """Make the call in progress fail soon; called from another thread."""


@dataclass(frozen=True, slots=True)
class Make:
    """The call."""

    order: FilesOrder
    settings: str


@dataclass(frozen=True, slots=True)
class Advanced:
    """A report before the answer, as of `Progress`."""

    doing: str
    done: int
    of: int


@dataclass(frozen=True, slots=True)
class Made:
    """The answer.

    Attributes:
        failed: why the files could not be made; empty if they are.
    """

    failed: str = ""


class RemoteFiles:
    """Makes files in a process of low priority.

    Args:
        settings: the process reads its own, which must be the same.
        log: receives the output of the process.
    """

    def __init__(self, settings: Settings, log: Path) -> None:
        self._settings = settings.fingerprint()
        self._process = ChildProcess("neardup_platform.stream.next_files", log, "makes the files of the next store")

    def make(self, order: FilesOrder, progress: Progress) -> None:
        """Make the files.

        Raises:
            PermanentError: it failed; the text says why.
            RetryableError: the process has ended.
        """

        def is_report(answer: Advanced | Made) -> bool:
            if isinstance(answer, Advanced):
                progress(answer.doing, answer.done, answer.of)
            return isinstance(answer, Advanced)

        answer: Made = self._process.call(Make(order, self._settings), is_report)
        if answer.failed:
            raise PermanentError(answer.failed)

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def interrupt(self) -> None:
        """End the process at once, from any thread."""
        self._process.interrupt()
