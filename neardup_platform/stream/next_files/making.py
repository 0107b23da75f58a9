"""What a command that has files made is doing, and how another thread ends it: of `restore` and `use-cells`."""

from collections.abc import Callable
from pathlib import Path

from neardup_platform.stream.cells.make_index import IndexOrder
from neardup_platform.stream.control.interruption import Interruption
from neardup_platform.stream.next_files.make_files import FilesOrder
from neardup_platform.stream.next_files.remote_files import FilesMaker


class Making:
    """The process that makes files for a command, while there is one.

    Args:
        launch: starts the process; its argument is the log file.
        log: receives the output of the process.

    Attributes:
        doing: what the command does now, in words; empty for nothing. Read from another thread.
    """

    def __init__(self, launch: Callable[[Path], FilesMaker], log: Path) -> None:
        self._launch, self._log = launch, log
        self._maker: FilesMaker | None = None
        self._interruption = Interruption()
        self.doing = ""

    def clear(self) -> None:
        """Begin the preparation of another command."""
        self._interruption.clear()

    def interrupt(self) -> None:
        """Make the next `check` raise, and end the process; called from another thread."""
        self._interruption.interrupt()
        if (maker := self._maker) is not None:
            maker.interrupt()

    def check(self) -> None:
        """Continue, unless it is interrupted.

        Raises:
            BadCommand: it is.
        """
        self._interruption.check()

    def make(self, files: str, order: FilesOrder | IndexOrder) -> None:
        """Have the files of an order made.

        Args:
            files: names them in `doing`.

        Raises:
            BadCommand: it is interrupted.
            PermanentError: it failed; the text says why.
            RetryableError: the disk is full, or the process has ended.
        """

        def advance(doing: str, done: int, of: int) -> None:
            self.advance(f"{files}: {doing}", done, of)

        self._maker = self._launch(self._log)
        # Interrupted meanwhile, there was no process to end.
        self.check()
        self._maker.make(order, advance)
        self._end()

    def advance(self, doing: str, done: int, of: int) -> None:
        """Note how far the command is; see `Progress`.

        Raises:
            BadCommand: it is interrupted.
        """
        self.check()
        self.doing = doing + (f", {done:,} of {of:,}" if of else "")

    def close(self) -> None:
        """End the process, if there is one: the command does nothing now."""
        self.doing = ""
        self._end()

    def _end(self) -> None:
        if self._maker is not None:
            self._maker.close()
            self._maker = None
