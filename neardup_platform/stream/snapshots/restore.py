"""`restore`: the state of a snapshot in place of the present one.

Fetched, verified and opened beside the active store, in a thread, while the stream goes on. Between two steps what
does not go back is carried over (carry_over.py), contradictions among its clusters are mended (repair.py), and the
exchange is decided (store_swap.py). The worker then restarts over the other store, whose positions have gone back
with it: embeddings since are read again from Kafka and decided again, under new sequence numbers.

| argument | |
|---|---|
| `snapshot` | its id |
| `undo` | `true`, instead of `snapshot`: back to the store that the last restore replaced |
| `force` | `true`: although retention has deleted embeddings since, which are then lost |
"""

import shutil
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial

from neardup_platform.errors import SetupError
from neardup_platform.settings import Settings
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.survey import Survey
from neardup_platform.store.swap import StoreReplaced, before_path, copy_store, decide_swap, next_path, remove_next
from neardup_platform.store.writer import Batch, Store
from neardup_platform.stream.control.command import BadCommand, Finish, Outcome, check_arguments, flag
from neardup_platform.stream.corrections.ahead import overrides_ahead, put_to_meet
from neardup_platform.stream.corrections.carry_over import carry_over
from neardup_platform.stream.corrections.forget_again import Forgotten, forget_again, forgotten_of, forgotten_since
from neardup_platform.stream.repair import mend
from neardup_platform.stream.snapshots.snapshot_manifest import Manifest, check_id
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import Log

NAME = "restore"
# Beside a downloaded store so much disk must stay free.
_SPARE_BYTES = 256 << 20

Positions = Mapping[tuple[str, int], int]
Logs = Mapping[tuple[str, int], Log]


