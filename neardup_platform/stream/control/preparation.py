"""Prepares a command, or a stage of one, in a thread, while the stream runs."""

import logging
import threading

from neardup_platform.clock import Clock
from neardup_platform.stream.control.outcome import Finish, Prepare, Stage
from neardup_platform.wire import neardup_pb2 as pb

log = logging.getLogger(__name__)


class Preparation:
    """A preparation in progress; it starts at once.

    Args:
        level: log level of its duration.
    """

    def __init__(self, command: pb.Command, prepare: Prepare, clock: Clock, level: int = logging.INFO) -> None:
        self.command = command
        self._prepare, self._clock, self._level = prepare, clock, level
        self._finish: Finish | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=f"command-{command.name}", daemon=True)
        self._thread.start()

    @classmethod
    def of_stage(cls, command: pb.Command, stage: Stage, clock: Clock) -> "Preparation":
        """Prepare the stage that follows another one."""
        return cls(command, stage.prepare, clock, logging.DEBUG)

    @property
    def done(self) -> bool:
        """Whether `finish` returns or raises at once."""
        return not self._thread.is_alive()

    def finish(self) -> Finish:
        """The second part of what was prepared.

        Raises:
            Exception: what the preparation raised.
        """
        if self._error is not None:
            raise self._error
        if self._finish is None:
            raise RuntimeError("the preparation has not ended")
        return self._finish

    def join(self, timeout_s: float) -> None:
        """Wait for it to end."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        started_s = self._clock.monotonic_s()
        try:
            self._finish = self._prepare()
        except Exception as error:  # noqa: BLE001 -- a command must not end the worker, or it would end each next one
            self._error = error
        took_s = self._clock.monotonic_s() - started_s
        log.log(self._level, "command %s prepared in %.1f s", self.command.command_id, took_s)
