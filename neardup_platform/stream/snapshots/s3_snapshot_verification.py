"""Whether a snapshot on S3 is whole: its manifest is read again, and every file that it names is looked up.

A file's name is its SHA-256, and it was compared with that name when it was uploaded, so its size tells whether it is
there. To find bytes that have changed since, every file is read, as a restore does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from neardup_platform.errors import BadArtefact, NotFound
from neardup_platform.stream.snapshots.s3_snapshots import digest_of, list_objects, read_manifest
from neardup_platform.stream.snapshots.snapshot_manifest import FILES_PREFIX, Manifest, StoredFile, check_id

RECOVERY = (
    "Take another snapshot now, with the job `snapshot` or `neardup snapshot`; then remove this one with "
    "`neardup snapshot delete`, so that nobody relies on it."
)
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found.

    Attributes:
        manifest: None if it cannot be used.
        damage: what is wrong, a line for each file; empty if the snapshot is whole.
    """

    manifest: Manifest | None
    damage: tuple[str, ...]

    @property
    def summary(self) -> str:
        """One line: that it is whole, or what is wrong, at most ten of the lines."""
        if self.manifest is not None and not self.damage:
            return f"all {len(self.manifest.files)} files are there, {self.manifest.bytes / 1e6:.1f} MB"
        more = f"; and {len(self.damage) - _SHOWN} more" if len(self.damage) > _SHOWN else ""
        return "; ".join(self.damage[:_SHOWN]) + more


def verify_snapshot(
    s3: Any, bucket: str, snapshot: str, *, read_files: bool = False, checked: Callable[[int], None] = lambda _: None
) -> Verified:
    """Check a snapshot.

    Args:
        read_files: read every byte and compare it with its SHA-256; otherwise only sizes are compared.
        checked: called with the bytes of each file that was read.

    Raises:
        BadSnapshotId: the id is none.
        ServerUnavailable: S3 does not answer.
    """
    try:
        manifest = read_manifest(s3, bucket, check_id(snapshot))
    except (NotFound, BadArtefact) as error:
        return Verified(None, (str(error),))
    sizes = {key: size for key, size, _ in list_objects(s3, bucket, FILES_PREFIX)}
    damage = [line for file in manifest.files if (line := _wrong_size(file, sizes.get(file.key)))]
    if read_files and not damage:
        for file in {file.sha256: file for file in manifest.files}.values():
            found = digest_of(s3, bucket, file.key)
            if found != file.sha256:
                damage.append(f"{file.name} has other bytes than when it was uploaded: SHA-256 {found}")
            checked(file.bytes)
    return Verified(manifest, tuple(damage))


def _wrong_size(file: StoredFile, found: int | None) -> str:
    if found is None:
        return f"{file.name} ({file.key}) is missing"
    return "" if found == file.bytes else f"{file.name} has {found} bytes, {file.bytes} were uploaded"
