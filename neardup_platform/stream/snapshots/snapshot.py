"""`snapshot`: a consistent copy of the store on S3, without a noticeable pause of the stream.

The store is flushed in a thread. Then, between two steps, a RocksDB checkpoint is taken, which only links files that
never change. Then, in a thread again, the files that S3 lacks are uploaded and verified, and the manifest is written.
Term index and vector files are not part of it, because they follow from the store.
"""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from neardup_platform.clock import Clock
from neardup_platform.errors import NeardupError
from neardup_platform.pipeline import Pipeline
from neardup_platform.settings import Settings
from neardup_platform.store.writer import Store
from neardup_platform.stream.control.interruption import Interruption
from neardup_platform.stream.control.outcome import Done, Finish, Stage
from neardup_platform.stream.snapshots.snapshot_manifest import Manifest, snapshot_id
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.command_arguments import SnapshotArguments

log = logging.getLogger(__name__)

# Prefix, under NEARDUP_HOME, of checkpoints that are being uploaded.
_FOLDER = "checkpoint-"


class Snapshot:
    """The handler.

    Args:
        pipeline: names the active classifier.
    """

    def __init__(self, settings: Settings, store: Store, pipeline: Pipeline, clock: Clock) -> None:
        self._settings = settings
        self._store = store
        self._pipeline = pipeline
        self._clock = clock
        self._interruption = Interruption()
        # SHA-256 of the files of the last checkpoint, by `FileState`.
        self._described: dict[tuple[int, int, int], str] = {}

    def interrupt(self) -> None:
        """See `Interruptible`."""
        self._interruption.interrupt()

    def __call__(self, command: pb.Command, arguments: SnapshotArguments) -> Finish:
        """Check that S3 answers, and leave little to flush; see `Handler`."""
        # boto3 takes a third of a second to import, and most starts do without.
        from neardup_platform.s3_client import ensure_bucket, open_s3

        self._interruption.clear()
        ensure_bucket(open_s3(self._settings.s3), self._settings.s3)
        remove_checkpoints(self._settings.home)
        self._store.flush()
        return partial(self._take, command, arguments)

    def _take(self, command: pb.Command, arguments: SnapshotArguments) -> Stage:
        folder = self._settings.home / f"{_FOLDER}{snapshot_id(command)}"
        started_s = self._clock.monotonic_s()
        self._store.checkpoint(folder)
        pause_ms = 1_000 * (self._clock.monotonic_s() - started_s)
        return Stage(partial(self._upload, folder, self._manifest(command, arguments), pause_ms))

    def _manifest(self, command: pb.Command, arguments: SnapshotArguments) -> Manifest:
        """The manifest of the present state, without its files."""
        state, positions = self._store.state(), self._store.positions.next_offsets()
        return Manifest(
            snapshot=snapshot_id(command),
            taken_ms=self._clock.now_ms(),
            command_id=command.command_id,
            issued_by=command.issued_by,
            store_format=state.format,
            store_id=state.store_id,
            images=state.images,
            clusters=state.clusters,
            sequence=state.sequence,
            digest=state.digest.hex(),
            positions={f"{topic}[{number}]": offset for (topic, number), offset in positions.items()},
            terms_version=state.terms_version,
            classifier_version=self._pipeline.scorer.version,
            promoted_version=state.classifier_version,
            settings=self._settings.fingerprint(),
            files=(),
            scheduled=arguments.scheduled,
        )

    def _upload(self, folder: Path, manifest: Manifest, pause_ms: float) -> Finish:
        from neardup_platform.s3_client import open_s3
        from neardup_platform.stream.snapshots.s3_snapshots import describe_files, put_snapshot

        s3, bucket = open_s3(self._settings.s3), self._settings.s3.bucket
        # Nothing that a power cut could still undo here may leave this machine.
        self._store.sync()
        try:
            whole = replace(manifest, files=describe_files(folder, self._described))
            uploaded = put_snapshot(s3, bucket, folder, whole, self._interruption.check)
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
            **self._prune(s3, bucket, whole),
        }
        return partial(Done, {name: str(value) for name, value in values.items()})

    def _prune(self, s3: Any, bucket: str, taken: Manifest) -> Mapping[str, str]:
        """Delete the snapshots that the settings keep no longer; a failure is only reported."""
        from neardup_platform.stream.snapshots.s3_snapshot_retention import prune_expired

        policy = self._settings.snapshots
        if not taken.scheduled and policy.keep is None:
            return {}
        try:
            removed = prune_expired(s3, bucket, policy, now_ms=self._clock.now_ms())
        except NeardupError as error:
            log.warning("older snapshots could not be deleted: %s", error)
            return {"pruned": "0", "prune_problem": str(error)}
        if removed.problem:
            log.warning("files of deleted snapshots stay: %s", removed.problem)
        return {"pruned": str(len(removed.snapshots)), "prune_problem": removed.problem}


def remove_checkpoints(home: Path) -> None:
    """Remove the checkpoints of an attempt that was killed."""
    for left in home.glob(f"{_FOLDER}*"):
        shutil.rmtree(left, ignore_errors=True)
