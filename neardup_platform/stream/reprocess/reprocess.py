"""`reprocess`: all images decided again, in recorded order, by the classifier, thresholds and overrides in force now.

The stream goes on meanwhile. Round by round a checkpoint is taken between two steps, and a process of low priority
decides what it has more than the one before (reprocessing.py). When few images are left, embeddings are read no more
for a moment, the last of them are decided, and the stores are exchanged as by a restore (store_swap.py): the worker
starts anew, nothing is read again. Takes no argument. `neardup rollback --undo` takes it back, as it does a restore;
what was decided since is then decided again.
"""

import hashlib
import shutil
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from neardup_platform.matching import Matching
from neardup_platform.pipeline import Pipeline
from neardup_platform.settings import Settings
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.swap import StoreReplaced, decide_swap, next_path, remove_next
from neardup_platform.store.writer import Batch, Store
from neardup_platform.stream.control.command import BadCommand, Finish, Outcome, check_arguments, put_progress
from neardup_platform.stream.corrections.ahead import overrides_ahead, put_to_meet
from neardup_platform.stream.reprocess.reprocessing import DECISIONS_EACH, Reprocessed, corrections_of
from neardup_platform.wire import neardup_pb2 as pb

NAME = "reprocess"
# With so many images left the stream waits for the last round: about a second.
LAST_IMAGES = 500
# So often the last round is put off because images were corrected meanwhile; then it has that work, too.
MOST_PUT_OFF = 10
_CHECKPOINT = "reprocess-checkpoint"
_SCRATCH = "reprocess"


class Rounds(Protocol):
    """What decides again; see `RemoteReprocessing`."""

    def open(
        self, checkpoint: Path, target: Path, scratch: Path, command_id: str, rules: str, classifier: str
    ) -> Reprocessed:
        """Begin, or go on."""

    def round(self, checkpoint: Path, first_sequence: int) -> Reprocessed:
        """Decide what a checkpoint has more."""

    def finalise(self, checkpoint: Path) -> Reprocessed:
        """Complete the store to come, and close it."""

    def close(self) -> None:
        """Give up."""

    def interrupt(self) -> None:
        """Let the call in progress fail soon; from another thread."""


