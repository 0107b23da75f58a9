"""`pause` and `resume`: the worker reads no embeddings, or reads them again, and keeps carrying out commands.

The store records the pause, so a worker that starts later reads none either. What arrives in the meantime waits in
Kafka. The clock of the join stands still, so no unpaired embedding expires because of a pause.
"""

from functools import partial

from neardup_platform.clock import Clock
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.view import StoreView
from neardup_platform.store.writer import Batch
from neardup_platform.stream.control.outcome import Done, Finish
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.command_arguments import PauseArguments, ResumeArguments


class Pause:
    """The handler of `pause`; a second pause changes nothing and reports who paused first."""

    def __init__(self, store: StoreView, clock: Clock) -> None:
        self._store, self._clock = store, clock

    def __call__(self, command: pb.Command, _arguments: PauseArguments) -> Finish:
        """See `Handler`."""
        return partial(self._finish, command)

    def _finish(self, command: pb.Command) -> Done:
        state = self._store.state()
        if state.HasField("paused"):
            return Done({"paused": "before", **_who(state.paused)})
        paused = store_pb.Pause(by=command.issued_by, at_ms=self._clock.now_ms(), command_id=command.command_id)

        def write(_batch: Batch, new: store_pb.StoreState) -> None:
            new.paused.CopyFrom(paused)

        return Done({"paused": "now", **_who(paused)}, write)


class Resume:
    """The handler of `resume`; reports who had paused."""

    def __init__(self, store: StoreView) -> None:
        self._store = store

    def __call__(self, _command: pb.Command, _arguments: ResumeArguments) -> Finish:
        """See `Handler`."""
        return self._finish

    def _finish(self) -> Done:
        state = self._store.state()
        if not state.HasField("paused"):
            return Done({"was_paused": "false"})
        return Done({"was_paused": "true", **_who(state.paused)}, _clear_pause)


def _clear_pause(_batch: Batch, new: store_pb.StoreState) -> None:
    new.ClearField("paused")


def _who(paused: store_pb.Pause) -> dict[str, str]:
    return {"by": paused.by, "at_ms": str(paused.at_ms)}
