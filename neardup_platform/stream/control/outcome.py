"""What a command handler returns: a command that is done, a stage with more to come, or another store.

A handler works in two parts. *Prepare* runs in a thread, may take long (a download, a model to load) and must not touch
the worker's state. It returns *finish*, which the worker's loop calls between two steps and which returns what the
commit writes and what follows it. Any error of either refuses the command.

A command of several stages repeats this: the outcome of a stage names the next prepare. Every stage is a commit of its
own, with stream steps and prompt commands in between; only the last one has the result and moves the position of the
control topic. A worker that is killed therefore starts such a command again, and finds in the store how far it had come
(`put_progress`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from neardup_platform.pipeline import Decided
from neardup_platform.records import Decision, JoinedImage
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.writer import Batch, Changes, Store

# Puts changes into the commit. In that of the result, `state.commands` is the number of the command.
Write = Callable[[Batch, store_pb.StoreState], None]


def write_nothing(_batch: Batch, _state: store_pb.StoreState) -> None:
    """A `Write` without changes."""


def do_nothing() -> None:
    """An effect in memory without changes."""


@dataclass(frozen=True, slots=True)
class Done:
    """A command that is carried out.

    Attributes:
        values: the result, sent to the caller.
        write: puts its changes into the commit that has its result.
        apply: makes the same changes in memory, after the commit. It must not fail.
        decisions: made by it, in order of sequence; they are published.
        counts: by how much counters of the store grow.
    """

    values: Mapping[str, str]
    write: Write = write_nothing
    apply: Callable[[], None] = do_nothing
    decisions: Sequence[Decision] = ()
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ingestion:
    """Table files (SSTs) that become part of the store with a commit.

    Attributes:
        files: on the disk of the store, verified and synced; they are moved into it.
        folder: for the changes of the commit, which are written as files, too.
        write: puts changes into it; what it puts or deletes counts before what `files` have.
    """

    files: Sequence[Path]
    folder: Path
    write: Callable[[Changes, store_pb.StoreState], None]


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of a command with more to come.

    Attributes:
        prepare: prepares the next stage, in a thread.
        write: puts its changes into its commit.
        decided: images decided by it.
        images: new images that the worker decides in its own way, as those of the stream: compared in threads while
            it finishes later stages, and committed with this stage, in order. None of a stage without such images.
        quiet: whether the decisions about these images are not published.
        decisions: about stored images, made by it, in order of sequence; they are published.
        apply: makes the same changes in memory, after its commit. It must not fail.
        counts: by how much counters of the store grow.
        hold: whether embeddings and other commands wait until the next stage.
        ingestion: files that its commit takes in, with changes that take the place of `write`.
        abandon: cleans up if the command ends before its next stage.
    """

    prepare: "Callable[[], Finish]"
    write: Write = write_nothing
    decided: Sequence[Decided] = ()
    images: Sequence[JoinedImage] | None = None
    quiet: bool = False
    decisions: Sequence[Decision] = ()
    apply: Callable[[], None] = do_nothing
    counts: Mapping[str, int] = field(default_factory=dict)
    hold: bool = False
    ingestion: Ingestion | None = None
    abandon: Callable[[], None] = do_nothing


@dataclass(frozen=True, slots=True)
class ReplaceStore:
    """A command that puts another store in place of the active one. Its result is committed to that store.

    Attributes:
        values: the result, sent to the caller.
        store: the other store, open.
        state: its totals.
        write: puts its changes into the commit that has its result.
        swap: closes the store and decides the exchange (store/swap.py), after the commit is synced to disk. Nothing may
            be written to either store afterwards; the worker has to be opened again.
        reason: for the worker's log.
    """

    values: Mapping[str, str]
    store: Store
    state: store_pb.StoreState
    swap: Callable[[], None]
    write: Write = write_nothing
    reason: str = ""


Outcome = Done | Stage | ReplaceStore
Finish = Callable[[], Outcome]
Prepare = Callable[[], Finish]
