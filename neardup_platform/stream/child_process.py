"""A process of low priority that the worker calls over a socket pair (`multiprocessing.connection`).

It ends when the worker closes its end or dies, by whatever signal. It is started as a new interpreter in a session of
its own, and not by `multiprocessing.Process`, which would import the worker's main module and start a resource tracker.
"""

import subprocess
import sys
from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from neardup_platform.errors import RetryableError

_CLOSE_S = 10.0


class ChildProcess:
    """The worker's end.

    Args:
        module: run as `python -m`, with the descriptor of the other end.
        log: receives the output of the process.
        does: what it does, for errors.
    """

    def __init__(self, module: str, log: Path, does: str) -> None:
        self._log, self._does = log, does
        self._connection, theirs = Pipe()
        with theirs, log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, str(theirs.fileno())],
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

    def call(self, call: object, is_report: Callable[[Any], bool] = lambda _answer: False) -> Any:
        """Send a call and return what it answers.

        Args:
            is_report: receives what comes before the answer, and says whether it was only a report.

        Raises:
            RetryableError: the process has ended.
        """
        try:
            self._connection.send(call)
            while is_report(answer := self._connection.recv()):
                pass
        except (EOFError, OSError) as error:
            raise RetryableError(
                f"the process that {self._does} has ended: see {self._log}, send the command again"
            ) from error
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
