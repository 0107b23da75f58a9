"""The worker's end of the process that builds a load (build_process.py).

What the process has built is in the folder of the load, where the same order finds it again.
"""

from dataclasses import dataclass
from pathlib import Path

from neardup_platform.bootstrap.bulk_files import BulkFiles
from neardup_platform.bootstrap.load_order import LoadOrder, Reservation, Scanned
from neardup_platform.progress import Progress, no_progress
from neardup_platform.settings import Settings
from neardup_platform.stream.child_process import ChildProcess


@dataclass(frozen=True, slots=True)
class Scan:
    """The first call."""

    order: LoadOrder


@dataclass(frozen=True, slots=True)
class Build:
    """The second call."""

    reservation: Reservation


class RemoteBuild:
    """A load that is built in a process of low priority.

    Args:
        settings: the process reads its own, which must be the same.
        log: receives the output of the process.
        progress: called by the thread that waits for an answer, about once a second.
    """

    def __init__(self, settings: Settings, log: Path, progress: Progress = no_progress) -> None:
        self._progress = progress
        self._process = ChildProcess("neardup_platform.stream.loading.build_process", settings, log, "builds the load")

    def scan(self, order: LoadOrder) -> Scanned:
        """Read ids, heads and times, and divide the rows; a repeated order returns what the first one returned.

        Raises:
            PermanentError: rows are bad, or a file is not what the data set says.
            RetryableError: S3 does not answer, the disk is full, or the process has ended.
        """
        return self._process.call(Scan(order), Scanned, self._progress)

    def build(self, reservation: Reservation) -> BulkFiles:
        """Write all files of the load, and its rows of the vector files; what is complete is not written again.

        Raises:
            PermanentError: vectors are bad.
            RetryableError: S3 does not answer, the disk is full, or the process has ended.
        """
        return self._process.call(Build(reservation), BulkFiles, self._progress)

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def interrupt(self) -> None:
        """End the process at once, from any thread: the call that waits raises `RetryableError`."""
        self._process.interrupt()
