"""`load`: takes in a data set on S3 whose images come with their heads, while the stream runs.

    checkpoint → scan → reserve numbers → build → take in → the rest, one by one → result
      (loop)   (process)    (loop)      (process)  (loop)   (loop, in stages)

A process of low priority reads the data set (remote_build.py). It divides the images: whole clusters that the store
does not know are *bulk*, of which it builds table files, rows of vectors and segments with the numbers that the worker
has reserved for them; they are taken in at one moment (take_in.py). The others are the *rest*, decided one by one by
their given heads (given_heads.py), and so are clusters of the bulk that the stream touches meanwhile.

A command that was interrupted continues: with the files and numbers that it had before, and once they are taken in,
with the rest, from where its last commit ended. A load that ends early leaves its numbers reserved; the next load that
they suffice for uses them.
"""

import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from neardup_platform.bootstrap import elsewhere
from neardup_platform.bootstrap.data_set import DataSet
from neardup_platform.bootstrap.folders import folder_of
from neardup_platform.bootstrap.load_order import LoadOrder, Reservation, Scanned
from neardup_platform.clock import Clock
from neardup_platform.clusters.overrides import Overrides
from neardup_platform.errors import BadCommand
from neardup_platform.pipeline import Pipeline
from neardup_platform.records import Kind, ModelSpec
from neardup_platform.settings import Settings
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.reserved import numbers_apart
from neardup_platform.store.writer import Batch, Changes, Store
from neardup_platform.stream.constraints import constraints_of
from neardup_platform.stream.control.command import put_progress
from neardup_platform.stream.control.interruption import Interruption
from neardup_platform.stream.control.outcome import Done, Finish, Outcome, Stage
from neardup_platform.stream.loading.given_heads import GivenHeads, GivenImage
from neardup_platform.stream.loading.load_folders import note_start, remove_finished, remove_others, started_ms
from neardup_platform.stream.segments.fresh_images import fresh_images
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.command_arguments import LoadArguments

# pyarrow takes a while to import, and most starts do without.
if TYPE_CHECKING:
    from neardup_platform.bootstrap.bulk_files import BulkFiles
    from neardup_platform.stream.loading.rest_rows import Chunk
    from neardup_platform.stream.loading.take_in import TakeIn

log = logging.getLogger(__name__)

_CHECKPOINT = "checkpoint"
# How long a compaction that is in progress may delay a load; one of a few gigabytes takes less.
_COMPACTING_S = 120.0
_POLL_S = 0.1
_FATES = ("known", "conflicting", "forgotten")


class Build(Protocol):
    """Builds the files of a load; see `RemoteBuild`."""

    def scan(self, order: LoadOrder) -> Scanned:
        """Divide the rows of the data set."""

    def build(self, reservation: Reservation) -> "BulkFiles":
        """Write the files, and rows of the vector files."""

    def close(self) -> None:
        """Give up."""

    def interrupt(self) -> None:
        """Make the call in progress fail soon; called from another thread."""


@dataclass(frozen=True, slots=True)
class _Rest:
    """A load of which only the rest is left to decide."""

    command: pb.Command
    skip_bad: bool
    heads: GivenHeads
    chunks: "Iterator[Chunk]"