class Reprocess:
    """The handler.

    Args:
        settings: resolved.
        store: the one in force.
        pipeline: the one that decides now.
        launch: starts what decides again; its argument takes what that has to say.
    """

    def __init__(
        self, settings: Settings, store: Store, pipeline: Callable[[], Pipeline], launch: Callable[[Path], Rounds]
    ) -> None:
        self._settings = settings
        self._store = store
        self._pipeline = pipeline
        self._launch = launch
        self._rounds: Rounds | None = None
        self._next: Store | None = None
        self._checkpoint = settings.home / _CHECKPOINT
        self._target = settings.store_path.with_name(f"{settings.store_path.name}.reprocessed")
        self._expected = store_pb.StoreState()
        self._put_off = self._reserved = 0
        self._interrupted = threading.Event()

    def interrupt(self) -> None:
        """See `Interruptible`."""
        self._interrupted.set()
        if self._rounds is not None:
            self._rounds.interrupt()

    def __call__(self, command: pb.Command) -> Finish:
        """The first half.

        Raises:
            NeardupError: it is refused; the text says why.
        """
        check_arguments(command, set(), set())
        self._interrupted.clear()
        self._put_off = self._reserved = 0
        self._give_up()
        self._store.flush()
        return partial(self._begin, command)

    def _begin(self, command: pb.Command) -> Outcome:
        self._store.checkpoint(self._checkpoint)
        pipeline = self._pipeline()
        rules = _rules(command, pipeline.matching, pipeline.scorer.version, self._settings)
        return Outcome({}, more=partial(self._open, command, rules, pipeline.scorer.version), abandon=self._abandon)

    def _open(self, command: pb.Command, rules: str, classifier: str) -> Finish:
        """Start the process, which decides the images of the first checkpoint in the first round."""
        self._rounds = self._launch(self._settings.home / "reprocess.log")
        if self._interrupted.is_set():
            raise BadCommand("it was cancelled")
        scratch = self._settings.home / _SCRATCH
        done = self._rounds.open(self._checkpoint, self._target, scratch, command.command_id, rules, classifier)
        self._store.flush()
        return partial(self._next_round, command, done)

    def _next_round(self, command: pb.Command, done: Reprocessed) -> Outcome:
        """Take a checkpoint, and reserve sequence numbers for what it has more; hold the stream if that is little.

        The last round is one without corrections, which may need a pass over all images (reprocessing.py).
        """
        shutil.rmtree(self._checkpoint, ignore_errors=True)
        self._store.checkpoint(self._checkpoint)
        state = self._store.state()
        corrections = corrections_of(self._store)
        quiet = corrections == done.corrections
        left = state.ordinals - done.next_ordinal
        last = left <= LAST_IMAGES and (quiet or self._put_off >= MOST_PUT_OFF)
        self._put_off += left <= LAST_IMAGES and not quiet
        first_sequence = state.sequence + 1
        if not quiet:
            # As many decisions may have been made by corrections as were made at all since the round before.
            left += DECISIONS_EACH * (state.sequence - self._reserved)
        state.sequence += left
        self._reserved = state.sequence
        self._expected = state
        progress = store_pb.CommandProgress(done=done.images, counts={"changed": done.changed})

        def write(batch: Batch, new: store_pb.StoreState) -> None:
            new.sequence += left
            put_progress(batch, command.command_id, progress)

        more = partial(self._decide, command, first_sequence, last=last)
        return Outcome({}, write=write, more=more, hold=last, abandon=self._abandon)

    def _decide(self, command: pb.Command, first_sequence: int, *, last: bool) -> Finish:
        rounds = self._rounds
        if rounds is None:
            raise BadCommand("it was given up: send it again")
        done = rounds.round(self._checkpoint, first_sequence)
        if not last:
            self._store.flush()
            return partial(self._next_round, command, done)
        done = rounds.finalise(self._checkpoint)
        self._rounds = None
        remove_next(self._settings.store_path)
        self._target.rename(next_path(self._settings.store_path))
        self._next = Store(next_path(self._settings.store_path))
        return partial(self._finish, command, done, self._next)

    def _finish(self, command: pb.Command, done: Reprocessed, reprocessed: Store) -> Outcome:
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
            "classifier": self._pipeline().scorer.version,
        }
        state.sequence = max(state.sequence, present.sequence)
        told = {name: str(value) for name, value in values.items()}
        to_meet = overrides_ahead(self._store, command.command_id)

        def write(batch: Batch, _state: store_pb.StoreState) -> None:
            put_to_meet(batch, to_meet)

        return Outcome(told, write=write, into=(reprocessed, state), apply=partial(self._swap, command))

    def _swap(self, command: pb.Command) -> None:
        """Decide the exchange.

        Raises:
            StoreReplaced: always.
        """
        self._give_up()
        decide_swap(self._settings.store_path, f"{command.name} {command.command_id}")
        raise StoreReplaced(f"command {command.command_id}: the worker starts anew over the reprocessed store")

    def _give_up(self) -> None:
        """Clean up after an attempt; the store to come is kept for the same command to go on with."""
        if self._next is not None:
            self._next.close()
            self._next = None
        if self._rounds is not None:
            self._rounds.close()
            self._rounds = None
        for left in (self._checkpoint, self._settings.home / _SCRATCH):
            shutil.rmtree(left, ignore_errors=True)

    def _abandon(self) -> None:
        """Clean up after a command that nobody will go on with."""
        self._give_up()
        shutil.rmtree(self._target, ignore_errors=True)
        remove_next(self._settings.store_path)


def _rules(command: pb.Command, matching: Matching, classifier: str, settings: Settings) -> str:
    """Names what decides, so that an interrupted attempt goes on by the same rules or not at all."""
    text = f"{command.command_id} {matching} {classifier} {settings.fingerprint()}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]
