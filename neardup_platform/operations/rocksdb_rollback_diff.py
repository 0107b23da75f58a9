"""What a rollback would change, image by image: the worker's store compared with the one that would replace it.

A snapshot on S3, or the previous store → **scratch folder in NEARDUP_HOME** + secondary of the active store →
`PartitionDiff`, overrides, forgotten images. Both stores are only read.

Files of a snapshot that the active store still has are linked, after their SHA-256 is compared; the others are
downloaded, as for the rollback itself. The previous store is copied, with links, as for its own return. The folder is
removed afterwards, and one that a killed process left behind with the next comparison.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from neardup_platform.clusters.partition_diff import PartitionDiff, compare_partitions, merge_heads
from neardup_platform.errors import BadCommand, ServerUnavailable, SetupError
from neardup_platform.s3_client import open_s3
from neardup_platform.serving.rocksdb_follower import remove_stale_scratch
from neardup_platform.settings import Settings
from neardup_platform.store.secondary import SecondaryStore
from neardup_platform.store.swap import before_path, copy_store
from neardup_platform.store.view import StoreView, open_checkpoint
from neardup_platform.stream.corrections.deferred_overrides import unmet
from neardup_platform.stream.corrections.forget_again import forgotten_since
from neardup_platform.stream.snapshots.s3_snapshots import download_files, is_whole
from neardup_platform.stream.snapshots.snapshot_manifest import Manifest, StoredFile

# Prefix of the scratch folder; the id of the process follows.
_SCRATCH = "rollback-plan-"
# Disk that must stay free beside a downloaded snapshot.
_SPARE_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class RollbackDiff:
    """What would change.

    Attributes:
        partition: before: the active store; after: the one that would replace it. Images that are gone are decided
            again, as far as Kafka has their embeddings.
        overrides_kept: active before and after.
        overrides_unmet: of them, those whose images are not where the override requires.
        forgotten_again: images of that store that were forgotten since; they do not come back.
    """

    partition: PartitionDiff
    overrides_kept: int
    overrides_unmet: int
    forgotten_again: int


class Stores(NamedTuple):
    """The active store, and the one that would replace it."""

    present: StoreView
    restored: StoreView


@contextmanager
def opened_with_snapshot(settings: Settings, manifest: Manifest) -> Iterator[Stores]:
    """The worker's store and a snapshot.

    Args:
        settings: resolved; of the worker's machine.

    Raises:
        SetupError: the store is not on this machine, or there is not enough disk for the snapshot.
        NotFound, BadArtefact: a file of the snapshot is missing or damaged.
        ServerUnavailable: S3 does not answer, or the store cannot be read yet.
    """
    with _opened(settings, lambda folder: _fetch(settings, manifest, folder)) as stores:
        yield stores


@contextmanager
def opened_with_previous(settings: Settings) -> Iterator[Stores]:
    """The worker's store and the one that the last rollback or reprocess replaced.

    Args:
        settings: resolved; of the worker's machine.

    Raises:
        SetupError: the store is not on this machine.
        BadCommand: nothing was replaced here.
        ServerUnavailable: the stores are being replaced at this moment.
    """

    def copy(folder: Path) -> None:
        previous = before_path(settings.store_path)
        if not previous.exists():
            raise BadCommand(f"no rollback or reprocess was done in {settings.home}, so there is none to undo")
        try:
            copy_store(previous, folder)
        except OSError as error:
            raise ServerUnavailable(f"copying {previous} failed, the worker may be replacing it: {error}") from error

    with _opened(settings, copy) as stores:
        yield stores


def compare_stores(stores: Stores, examples: int = 20) -> RollbackDiff:
    """Compare the active store with the one that would replace it.

    Args:
        examples: most of each kind of change.
    """
    present, restored = stores
    forgotten = set(forgotten_since(present, restored).images)
    heads = ((image_id, head) for image_id, head in restored.images.heads() if image_id not in forgotten)
    partition = compare_partitions(merge_heads(present.images.heads(), heads), examples)
    overrides = present.overrides.all()
    return RollbackDiff(partition, len(overrides), len(unmet(restored, overrides)), len(forgotten))


@contextmanager
def _opened(settings: Settings, fill: Callable[[Path], None]) -> Iterator[Stores]:
    """The active store, and the one that `fill` puts into a folder."""
    if not settings.store_path.exists():
        raise SetupError(f"there is no store at {settings.store_path}: compare on the worker's machine")
    with ExitStack() as opened:
        scratch = opened.enter_context(_scratch_folder(settings.home))
        fill(scratch / "restored")
        present = SecondaryStore(settings.store_path, scratch / "secondary")
        opened.callback(present.close)
        restored = open_checkpoint(scratch / "restored")
        opened.callback(restored.close)
        yield Stores(present, restored)


def _fetch(settings: Settings, manifest: Manifest, folder: Path) -> None:
    folder.mkdir(parents=True)
    linked = sum(file.bytes for file in manifest.files if _link(settings.store_path / file.name, folder, file))
    free, missing = shutil.disk_usage(settings.home).free, manifest.bytes - linked
    if free < missing + _SPARE_BYTES:
        raise SetupError(
            f"{missing / 1e6:.0f} MB of snapshot {manifest.snapshot} would be downloaded to compare it, "
            f"{free / 1e6:.0f} are free under {settings.home}: free some disk"
        )
    download_files(open_s3(settings.s3), settings.s3.bucket, manifest.files, folder)


def _link(source: Path, folder: Path, file: StoredFile) -> bool:
    """Link an immutable file of the active store, if it is that of the snapshot."""
    try:
        if source.suffix != ".sst" or not is_whole(source, file):
            return False
        os.link(source, folder / file.name)
    except OSError:
        # Compacted away meanwhile, or on another disk: it is downloaded.
        return False
    return True


@contextmanager
def _scratch_folder(home: Path) -> Iterator[Path]:
    remove_stale_scratch(home, _SCRATCH)
    folder = home / f"{_SCRATCH}{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