class Load:
    """The handler.

    Args:
        models: the models that embeddings must be of.
        find: returns the files of a data set on S3, by its name and version.
        launch: starts what builds; its argument is the log file.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        pipeline: Pipeline,
        models: Mapping[Kind, ModelSpec],
        find: Callable[[str, str], DataSet],
        launch: Callable[[Path], Build],
        clock: Clock,
    ) -> None:
        self._settings, self._store, self._pipeline, self._models = settings, store, pipeline, models
        self._find, self._launch, self._clock = find, launch, clock
        self._build: Build | None = None
        self._take_in: TakeIn | None = None
        self._interruption = Interruption()
        remove_finished(settings.loads_path, store.commands)

    def interrupt(self) -> None:
        """See `Interruptible`."""
        self._interruption.interrupt()
        if self._build is not None:
            self._build.interrupt()

    def __call__(self, command: pb.Command, arguments: LoadArguments) -> Finish:
        """See `Handler`."""
        self._interruption.clear()
        self._close()
        folder = folder_of(self._settings.loads_path, command.command_id)
        remove_others(folder)
        if self._taken(command):
            return self._start_rest(command, arguments)
        note_start(folder, command.command_id, self._clock.now_ms())
        data_set = self._find(arguments.data_set, arguments.version)
        checkpoint = folder / _CHECKPOINT
        order = LoadOrder(data_set, command.command_id, folder, checkpoint, self._models, arguments.skip_bad)
        self._store.flush()
        return partial(self._take_checkpoint, command, arguments, order)

    def _taken(self, command: pb.Command) -> bool:
        """Whether an interrupted attempt has taken in its files."""
        progress = self._store.commands.progress(command.command_id)
        return progress is not None and bool(progress.counts["taken"])

    def _take_checkpoint(self, command: pb.Command, arguments: LoadArguments, order: LoadOrder) -> Stage:
        shutil.rmtree(order.checkpoint, ignore_errors=True)
        self._store.checkpoint(order.checkpoint)
        self._build = self._launch(self._settings.home / "load.log")
        return Stage(partial(self._scan, command, arguments, order), abandon=partial(self._abandon, command))

    def _scan(self, command: pb.Command, arguments: LoadArguments, order: LoadOrder) -> Finish:
        scanned = self._active_build().scan(order)
        self._interruption.check()
        if scanned.bad and not arguments.skip_bad:
            counts = ", ".join(f"{count} {reason}" for reason, count in sorted(scanned.bad.items()))
            raise BadCommand(
                f"{sum(scanned.bad.values())} of {scanned.rows} rows are bad: {counts} "
                f"({'; '.join(scanned.examples)}); skip_bad = true takes the others"
            )
        shutil.rmtree(order.checkpoint, ignore_errors=True)
        return partial(self._reserve, command, arguments, scanned)

    def _reserve(self, command: pb.Command, arguments: LoadArguments, scanned: Scanned) -> Stage:
        """Reserve numbers for the bulk, unless an earlier load has left enough."""
        state = self._store.state()
        reserved, fresh = _reservation(state, scanned.bulk, command.command_id)
        progress = self._store.commands.progress(command.command_id)
        if progress is None:
            counts = {"rows": scanned.rows, "other": scanned.other, "bad": sum(scanned.bad.values())}
            progress = store_pb.CommandProgress(of=arguments.version.encode(), counts=counts)
            progress.counts["decided_ms"] = self._clock.now_ms()
        if fresh:
            self._pipeline.corpus.reserve(fresh)

        def write(batch: Batch, new: store_pb.StoreState) -> None:
            new.ordinals += fresh
            new.sequence += fresh
            if scanned.bulk:
                new.reserved.CopyFrom(reserved)
            put_progress(batch, command.command_id, progress)

        numbers = Reservation(reserved.first_ordinal, reserved.first_sequence, progress.counts["decided_ms"])
        prepare_next = partial(self._build_files, command, arguments, numbers)
        return Stage(prepare_next, write, abandon=partial(self._abandon, command))

    def _build_files(self, command: pb.Command, arguments: LoadArguments, numbers: Reservation) -> Finish:
        from neardup_platform.stream.loading.take_in import prepare, warm

        folder = folder_of(self._settings.loads_path, command.command_id)
        build = self._active_build()
        files = build.build(numbers)
        build.close()
        self._interruption.check()
        self._take_in = prepare(files, folder, self._pipeline.corpus)
        warm(files, folder, self._pipeline.corpus, lambda: self._interruption.is_set)
        self._interruption.check()
        self._take_in.withhold_matched(self._store, self._pipeline.labels)
        return self._compare(command, arguments, self._take_in)

    def _compare(self, command: pb.Command, arguments: LoadArguments, bulk: "TakeIn") -> Finish:
        """Find what must be withheld so far, so that little is left to compare when the bulk is taken in."""
        self._hold_compactions()
        bulk.withhold_forgotten(self._store, started_ms(bulk.folder))
        bulk.compare(self._store)
        bulk.keep_pairs()
        bulk.write_deletions()
        # RocksDB flushes what is in memory before it takes in files.
        self._store.flush()
        return partial(self._finish_bulk, command, arguments, bulk)

    def _hold_compactions(self) -> None:
        """Keep the files off the top of the store. After a while it goes without: they are compacted afterwards."""
        self._store.compactions.hold()
        until_s = self._clock.monotonic_s() + _COMPACTING_S
        while self._store.compactions.running and self._clock.monotonic_s() < until_s:
            self._interruption.check()
            self._interruption.wait(_POLL_S)

    def _finish_bulk(self, command: pb.Command, arguments: LoadArguments, bulk: "TakeIn") -> Stage:
        """Take the bulk in, without what is withheld."""
        if bulk.forgotten != self._store.state().forgotten:
            return Stage(partial(self._compare, command, arguments, bulk), abandon=partial(self._abandon, command))
        begun_s = self._clock.monotonic_s()
        bulk.compare(self._store)
        bulk.save_withheld()
        loaded = bulk.without_withheld()
        taken = bulk.files.images - len(bulk.ordinals)
        progress = self._store.commands.progress(command.command_id) or store_pb.CommandProgress()
        progress.counts["taken"] = 1
        progress.counts["bulk"] = progress.counts["loaded"] = taken
        progress.counts["withheld"] = len(bulk.ordinals)

        def write(batch: Changes, new: store_pb.StoreState) -> None:
            bulk.write(self._store, batch, new)
            new.terms_version = self._pipeline.space.version
            put_progress(batch, command.command_id, progress)

        def write_progress(batch: Batch, _new: store_pb.StoreState) -> None:
            put_progress(batch, command.command_id, progress)

        def apply() -> None:
            if bulk.files.images:
                self._pipeline.corpus.take_in(loaded)
            took_ms = 1_000 * (self._clock.monotonic_s() - begun_s)
            log.info("command %s: %d images taken in within %.0f ms", command.command_id, taken, took_ms)

        return Stage(
            partial(self._start_rest, command, arguments),
            write_progress,
            apply=apply,
            counts={"loaded": taken},
            ingestion=bulk.ingestion(write) if bulk.files.images else None,
            abandon=partial(self._abandon, command),
        )

    def _start_rest(self, command: pb.Command, arguments: LoadArguments) -> Finish:
        from neardup_platform.bootstrap.bulk_files import read_manifest
        from neardup_platform.stream.loading.rest_rows import RestRows
        from neardup_platform.stream.loading.take_in import WithheldImages

        self._close()
        folder = folder_of(self._settings.loads_path, command.command_id)
        files = read_manifest(folder)
        if files is None:
            raise BadCommand(f"the files of the load in {folder} are gone: send it again, which skips what is known")
        withheld = WithheldImages(folder, files, self._pipeline.corpus, self._models)
        rows = RestRows(withheld, [folder / name for name in files.rest], self._models, self._clock.now_ms())
        heads = GivenHeads(self._store, self._pipeline, command.command_id)
        progress = self._store.commands.progress(command.command_id) or store_pb.CommandProgress()
        heads.resume(rows.heads(progress.done))
        chunks = rows.chunks(self._settings.worker.max_batch_images, progress.done)
        return self._read_chunk(_Rest(command, arguments.skip_bad, heads, chunks), progress)

    def _read_chunk(self, rest: _Rest, progress: store_pb.CommandProgress) -> Finish:
        self._interruption.check()
        chunk = next(rest.chunks, None)
        if chunk is None:
            # A restart finds what is published without the files of the load.
            self._pipeline.corpus.index.flush()
            return partial(self._finish, rest.command, progress)
        if chunk[2] and not rest.skip_bad:
            raise BadCommand(f"{chunk[2][0]}; skip_bad = true takes the others")
        return partial(self._decide, rest, progress, chunk)

    def _decide(self, rest: _Rest, progress: store_pb.CommandProgress, chunk: "Chunk") -> Stage:
        end, given, bad = chunk
        fresh, fates = fresh_images(self._store, [each.image for each in given])
        heads = {each.image.image_id: each.head for each in given}
        constraints = constraints_of(Overrides(self._store.overrides.all()), self._store, self._pipeline.corpus)
        first_sequence = self._store.state().sequence + 1
        decided = rest.heads.decide(
            [GivenImage(image, heads[image.image_id]) for image in fresh],
            first_sequence,
            self._clock.now_ms(),
            constraints,
        )
        counts = Counter({name: fates[name] for name in _FATES} | {"loaded": len(fresh), "bad": len(bad)})
        after = _advanced(progress, end, counts, rest.heads.elsewhere(given, decided))

        def write(batch: Batch, _state: store_pb.StoreState) -> None:
            put_progress(batch, rest.command.command_id, after)

        return Stage(
            partial(self._read_chunk, rest, after),
            write,
            decided=decided,
            quiet=True,
            counts={"loaded": len(fresh)},
            abandon=partial(self._abandon, rest.command),
        )

    def _finish(self, command: pb.Command, progress: store_pb.CommandProgress) -> Outcome:
        names = ("rows", "loaded", "bulk", "withheld", *_FATES, "elsewhere", "bad", "other")
        values = {name: str(progress.counts[name]) for name in names}
        named = {"data_set": command.arguments["data_set"], "version": progress.of.decode()}
        listed = (elsewhere.Elsewhere(each.image_id, each.given, each.head) for each in progress.elsewhere)
        named["examples"] = elsewhere.to_text(listed)
        return Done({**named, **values}, apply=partial(self._clean_up, command))

    def _clean_up(self, command: pb.Command) -> None:
        """Remove the files of the load, and erase the rows of vectors of what was withheld."""
        from neardup_platform.bootstrap.bulk_files import read_manifest

        folder = folder_of(self._settings.loads_path, command.command_id)
        files = read_manifest(folder)
        if files is not None:
            corpus = self._pipeline.corpus
            corpus.erase_dead(range(files.first_ordinal, files.end_ordinal))
        shutil.rmtree(folder, ignore_errors=True)

    def _active_build(self) -> Build:
        if self._build is None:
            raise BadCommand("it was given up: send it again")
        return self._build

    def _close(self) -> None:
        self._store.compactions.release()
        if self._build is not None:
            self._build.close()
            self._build = None
        if self._take_in is not None:
            self._take_in.close()
            self._take_in = None

    def _abandon(self, command: pb.Command) -> None:
        """End a command that is not continued; its numbers stay reserved for the next load."""
        self._close()
        shutil.rmtree(folder_of(self._settings.loads_path, command.command_id), ignore_errors=True)


def _reservation(state: store_pb.StoreState, count: int, command_id: str) -> tuple[store_pb.Reserved, int]:
    """The numbers for so many images, and how many of them are new."""
    left = numbers_apart(state)
    if left and len(left) >= count:
        found = store_pb.Reserved()
        found.CopyFrom(state.reserved)
        found.command_id = command_id
        return found, 0
    made = store_pb.Reserved(
        first_ordinal=state.ordinals,
        end_ordinal=state.ordinals + count,
        first_sequence=state.sequence + 1,
        command_id=command_id,
        store_id=state.store_id,
    )
    return made, count


def _advanced(
    progress: store_pb.CommandProgress, end: int, counts: Counter[str], found: Sequence[elsewhere.Elsewhere]
) -> store_pb.CommandProgress:
    after = store_pb.CommandProgress(done=end, of=progress.of, counts=progress.counts, elsewhere=progress.elsewhere)
    for name, count in {**counts, "elsewhere": len(found)}.items():
        after.counts[name] += count
    for each in found[: elsewhere.MOST_LISTED - len(after.elsewhere)]:
        after.elsewhere.add(image_id=each.image_id, given=each.given, head=each.head)
    return after
