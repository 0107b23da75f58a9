"""`snapshot`: a consistent copy of the store on S3, without a pause that anyone would notice.

Flushed in a thread; then, between two steps, a RocksDB checkpoint, which is hard links of files that never change;
then, in a thread again, what S3 does not have of it is uploaded and verified, and the manifest is put. Takes no
argument. What follows from the store (term index, vector files) is not in it.
"""

import logging
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from neardup_platform.errors import NeardupError
from neardup_platform.settings import Settings
from neardup_platform.store.writer import Store
from neardup_platform.stream.control.command import BadCommand, Finish, Outcome, check_arguments
from neardup_platform.stream.snapshots.snapshot_manifest import Manifest, snapshot_id
from neardup_platform.wire import neardup_pb2 as pb

log = logging.getLogger(__name__)

NAME = "snapshot"
# Of a checkpoint that is being uploaded, under NEARDUP_HOME.
_FOLDER = "checkpoint-"


class Snapshot:
    """The handler.

    Args:
        settings: resolved.
        store: the one in force.
        classifier: version of the classifier that decides.
    """

    def __init__(self, settings: Settings, store: Store, classifier: Callable[[], str]) -> None:
        self._settings = settings
        self._store = store
        self._classifier = classifier
        self._interrupted = threading.Event()

    def __call__(self, command: pb.Command) -> Finish:
        """The first half: see that S3 is there, and have little left to flush.

        Raises:
            NeardupError: it is refused; the text says why.
        """
        # boto3 takes a third of a second to import, and most starts do without.
        from neardup_platform.s3_client import ensure_bucket, open_s3

        check_arguments(command, set(), set())
        self._interrupted.clear()
        ensure_bucket(open_s3(self._settings.s3), self._settings.s3)
        remove_checkpoints(self._settings.home)
        self._store.flush()
        return partial(self._take, command)

    def _take(self, command: pb.Command) -> Outcome:
        folder = self._settings.home / f"{_FOLDER}{snapshot_id(command)}"
        begun = time.perf_counter()
        self._store.checkpoint(folder)
        pause_ms = 1_000 * (time.perf_counter() - begun)
        state = self._store.state()
        manifest = Manifest(
            snapshot=snapshot_id(command),
            taken_ms=time.time_ns() // 1_000_000,
            command_id=command.command_id,
            issued_by=command.issued_by,
            store_format=state.format,
            store_id=state.store_id,
            images=state.images,
            clusters=state.clusters,
            sequence=state.sequence,
            digest=state.digest.hex(),
            positions={
                f"{topic}[{number}]": offset for (topic, number), offset in self._store.positions.next_offsets().items()
            },
            terms_version=state.terms_version,
            classifier_version=self._classifier(),
            promoted_version=state.classifier_version,
            settings=self._settings.fingerprint(),
            files=(),
        )
        return Outcome({}, more=partial(self._upload, folder, manifest, pause_ms))

    def _upload(self, folder: Path, manifest: Manifest, pause_ms: float) -> Finish:
        from neardup_platform.s3_client import open_s3
        from neardup_platform.stream.snapshots.s3_snapshots import describe_files, put_snapshot

        s3, bucket = open_s3(self._settings.s3), self._settings.s3.bucket
        # Nothing that a power cut here could take leaves this machine.
        self._store.sync()
        try:
            whole = replace(manifest, files=describe_files(folder))
            uploaded = put_snapshot(s3, bucket, folder, whole, self._going_on)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        values = {
            "snapshot": whole.snapshot,
            "images": whole.images,
            "clusters": whole.clusters,
            "digest": whole.digest,
            "files": len(whole.files),
            "bytes": whole.bytes,
            "uploaded_bytes": uploaded,
            "pause_ms": f"{pause_ms:.1f}",
            "taken_after": whole.sequence,
        }
        told = {name: str(value) for name, value in values.items()}
        return partial(Outcome, told | self._prune(s3, bucket))

    def _prune(self, s3: Any, bucket: str) -> dict[str, str]:
        """Delete the oldest snapshots where the settings say how many are kept; a failure is reported, no refusal."""
        from neardup_platform.stream.snapshots.s3_snapshot_retention import prune_snapshots

        keep = self._settings.snapshots.keep
        if keep is None:
            return {}
        try:
            removed = prune_snapshots(s3, bucket, keep, now_ms=time.time_ns() // 1_000_000)
        except NeardupError as error:
            log.warning("older snapshots could not be deleted: %s", error)
            return {"pruned": "0", "prune_problem": str(error)}
        if removed.problem:
            log.warning("files of deleted snapshots stay: %s", removed.problem)
        return {"pruned": str(len(removed.snapshots)), "prune_problem": removed.problem}

    def interrupt(self) -> None:
        """See `Interruptible`."""
        self._interrupted.set()

    def _going_on(self) -> None:
        if self._interrupted.is_set():
            raise BadCommand("it was cancelled")


def remove_checkpoints(home: Path) -> None:
    """Remove what a snapshot that was killed left behind."""
    for left in home.glob(f"{_FOLDER}*"):
        shutil.rmtree(left, ignore_errors=True)
