"""`reprocess`: decides all images again, in their recorded order, by the active classifier, thresholds and overrides.

The stream runs meanwhile. In each round a checkpoint is taken between two steps, and a process of low priority
decides what it has more than the previous one (reprocessing.py). When few images are left, the worker stops reading
embeddings for a moment, the last images are decided, and the stores are exchanged as by a restore (store/swap.py): the
worker opens the other store, and nothing is read again. `neardup rollback --undo` takes it back, as it does a restore;
what was decided since is then decided again.
"""

import hashlib
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from neardup_platform.errors import BadCommand
from neardup_platform.pipeline import Pipeline
from neardup_platform.settings import Settings
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.swap import decide_swap, next_path, remove_next
from neardup_platform.store.writer import Batch, Store
from neardup_platform.stream.built_files import keep, remove
from neardup_platform.stream.control.command import put_progress
from neardup_platform.stream.control.interruption import Interruption
from neardup_platform.stream.control.outcome import Finish, ReplaceStore, Stage
from neardup_platform.stream.corrections.deferred_overrides import (
    defer_overrides,
    overrides_ahead,
    unmet_after_reprocess,
)
from neardup_platform.stream.reprocess.construction import corrections_of
from neardup_platform.stream.reprocess.reprocessing import DECISIONS_EACH, Reprocessed
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.command_arguments import ReprocessArguments

# With this many images left the stream waits for the last round, which takes about a second.
LAST_IMAGES = 500
# How often the last round is put off because images were corrected; after that it follows the corrections, too.
MOST_PUT_OFF = 10
_CHECKPOINT = "reprocess-checkpoint"
_SCRATCH = "reprocess"


class Rounds(Protocol):
    """Decides the images of checkpoints again; see `RemoteReprocessing`."""

    def open(
        self, checkpoint: Path, target: Path, scratch: Path, command_id: str, rules: str, classifier: str
    ) -> Reprocessed:
        """Start, or continue an interrupted attempt."""

    def round(self, checkpoint: Path, first_sequence: int) -> Reprocessed:
        """Decide what a checkpoint has more than the previous one."""

    def finalise(self, checkpoint: Path) -> Reprocessed:
        """Complete the store under construction, and close it."""

    def close(self) -> None:
        """Give up."""

    def interrupt(self) -> None:
        """Make the call in progress fail soon; called from another thread."""


