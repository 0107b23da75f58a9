"""A process of low priority that the worker calls over a socket pair (`multiprocessing.connection`).

The worker's end: start, call, end. The other end is `child_server.py`. The process reports how far it is, and then
answers. It ends when the worker closes its end or dies, by whatever signal. It is started as a new interpreter in a
session of its own, and not by `multiprocessing.Process`, which would import the worker's main module and start a
resource tracker.
"""

import subprocess
import sys
from dataclasses import dataclass
from multiprocessing import Pipe
from pathlib import Path
from typing import TypeVar

from neardup_platform.errors import PermanentError, RetryableError
from neardup_platform.progress import Progress, no_progress
from neardup_platform.settings import Settings

_CLOSE_S = 10.0
# Below everything else on the machine.
LOWEST_PRIORITY = 19
# Behind the stream, but before what nobody waits for.
LOW_PRIORITY = 10

Expected = TypeVar("Expected")


@dataclass(frozen=True, slots=True)
class Advanced:
    """A report before the answer, as of `Progress`."""

    doing: str
    done: int
    of: int


@dataclass(frozen=True, slots=True)
class Failed:
    """An answer: the call failed.

    Attributes:
        temporary: whether the same call may succeed later.
    """

    reason: str
    temporary: bool


class ChildProcess:
    """The worker's end.

    Args:
        module: run as `python -m`; it calls `child_server.serve`.
        settings: the process reads its own, which must decide alike.
        log: receives the output of the process.
        does: what it does, for errors.
        niceness: its priority, 0 to 19; the higher, the less it gets of a busy machine.
    """

    def __init__(self, module: str, settings: Settings, log: Path, does: str, niceness: int = LOWEST_PRIORITY) -> None:
        self._log, self._does = log, does
        self._connection, theirs = Pipe()
        python = [sys.executable, "-m", module, str(theirs.fileno()), settings.fingerprint()]
        with theirs, log.open("ab") as out:
            self._process = subprocess.Popen(
                ["nice", "-n", str(niceness), *python],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                pass_fds=[theirs.fileno()],
            )

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def call(self, call: object, expected: type[Expected], progress: Progress = no_progress) -> Expected:
        """Send a call and return what it answers.

        Args:
            progress: receives what the process reports before it answers, about twice a second.

        Raises:
            PermanentError: the call failed; the text says why.
            RetryableError: the call failed and may succeed later, or the process has ended.
        """
        try:
            self._connection.send(call)
            while isinstance(answer := self._connection.recv(), Advanced):
                progress(answer.doing, answer.done, answer.of)
        except (EOFError, OSError) as error:
            raise RetryableError(
                f"the process that {self._does} has ended: see {self._log}, send the command again"
            ) from error
        if isinstance(answer, Failed):
            raise (RetryableError if answer.temporary else PermanentError)(answer.reason)
        if not isinstance(answer, expected):
            raise PermanentError(f"the process that {self._does} answered {type(answer).__name__}")
        return answer

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        try:
            self._process.wait(_CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def interrupt(self) -> None:
        """End the process at once, from any thread: the call that waits raises `RetryableError`."""
        self._process.kill()
