"""`restore`: puts the state of a snapshot in place of the present one.

    fetch → note where images are → make its files, compare → hold the stream → complete → exchange
   (thread)        (loop)            (process, thread)           (loop)         (thread)   (loop)

The snapshot is fetched, verified and opened beside the active store while the stream runs. So are vectors, term index
and checkpoint of the restored store made (next_files/), and its images compared with those of the active store
(compensation.py). Then the stream waits for what depends on where it ends: the restored store takes over what does not
go back (corrections/carry_over.py), contradictions among its clusters are repaired (repair.py), images that have moved
meanwhile are compared again, and decisions that are no longer true are replaced. Between two steps the exchange is
decided (store/swap.py). The worker then opens the restored store with the files that were made (built_files.py). The
positions go back with it: embeddings that came since are read from Kafka and decided again, under new sequence numbers.
Until the exchange is decided, any failure leaves the active store as it is.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from neardup_platform.clock import Clock
from neardup_platform.clusters.partition_diff import HeadChange
from neardup_platform.errors import BadCommand, SetupError
from neardup_platform.image_table.checkpoint import Columns
from neardup_platform.image_table.ids import Ordinals
from neardup_platform.pipeline import Pipeline
from neardup_platform.settings import Settings
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.survey import Survey
from neardup_platform.store.swap import before_path, copy_store, decide_swap, next_path, remove_next
from neardup_platform.store.writer import Batch, Store
from neardup_platform.stream.built_files import keep, remove, remove_unfinished, unfinished_path
from neardup_platform.stream.checkpointing import begin_noting
from neardup_platform.stream.control.outcome import Finish, ReplaceStore, Stage
from neardup_platform.stream.corrections.carry_over import append_outbox, carry_over, name_restored
from neardup_platform.stream.corrections.deferred_overrides import (
    defer_overrides,
    overrides_ahead,
    unmet_after_restore,
)
from neardup_platform.stream.corrections.forget_again import (
    Forgotten,
    forget_again,
    forgotten_of,
    forgotten_since,
    moved_by_forgetting,
)
from neardup_platform.stream.next_files.make_files import FilesOrder, Models, check_room, correct_rows
from neardup_platform.stream.next_files.making import Making
from neardup_platform.stream.next_files.remote_files import FilesMaker
from neardup_platform.stream.repair import repair_surveyed
from neardup_platform.stream.snapshots.compensation import changed_heads, compare_again, compensate
from neardup_platform.stream.snapshots.snapshot_manifest import Manifest, check_id
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import Log
from neardup_platform.wire.command_arguments import RestoreArguments

# Disk that must stay free beside a downloaded store.
_SPARE_BYTES = 256 << 20

Positions = Mapping[tuple[str, int], int]
Logs = Mapping[tuple[str, int], Log]
CheckClassifier = Callable[[str], None]
DeletedSince = Callable[[Positions, Logs], Mapping[str, int | None]]


@dataclass(frozen=True, slots=True)
class _Fetched:
    """A store that is ready to replace the active one.

    Attributes:
        classifier: the version that decided when the snapshot was taken; empty: the one its state names.
        lost: embeddings that Kafka has deleted since, by partition.
        forgotten: images in it that were forgotten since.
    """

    store: Store
    classifier: str
    lost: Mapping[str, int]
    forgotten: Forgotten
    survey: Survey


@dataclass(frozen=True, slots=True)
class _Made:
    """What was prepared for a restored store while the stream ran.

    Attributes:
        files: the folder of its files; None where they are made when it is opened.
        began: where the images of the active store were before.
        changes: of the images between both stores, since then; None where all are compared once the stream waits.
    """

    files: Path | None
    began: Columns
    changes: Sequence[HeadChange] | None


@dataclass(frozen=True, slots=True)
class _Moved:
    """What has changed in the active store since files were begun to be made.

    Attributes:
        dropped: int64, ascending, ordinals that belong to no image any more.
        ids: of all images that may be in another cluster.
    """

    dropped: Ordinals
    ids: Sequence[str]


class Restore:
    """The handler.

    Args:
        store: the active one.
        pipeline: names the active classifier and term space.
        unpromoted: version of the classifier that decides where none was promoted.
        check_classifier: raises where a version cannot decide here.
        deleted_since: by partition, how many embeddings after these positions Kafka has deleted; None: unknown.
        models: of the embeddings.
        launch: starts what makes the files of the restored store; its argument is the log file.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        pipeline: Pipeline,
        unpromoted: str,
        check_classifier: CheckClassifier,
        deleted_since: DeletedSince,
        clock: Clock,
        *,
        models: Models,
        launch: Callable[[Path], FilesMaker],
    ) -> None:
        self._settings = settings
        self._store = store
        self._pipeline = pipeline
        self._unpromoted = unpromoted
        self._check_classifier = check_classifier
        self._deleted_since = deleted_since
        self._models = models
        self._clock = clock
        self._next: Store | None = None
        self._making = Making(launch, settings.home / "next-files.log")
        self._forgotten_ahead: list[str] = []

    def interrupt(self) -> None:
        """See `Interruptible`."""
        self._making.interrupt()

    @property
    def doing(self) -> str:
        """See `Reporting`."""
        return self._making.doing

    def note_forgotten(self, image_id: str) -> None:
        """Record an image that is forgotten while a restore is prepared: it is removed from the other store, too."""
        self._forgotten_ahead.append(image_id)

    def __call__(self, command: pb.Command, arguments: RestoreArguments) -> Finish:
        """Do everything that takes time or may fail; see `Handler`."""
        self.close()
        self._forgotten_ahead.clear()
        self._making.clear()
        remove_next(self._settings.store_path)
        remove_unfinished(self._settings.home)
        _check_most(self._store.state().images, arguments.most_images)
        self._making.doing = "fetching the other store"
        try:
            classifier = self._undo() if arguments.snapshot is None else self._fetch(arguments.snapshot)
            self._next = Store(next_path(self._settings.store_path))
            lost = self._check(self._next, arguments.force)
            check_room(self._settings.home, self._next.state(), self._models, self._pipeline.space)
            name_restored(self._store.state(), self._next)
            self._making.doing = "checking the other store"
            forgotten = forgotten_since(self._store, self._next)
            fetched = _Fetched(self._next, classifier, lost, forgotten, Survey(self._next))
        except Exception:
            self.close()
            remove_next(self._settings.store_path)
            raise
        return partial(self._begin, command, fetched)

    def close(self) -> None:
        """Close the store of an attempt that failed, and end what makes files for it."""
        self._making.close()
        if self._next is not None:
            self._next.close()
            self._next = None

    def _undo(self) -> str:
        """Copy the previous store."""
        before = before_path(self._settings.store_path)
        if not before.exists():
            raise BadCommand("no restore was done here, so there is none to undo")
        copy_store(before, next_path(self._settings.store_path))
        return ""

    def _fetch(self, snapshot: str) -> str:
        """Download a snapshot; returns the version of the classifier that decided when it was taken."""
        # boto3 takes a third of a second to import, and most starts do without.
        from neardup_platform.s3_client import open_s3
        from neardup_platform.stream.snapshots.s3_snapshots import download_files, link_files, read_manifest

        s3, bucket = open_s3(self._settings.s3), self._settings.s3.bucket
        manifest = read_manifest(s3, bucket, check_id(snapshot))
        self._check_manifest(manifest)
        link_files(self._settings.store_path, manifest.files, next_path(self._settings.store_path))
        download_files(s3, bucket, manifest.files, next_path(self._settings.store_path), self._making.check)
        with closing(Store(next_path(self._settings.store_path))) as store:
            state = store.state()
        found = (state.digest.hex(), state.images, state.sequence, state.store_id)
        if found != (manifest.digest, manifest.images, manifest.sequence, manifest.store_id):
            raise BadCommand(f"snapshot {snapshot} holds another state than its manifest says: use another snapshot")
        return manifest.classifier_version

    def _check_manifest(self, manifest: Manifest) -> None:
        if manifest.store_format > layout.FORMAT:
            raise BadCommand(
                f"snapshot {manifest.snapshot} has format {manifest.store_format}, this version reads up to "
                f"{layout.FORMAT}: use the version that took it"
            )
        self._check_classifier(manifest.classifier_version)
        free = shutil.disk_usage(self._settings.home).free
        if free < manifest.bytes + _SPARE_BYTES:
            raise SetupError(
                f"snapshot {manifest.snapshot} takes {manifest.bytes / 1e6:.0f} MB, {free / 1e6:.0f} are free under "
                f"{self._settings.home}: free some disk"
            )

    def _check(self, restored: Store, force: bool) -> Mapping[str, int]:
        """Check that the store may become the active one; returns what would be lost of it."""
        state, terms_version = restored.state(), self._pipeline.space.version
        if state.terms_version not in ("", terms_version):
            raise BadCommand(
                f"it holds terms of {state.terms_version}, settings give {terms_version}: restart the worker "
                "with the term space of the snapshot (terms.space), then restore"
            )
        lost = self._deleted_since(restored.positions.next_offsets(), restored.positions.logs())
        counts = {place: count or 0 for place, count in lost.items()}
        if lost and not force:
            places = ", ".join(
                f"{count} of {place}" if count is not None else f"some of {place}, whose topic was created again since"
                for place, count in sorted(lost.items())
            )
            raise BadCommand(
                f"{sum(counts.values())} embeddings that came since are no longer in Kafka ({places}), and images "
                "decided since would be lost: force = true restores all the same"
            )
        return counts

    def _begin(self, command: pb.Command, fetched: _Fetched) -> Stage:
        """Note where the images of the active store are, whose files and clusters are read from now on."""
        corpus = self._pipeline.corpus
        # Rows that are copied hold the vectors of the store or zeros, but for those of images that are dropped later.
        corpus.erase_dropped()
        return Stage(partial(self._prepare, command, fetched, corpus.columns(len(corpus))), abandon=self._abandon)

    def _prepare(self, command: pb.Command, fetched: _Fetched, began: Columns) -> Finish:
        """Make the files of the restored store and compare its clusters, while the stream runs."""
        # Repairs may move images. They need a store that stands still, and its files follow from it.
        sound = not fetched.survey.findings
        files = self._make_files(fetched.store) if sound else None
        self._making.doing = "comparing clusters"
        changes = changed_heads(self._store, fetched.store, self._making.check) if sound else None
        return partial(self._hold, command, fetched, _Made(files, began, changes))

    def _make_files(self, restored: Store) -> Path:
        """Make vectors, term index and checkpoint of the restored store, in a process."""
        home = self._settings.home
        files = unfinished_path(home)
        restored.flush()
        restored.sync()
        files.mkdir(parents=True)
        order = FilesOrder(
            files / "checkpoint", files, self._settings.vectors_path, self._settings.index_path, self._models
        )
        restored.checkpoint(order.checkpoint)
        self._making.make("files of the other store", order)
        shutil.rmtree(order.checkpoint)
        begin_noting(restored, restored.state())
        return files

    def _hold(self, command: pb.Command, fetched: _Fetched, made: _Made) -> Stage:
        """Have the stream wait, so that the active store stands still."""
        self._making.doing = "completing the other store"
        complete = partial(self._complete, command, fetched, made, self._moved_since(made.began))
        return Stage(complete, hold=True, abandon=self._abandon)

    def _moved_since(self, began: Columns) -> _Moved:
        corpus, known = self._pipeline.corpus, len(began.heads)
        now = corpus.columns(len(corpus))
        moved = np.flatnonzero(now.heads[:known] != began.heads)
        later = range(known, len(now.heads))
        ids = [corpus.id_of(ordinal) for ordinal in (*moved.tolist(), *later)]
        return _Moved(moved[now.heads[moved] == 0], [*filter(None, ids), *self._forgotten_ahead])

    def _complete(self, command: pb.Command, fetched: _Fetched, made: _Made, moved: _Moved) -> Finish:
        """Give the restored store everything that it takes over, in a thread."""
        restored, present, now_ms = fetched.store, self._store.state(), self._clock.now_ms()
        forgotten = fetched.forgotten | forgotten_of(self._store, restored, self._forgotten_ahead)
        compared = {*moved.ids, *moved_by_forgetting(restored, forgotten.images)}
        carried = carry_over(self._store, restored, self._promotion(command, fetched, present, now_ms))
        repair_surveyed(restored, fetched.survey, now_ms)
        forget_again(restored, forgotten, command.command_id, now_ms)
        ahead = overrides_ahead(self._store, command.command_id)
        deferred = list(dict.fromkeys([*ahead, *unmet_after_restore(restored)]))
        changes = None if made.changes is None else compare_again(made.changes, self._store, restored, compared)
        published = compensate(self._store, restored, command.command_id, now_ms, self._making.check, changes)
        state = restored.state()
        if made.files is not None:
            copied = moved.dropped[moved.dropped < state.shared.end]
            correct_rows(made.files, restored, state, self._models, copied)
            keep(made.files, self._settings.store_path)
        values = {
            "replaced_images": present.images,
            "replaced_digest": present.digest.hex(),
            "images": state.images,
            "clusters": state.clusters,
            "digest": state.digest.hex(),
            "embeddings_lost": sum(fetched.lost.values()),
            "forgotten_again": len(forgotten.images),
            "mended": len(fetched.survey.findings),
            "overrides_kept": carried.overrides,
            "overrides_unmet": carried.overrides_unmet,
            "published_again": published.again,
            "published_gone": published.gone,
            "classifier": state.classifier_version or self._pipeline.scorer.version,
        }

        texts = {name: str(value) for name, value in values.items()}
        return partial(self._finish, command, restored, texts, present, deferred)

    def _finish(
        self,
        command: pb.Command,
        restored: Store,
        values: Mapping[str, str],
        expected: store_pb.StoreState,
        deferred: Sequence[str],
    ) -> ReplaceStore:
        present = self._store.state()
        if (present.sequence, present.commands) != (expected.sequence, expected.commands):
            raise BadCommand("images were decided while the restored store was completed: send the command again")
        append_outbox(self._store, restored, expected.outbox_number)
        state = restored.state()

        def write(batch: Batch, _state: store_pb.StoreState) -> None:
            defer_overrides(batch, deferred)

        return ReplaceStore(
            values,
            restored,
            state,
            partial(self._swap, command),
            write,
            f"command {command.command_id}: the worker opens the restored store",
        )

    def _promotion(
        self, command: pb.Command, fetched: _Fetched, present: store_pb.StoreState, now_ms: int
    ) -> store_pb.Promotion | None:
        """The change of classifier that the restore makes."""
        active = self._pipeline.scorer.version
        version = fetched.classifier or fetched.store.state().classifier_version or self._unpromoted
        if version == active:
            return None
        return store_pb.Promotion(
            version=version,
            replaced=active,
            command_id=command.command_id,
            issued_by=command.issued_by,
            at_ms=now_ms,
            sequence=present.sequence,
        )

    def _abandon(self) -> None:
        """End a command that is not continued."""
        self.close()
        remove_next(self._settings.store_path)
        remove_unfinished(self._settings.home)
        remove(self._settings.store_path)

    def _swap(self, command: pb.Command) -> None:
        self.close()
        decide_swap(self._settings.store_path, f"{command.name} {command.command_id}")


def _check_most(images: int, most: int | None) -> None:
    if most is not None and images > most:
        raise BadCommand(
            f"the store that would be replaced holds {images} images, at most {most} were allowed: if they may be "
            "replaced, send it with more allowed, or without the limit"
        )