class Restore:
    """The handler.

    Args:
        settings: resolved.
        store: the one in force.
        terms_version: of the term space of the settings.
        classifier: version of the classifier that decides.
        unpromoted: version of the one that decides where none was promoted.
        check_classifier: raises where a version cannot decide here.
        deleted_since: how many embeddings after positions are no longer in the log, by partition; None: not known.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        terms_version: str,
        classifier: Callable[[], str],
        unpromoted: str,
        check_classifier: Callable[[str], object],
        deleted_since: Callable[[Positions, Logs], Mapping[str, int | None]],
    ) -> None:
        self._settings = settings
        self._store = store
        self._terms_version = terms_version
        self._classifier = classifier
        self._unpromoted = unpromoted
        self._check_classifier = check_classifier
        self._deleted_since = deleted_since
        self._next: Store | None = None
        self._forgotten_ahead: list[str] = []
        self._interrupted = threading.Event()

    def __call__(self, command: pb.Command) -> Finish:
        """The first half: everything that takes time or may be refused.

        Raises:
            NeardupError: it is refused; the text says why.
        """
        arguments = check_arguments(command, set(), {"snapshot", "undo", "force"})
        undo, force = flag(arguments, "undo"), flag(arguments, "force")
        if undo == ("snapshot" in arguments):
            raise BadCommand("restore takes either `snapshot`, an id, or `undo` = `true`")
        self.close()
        self._forgotten_ahead.clear()
        self._interrupted.clear()
        remove_next(self._settings.store_path)
        try:
            classifier = self._undo() if undo else self._fetch(arguments["snapshot"])
            self._next = Store(next_path(self._settings.store_path))
            lost = self._check(self._next, force)
            forgotten = forgotten_since(self._store, self._next)
            survey = Survey(self._next)
        except Exception:
            self.close()
            remove_next(self._settings.store_path)
            raise
        return partial(self._finish, command, self._next, classifier, lost, forgotten, survey)

    def forgotten(self, image_id: str) -> None:
        """An image is forgotten ahead of a restore: it is looked for in the restored store, too."""
        self._forgotten_ahead.append(image_id)

    def interrupt(self) -> None:
        """See `Interruptible`."""
        self._interrupted.set()

    def _going_on(self) -> None:
        if self._interrupted.is_set():
            raise BadCommand("it was cancelled")

    def close(self) -> None:
        """Leave the store of an attempt that came to nothing."""
        if self._next is not None:
            self._next.close()
            self._next = None

    def _undo(self) -> str:
        """Copy the store before; returns which classifier decided then."""
        before = before_path(self._settings.store_path)
        if not before.exists():
            raise BadCommand("no restore was done here, so there is none to undo")
        copy_store(before, next_path(self._settings.store_path))
        return ""

    def _fetch(self, snapshot: str) -> str:
        """Download a snapshot; returns which classifier decided then."""
        # boto3 takes a third of a second to import, and most starts do without.
        from neardup_platform.s3_client import open_s3
        from neardup_platform.stream.snapshots.s3_snapshots import download_files, read_manifest

        s3, bucket = open_s3(self._settings.s3), self._settings.s3.bucket
        manifest = read_manifest(s3, bucket, check_id(snapshot))
        self._check_manifest(manifest)
        download_files(s3, bucket, manifest.files, next_path(self._settings.store_path), self._going_on)
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
        """Whether the store may be put in force; returns what would be lost of it."""
        state = restored.state()
        if state.terms_version not in ("", self._terms_version):
            raise BadCommand(
                f"it holds terms of {state.terms_version}, settings give {self._terms_version}: restart the worker "
                "with the term space of then (terms.space), then restore"
            )
        lost = self._deleted_since(restored.positions.next_offsets(), restored.positions.logs())
        counts = {place: count or 0 for place, count in lost.items()}
        if lost and not force:
            places = ", ".join(
                f"{count} of {place}" if count is not None else f"some of {place}, whose topic was made again since"
                for place, count in sorted(lost.items())
            )
            raise BadCommand(
                f"{sum(counts.values())} embeddings that came since are no longer in Kafka ({places}), and images "
                "decided since would be lost: force = true restores all the same"
            )
        return counts

    def _finish(
        self,
        command: pb.Command,
        restored: Store,
        classifier: str,
        lost: Mapping[str, int],
        forgotten: Forgotten,
        survey: Survey,
    ) -> Outcome:
        present, then = self._store.state(), restored.state()
        forgotten |= forgotten_of(self._store, restored, self._forgotten_ahead)
        to_meet = overrides_ahead(self._store, command.command_id)
        carried = carry_over(self._store, restored, self._promotion(command, classifier, present, then))
        mend(restored, survey)
        forget_again(restored, forgotten, command.command_id, time.time_ns() // 1_000_000)
        state = restored.state()
        values = {
            "replaced_images": present.images,
            "replaced_digest": present.digest.hex(),
            "images": state.images,
            "clusters": state.clusters,
            "digest": state.digest.hex(),
            "embeddings_lost": sum(lost.values()),
            "forgotten_again": len(forgotten.images),
            "mended": len(survey.findings),
            "overrides_kept": carried.overrides,
            "overrides_unmet": carried.overrides_unmet,
            "classifier": state.classifier_version or self._classifier(),
        }
        told = {name: str(value) for name, value in values.items()}

        def write(batch: Batch, _state: store_pb.StoreState) -> None:
            put_to_meet(batch, to_meet)

        return Outcome(told, write=write, apply=partial(self._swap, command), into=(restored, state))

    def _promotion(
        self, command: pb.Command, classifier: str, present: store_pb.StoreState, then: store_pb.StoreState
    ) -> store_pb.Promotion | None:
        """The change of classifier that comes with it."""
        version = classifier or then.classifier_version or self._unpromoted
        if version == self._classifier():
            return None
        return store_pb.Promotion(
            version=version,
            replaced=self._classifier(),
            command_id=command.command_id,
            issued_by=command.issued_by,
            at_ms=time.time_ns() // 1_000_000,
            sequence=present.sequence,
        )

    def _swap(self, command: pb.Command) -> None:
        """Decide the exchange.

        Raises:
            StoreReplaced: always; nothing may be written to the store in force any more.
        """
        self.close()
        decide_swap(self._settings.store_path, f"{command.name} {command.command_id}")
        raise StoreReplaced(f"command {command.command_id}: the worker starts anew over the restored store")