class Reprocess:
    """The handler.

    Args:
        store: the active one.
        pipeline: names the rules that apply now.
        launch: starts what decides again; its argument is the log file.
        last_images: see `LAST_IMAGES`.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        pipeline: Pipeline,
        launch: Callable[[Path], Rounds],
        last_images: int = LAST_IMAGES,
    ) -> None:
        self._settings = settings
        self._store = store
        self._pipeline = pipeline
        self._launch = launch
        self._last_images = last_images
        self._rounds: Rounds | None = None
        self._next: Store | None = None
        self._checkpoint = settings.home / _CHECKPOINT
        self._scratch = settings.home / _SCRATCH
        self._target = settings.store_path.with_name(f"{settings.store_path.name}.reprocessed")
        self._expected = store_pb.StoreState()
        self._put_off = self._reserved = 0
        self._interruption = Interruption()

    def interrupt(self) -> None:
        """See `Interruptible`."""
        self._interruption.interrupt()
        if self._rounds is not None:
            self._rounds.interrupt()

    def __call__(self, command: pb.Command, _arguments: ReprocessArguments) -> Finish:
        """Leave little to flush; see `Handler`."""
        self._interruption.clear()
        self._put_off = self._reserved = 0
        self.close()
        self._store.flush()
        return partial(self._take_first_checkpoint, command)

    def _take_first_checkpoint(self, command: pb.Command) -> Stage:
        self._store.checkpoint(self._checkpoint)
        rules, classifier = self._rules(command), self._pipeline.scorer.version
        return Stage(partial(self._open, command, rules, classifier), abandon=self._abandon)

    def _open(self, command: pb.Command, rules: str, classifier: str) -> Finish:
        """Start the process, which decides the images of the first checkpoint in the first round."""
        self._rounds = self._launch(self._settings.home / "reprocess.log")
        self._interruption.check()
        done = self._rounds.open(self._checkpoint, self._target, self._scratch, command.command_id, rules, classifier)
        self._store.flush()
        return partial(self._start_round, command, done)

    def _start_round(self, command: pb.Command, done: Reprocessed) -> Stage:
        """Take a checkpoint, and reserve sequence numbers for what it has more; hold the stream if that is little.

        The last round is one without corrections, because following them may need a pass over all images.
        """
        shutil.rmtree(self._checkpoint, ignore_errors=True)
        self._store.checkpoint(self._checkpoint)
        state = self._store.state()
        quiet = corrections_of(self._store) == done.corrections
        left = state.ordinals - done.next_ordinal
        last = left <= self._last_images and (quiet or self._put_off >= MOST_PUT_OFF)
        self._put_off += left <= self._last_images and not quiet
        first_sequence = state.sequence + 1
        if not quiet:
            # Corrections may have made as many decisions as were made at all since the previous round.
            left += DECISIONS_EACH * (state.sequence - self._reserved)
        state.sequence += left
        self._reserved = state.sequence
        self._expected = state
        progress = store_pb.CommandProgress(done=done.images, counts={"changed": done.changed})

        def write(batch: Batch, new: store_pb.StoreState) -> None:
            new.sequence += left
            put_progress(batch, command.command_id, progress)

        decide = partial(self._decide, command, first_sequence, last=last)
        return Stage(decide, write, hold=last, abandon=self._abandon)

    def _decide(self, command: pb.Command, first_sequence: int, *, last: bool) -> Finish:
        rounds = self._rounds
        if rounds is None:
            raise BadCommand("it was given up: send it again")
        done = rounds.round(self._checkpoint, first_sequence)
        if not last:
            self._store.flush()
            return partial(self._start_round, command, done)
        done = rounds.finalise(self._checkpoint)
        self._rounds = None
        remove_next(self._settings.store_path)
        keep(self._scratch, self._settings.store_path)
        self._target.rename(next_path(self._settings.store_path))
        self._next = Store(next_path(self._settings.store_path))
        return partial(self._finish, command, done, self._next)

    def _finish(self, command: pb.Command, done: Reprocessed, reprocessed: Store) -> ReplaceStore:
        present, state = self._store.state(), reprocessed.state()
        if (present.sequence, present.ordinals) != (self._expected.sequence, self._expected.ordinals):
            raise BadCommand("images were decided while the last of them were decided again: send the command again")
        values = {
            "images": done.images,
            "changed": done.changed,
            "clusters": state.clusters,
            "clusters_before": present.clusters,
            "digest": state.digest.hex(),
            "digest_before": present.digest.hex(),
            "classifier": self._pipeline.scorer.version,
        }
        state.sequence = max(state.sequence, present.sequence)
        ahead = overrides_ahead(self._store, command.command_id)
        deferred = dict.fromkeys([*ahead, *unmet_after_reprocess(reprocessed)])

        def write(batch: Batch, _state: store_pb.StoreState) -> None:
            defer_overrides(batch, deferred)

        return ReplaceStore(
            {name: str(value) for name, value in values.items()},
            reprocessed,
            state,
            partial(self._swap, command),
            write,
            f"command {command.command_id}: the worker opens the reprocessed store",
        )

    def _swap(self, command: pb.Command) -> None:
        self.close()
        decide_swap(self._settings.store_path, f"{command.name} {command.command_id}")

    def close(self) -> None:
        """End an attempt; the store under construction is kept, for the same command to continue."""
        if self._next is not None:
            self._next.close()
            self._next = None
        if self._rounds is not None:
            self._rounds.close()
            self._rounds = None
        for left in (self._checkpoint, self._scratch):
            shutil.rmtree(left, ignore_errors=True)

    def _abandon(self) -> None:
        """End a command that is not continued."""
        self.close()
        shutil.rmtree(self._target, ignore_errors=True)
        remove_next(self._settings.store_path)
        remove(self._settings.store_path)

    def _rules(self, command: pb.Command) -> str:
        """Names what decides, so that an interrupted attempt continues by the same rules or not at all."""
        matching, classifier = self._pipeline.matching, self._pipeline.scorer.version
        text = f"{command.command_id} {matching} {classifier} {self._settings.fingerprint()}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]
