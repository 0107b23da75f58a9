"""`pause` and `resume`: the embeddings are read no more, or again, while the worker stays and obeys commands.

The store remembers it, so a worker that starts later reads none either. What arrives meanwhile waits in Kafka; the
clock of the join stands still, so no half expires for it. Neither takes an argument.
"""

import time
from collections.abc import Callable

from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.writer import Batch
from neardup_platform.stream.control.command import Finish, Outcome, check_arguments
from neardup_platform.wire import neardup_pb2 as pb

PAUSE, RESUME = "pause", "resume"

ReadState = Callable[[], store_pb.StoreState]


class Pause:
    """The handler of `pause`; a second one changes nothing and says who paused first."""

    def __init__(self, state: ReadState) -> None:
        self._state = state

    def __call__(self, command: pb.Command) -> Finish:
        """See `Handler`."""
        check_arguments(command, set(), set())

        def finish() -> Outcome:
            state = self._state()
            if state.HasField("paused"):
                return Outcome({"paused": "before", **_who(state.paused)})
            paused = store_pb.Pause(
                by=command.issued_by, at_ms=time.time_ns() // 1_000_000, command_id=command.command_id
            )

            def write(_batch: Batch, new: store_pb.StoreState) -> None:
                new.paused.CopyFrom(paused)

            return Outcome({"paused": "now", **_who(paused)}, write=write)

        return finish


class Resume:
    """The handler of `resume`; says who had paused."""

    def __init__(self, state: ReadState) -> None:
        self._state = state

    def __call__(self, command: pb.Command) -> Finish:
        """See `Handler`."""
        check_arguments(command, set(), set())

        def finish() -> Outcome:
            state = self._state()
            if not state.HasField("paused"):
                return Outcome({"was_paused": "false"})
            return Outcome({"was_paused": "true", **_who(state.paused)}, write=_resume)

        return finish


def _resume(_batch: Batch, new: store_pb.StoreState) -> None:
    new.ClearField("paused")


def _who(paused: store_pb.Pause) -> dict[str, str]:
    return {"by": paused.by, "at_ms": str(paused.at_ms)}
