"""`shadow` and `cut-over`: the worker decides and stores, and publishes no decision, until it takes over.

The store records it, so a worker that starts later publishes none either, and so does a store that replaces it.
Everything else is published as always: results of commands, dead letters, reports on expired embeddings. What was
published before stays published. Both are prompt, so that they are handled in the order in which they were sent.
"""

from functools import partial

from neardup_platform.clock import Clock
from neardup_platform.errors import BadCommand
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.shadow import begin_shadow, current_shadow, end_shadow
from neardup_platform.store.view import StoreView
from neardup_platform.store.writer import Batch, Store
from neardup_platform.stream.control.outcome import Done, Finish
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.command_arguments import CutOverArguments, ShadowArguments


class BeginShadow:
    """The handler of `shadow`; a second one changes nothing and reports who began the first."""

    def __init__(self, store: StoreView, clock: Clock) -> None:
        self._store, self._clock = store, clock

    def __call__(self, command: pb.Command, _arguments: ShadowArguments) -> Finish:
        """See `Handler`."""
        return partial(self._finish, command)

    def _finish(self, command: pb.Command) -> Done:
        state, now_ms = self._store.state(), self._clock.now_ms()
        if (shadow := current_shadow(state)) is not None:
            return Done({"shadow": "before", "by": shadow.by, "since_ms": str(shadow.since_ms)})

        def write(_batch: Batch, new: store_pb.StoreState) -> None:
            begin_shadow(new, now_ms, command.issued_by, command.command_id)

        values = {"shadow": "now", "by": command.issued_by, "since_ms": str(now_ms)}
        return Done({**values, "published_to": str(state.sequence)}, write)


class CutOver:
    """The handler of `cut-over`; reports what was withheld, and after which decision all are published."""

    def __init__(self, store: StoreView, clock: Clock) -> None:
        self._store, self._clock = store, clock

    def __call__(self, command: pb.Command, arguments: CutOverArguments) -> Finish:
        """See `Handler`."""
        return partial(self._finish, command, arguments)

    def _finish(self, command: pb.Command, arguments: CutOverArguments) -> Done:
        state, now_ms = self._store.state(), self._clock.now_ms()
        shadow = current_shadow(state)
        if shadow is None:
            raise BadCommand(
                "the worker is not in shadow: its decisions are published, so there is nothing to cut over. The "
                "command `shadow` (`neardup cut-over --undo`) begins a shadow"
            )

        def write(_batch: Batch, new: store_pb.StoreState) -> None:
            end_shadow(new, now_ms, command.issued_by, command.command_id, arguments.reason)

        values = {"since_ms": shadow.since_ms, "withheld": shadow.withheld, "published_after": state.sequence}
        return Done({name: str(value) for name, value in values.items()}, write)


def begin_by_settings(store: Store, now_ms: int) -> None:
    """Put a new store into shadow; one with a commit stays as it is."""
    state = store.state()
    if state.commit or state.shadows:
        return
    begin_shadow(state, now_ms)
    batch = Batch()
    batch.put_state(state)
    store.write(batch)
