"""The worker's end of the process that builds a load (build_process.py).

The process reports how far it is, and then answers. What it has built is in the folder of the load, where the same
order finds it again.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from neardup_platform.bootstrap.bulk_files import BulkFiles
from neardup_platform.bootstrap.load_order import LoadOrder, Reservation, Scanned
from neardup_platform.errors import PermanentError, RetryableError
from neardup_platform.progress import Progress, no_progress
from neardup_platform.settings import Settings
from neardup_platform.stream.child_process import ChildProcess


@dataclass(frozen=True, slots=True)
class Scan:
    """The first call."""

    order: LoadOrder
    settings: str


@dataclass(frozen=True, slots=True)
class Build:
    """The second call."""

    reservation: Reservation


@dataclass(frozen=True, slots=True)
class Advanced:
    """A report before the answer, as of `Progress`."""

    doing: str
    done: int
    of: int


@dataclass(frozen=True, slots=True)
class Failure:
    """An answer: the call failed.

    Attributes:
        temporary: whether the same call may succeed later.
    """

    reason: str
    temporary: bool = False


Call = Scan | Build
Answer = Scanned | BulkFiles | Failure
Answered = TypeVar("Answered", Scanned, BulkFiles)


class RemoteBuild:
    """A load that is built in a process of low priority.

    Args:
        settings: the process reads its own, which must be the same.
        log: receives the output of the process.
        progress: called by the thread that waits for an answer, about once a second.
    """

    def __init__(self, settings: Settings, log: Path, progress: Progress = no_progress) -> None:
        self._settings, self._progress = settings.fingerprint(), progress
        self._process = ChildProcess("neardup_platform.stream.loading", log, "builds the load")

    def scan(self, order: LoadOrder) -> Scanned:
        """Read ids, heads and times, and divide the rows; a repeated order returns what the first one returned.

        Raises:
            PermanentError: rows are bad, or a file is not what the data set says.
            RetryableError: S3 does not answer, or the process has ended.
        """
        return self._call(Scan(order, self._settings), Scanned)

    def build(self, reservation: Reservation) -> BulkFiles:
        """Write all files of the load, and its rows of the vector files; what is complete is not written again.

        Raises:
            PermanentError: vectors are bad, or the disk is full.
            RetryableError: S3 does not answer, or the process has ended.
        """
        return self._call(Build(reservation), BulkFiles)

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def interrupt(self) -> None:
        """End the process at once, from any thread: the call that waits raises `RetryableError`."""
        self._process.interrupt()

    def _call(self, call: Call, expected: type[Answered]) -> Answered:
        answer = self._process.call(call, self._report)
        if isinstance(answer, Failure):
            raise (RetryableError if answer.temporary else PermanentError)(answer.reason)
        if not isinstance(answer, expected):
            raise PermanentError(f"the process that builds the load answered {type(answer).__name__}")
        return answer

    def _report(self, answer: Answer | Advanced) -> bool:
        if isinstance(answer, Advanced):
            self._progress(answer.doing, answer.done, answer.of)
        return isinstance(answer, Advanced)
