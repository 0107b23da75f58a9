"""Deletes snapshots from S3, by id, by age or by the policy of the settings, and the files that no other one names.

Snapshots share files by content, so the order makes it safe:

1. delete the manifests of the snapshots; from here on these do not exist
2. read all other manifests, and the lists of files of snapshots being written: they name what must stay
3. move unnamed files to `snapshots/trash/` in small batches; before and after each batch repeat step 2 for what has
   come since; move back what is named now, and delete the rest

A snapshot being written puts its list of files before it checks which of them exist, and checks again once its manifest
exists (s3_snapshots.py). So either it finds a file missing and uploads it, or step 3 finds its list. Files younger than
`GRACE_S` are never deleted. A run that is killed leaves unnamed files, or some in the trash, for the next run. A
manifest that cannot be read may name any file: then none is deleted.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from neardup_platform.errors import BadArtefact, NotFound, ServerUnavailable
from neardup_platform.settings import SnapshotSettings
from neardup_platform.stream.snapshots.s3_snapshots import (
    list_objects,
    list_snapshots,
    read_manifest,
    read_writing,
    snapshot_ids,
)
from neardup_platform.stream.snapshots.snapshot_manifest import (
    FILES_PREFIX,
    TRASH_PREFIX,
    Manifest,
    check_id,
    is_file_name,
    manifest_key,
    snapshot_prefix,
    writing_key,
)

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
# A snapshot of an older version, which lists no files beforehand, is written in less time than this.
GRACE_S = 3_600.0
# A list of files this old belongs to a snapshot that is not being written any more.
ABANDONED_S = 7 * 24 * 3_600.0
_BATCH = 100


@dataclass(frozen=True, slots=True)
class Removed:
    """What was deleted, or would be.

    Attributes:
        snapshots: ids, oldest first.
        kept: ids of the others, oldest first.
        files, bytes: number and size of the files that no snapshot names any more.
        problem: why no file could be deleted; empty where files could.
    """

    snapshots: Sequence[str] = ()
    kept: Sequence[str] = ()
    files: int = 0
    bytes: int = 0
    problem: str = ""


def choose(snapshots: Sequence[Manifest], keep: int, older_than_s: float, now_ms: int) -> list[str]:
    """Choose the snapshots to delete: those beyond the newest `keep` that are older than `older_than_s`. Pure.

    Args:
        snapshots: usable ones, in any order.
        keep: how many of the newest stay whatever their age, at least 0.
        older_than_s: younger ones stay as well.

    Returns:
        Ids, oldest first.
    """
    old = [m.snapshot for m in _newest_first(snapshots)[keep:] if now_ms - m.taken_ms >= 1_000 * older_than_s]
    return old[::-1]


def expired(snapshots: Sequence[Manifest], policy: SnapshotSettings) -> list[str]:
    """Choose the snapshots that the policy keeps no longer. Pure.

    Hours and days without a snapshot do not count, so an idle schedule loses none.

    Args:
        snapshots: usable ones, in any order.

    Returns:
        Ids, oldest first.
    """
    newest_first = _newest_first(snapshots)
    by_hand = [m for m in newest_first if not m.scheduled]
    scheduled = [m for m in newest_first if m.scheduled]
    kept = {
        *_newest_of_each(scheduled, _HOUR_MS, policy.keep_hourly),
        *_newest_of_each(scheduled, _DAY_MS, policy.keep_daily),
        *(m.snapshot for m in by_hand[: policy.keep]),
    }
    return [m.snapshot for m in reversed(newest_first) if m.snapshot not in kept]


def _newest_first(snapshots: Sequence[Manifest]) -> list[Manifest]:
    return sorted(snapshots, key=lambda manifest: (manifest.taken_ms, manifest.snapshot), reverse=True)


def _newest_of_each(newest_first: Sequence[Manifest], span_ms: int, most: int) -> list[str]:
    """The newest snapshot of each of the last `most` spans of time that have one."""
    newest: dict[int, str] = {}
    for manifest in newest_first:
        newest.setdefault(manifest.taken_ms // span_ms, manifest.snapshot)
    return list(newest.values())[:most]


def prune_snapshots(
    s3: Any, bucket: str, keep: int, older_than_s: float = 0.0, *, now_ms: int, dry_run: bool = False
) -> Removed:
    """Delete all snapshots but the newest `keep` and those younger than `older_than_s`, and the files left over.

    Damaged snapshots do not count and stay: use `delete_snapshots` for them.

    Raises:
        ServerUnavailable: S3 does not answer, or refuses; the next run completes what was started.
    """
    going = choose(_usable(s3, bucket), keep, older_than_s, now_ms)
    return delete_snapshots(s3, bucket, going, now_ms=now_ms, dry_run=dry_run)


def prune_expired(s3: Any, bucket: str, policy: SnapshotSettings, *, now_ms: int, dry_run: bool = False) -> Removed:
    """Delete the snapshots that the policy keeps no longer, and the files left over; see `prune_snapshots`."""
    return delete_snapshots(s3, bucket, expired(_usable(s3, bucket), policy), now_ms=now_ms, dry_run=dry_run)


def delete_snapshots(
    s3: Any, bucket: str, snapshots: Collection[str], *, now_ms: int, dry_run: bool = False
) -> Removed:
    """Delete snapshots, also damaged ones, and the files that no other snapshot names.

    Raises:
        BadSnapshotId: one is not an id.
        NotFound: a snapshot does not exist; nothing is deleted.
        ServerUnavailable: as of `prune_snapshots`.
    """
    there = snapshot_ids(s3, bucket)
    for snapshot in snapshots:
        if check_id(snapshot) not in there:
            raise NotFound(f"there is no snapshot {snapshot}: `neardup snapshot list` names those there are")
    going = sorted(set(snapshots))
    kept = sorted(set(there) - set(going))
    if not dry_run:
        for snapshot in going:
            _delete(s3, bucket, [manifest_key(snapshot), writing_key(snapshot)])
    files, size, problem = _sweep(s3, bucket, frozenset(going), now_ms, dry_run)
    return Removed(going, kept, files, size, problem)


@dataclass(slots=True)
class _Named:
    """The files that must stay, by SHA-256. A manifest is read once, because it never changes."""

    s3: Any
    bucket: str
    without: frozenset[str]
    now_ms: int
    files: set[str] = field(default_factory=set)
    whole: set[str] = field(default_factory=set)

    def refresh(self) -> str:
        """Read what has come since; returns why unknown files may be named, or nothing."""
        for snapshot in snapshot_ids(self.s3, self.bucket):
            if snapshot in self.without or snapshot in self.whole:
                continue
            for key, _, changed_ms in list_objects(self.s3, self.bucket, snapshot_prefix(snapshot)):
                try:
                    self._read(snapshot, key, changed_ms)
                except NotFound:
                    continue
                except BadArtefact as error:
                    return f"{error}; it may need any file: `neardup snapshot delete {snapshot}` removes it"
        return ""

    def _read(self, snapshot: str, key: str, changed_ms: int) -> None:
        if key == manifest_key(snapshot):
            self.files |= {file.sha256 for file in read_manifest(self.s3, self.bucket, snapshot).files}
            self.whole.add(snapshot)
        elif key == writing_key(snapshot) and self.now_ms - changed_ms <= 1_000 * ABANDONED_S:
            self.files |= read_writing(self.s3, self.bucket, snapshot)


def _sweep(s3: Any, bucket: str, without: frozenset[str], now_ms: int, dry_run: bool) -> tuple[int, int, str]:
    """Delete unnamed files; returns how many, their bytes, and the reason where none may be deleted."""
    named = _Named(s3, bucket, without, now_ms)
    problem = named.refresh()
    if problem:
        return 0, 0, problem
    if not dry_run:
        _empty_trash(s3, bucket, named)
    files = size = 0
    unnamed = (
        (key, length)
        for key, length, changed_ms in list_objects(s3, bucket, FILES_PREFIX)
        if is_file_name(_sha256_of(key))
        and _sha256_of(key) not in named.files
        and now_ms - changed_ms > 1_000 * GRACE_S
    )
    while batch := list(islice(unnamed, _BATCH)):
        if not dry_run:
            batch, problem = _delete_batch(s3, bucket, batch, named)
        files += len(batch)
        size += sum(length for _, length in batch)
        if problem:
            break
    return files, size, problem


def _delete_batch(
    s3: Any, bucket: str, batch: list[tuple[str, int]], named: _Named
) -> tuple[list[tuple[str, int]], str]:
    """Delete files that are still unnamed, and put back those named in the meantime; returns what was deleted."""
    problem = named.refresh()
    if problem:
        return [], problem
    going = [(key, length) for key, length in batch if _sha256_of(key) not in named.files]
    for key, _ in going:
        _copy(s3, bucket, key, TRASH_PREFIX + _sha256_of(key))
        _delete(s3, bucket, [key])
    problem = named.refresh()
    if not problem:
        _empty_trash(s3, bucket, named)
    return [(key, length) for key, length in going if _sha256_of(key) not in named.files], problem


def _empty_trash(s3: Any, bucket: str, named: _Named) -> None:
    """Put back what is named, and delete the rest, including what a killed run left there."""
    for key, _, _ in list_objects(s3, bucket, TRASH_PREFIX):
        sha256 = key.removeprefix(TRASH_PREFIX)
        if sha256 in named.files:
            _copy(s3, bucket, key, FILES_PREFIX + sha256)
        _delete(s3, bucket, [key])


def _sha256_of(key: str) -> str:
    return key.removeprefix(FILES_PREFIX)


def _copy(s3: Any, bucket: str, key: str, to: str) -> None:
    try:
        s3.copy_object(Bucket=bucket, Key=to, CopySource={"Bucket": bucket, "Key": key})
    except (BotoCoreError, ClientError) as error:
        raise ServerUnavailable(f"copying s3://{bucket}/{key} to {to} failed: {error}; repeat it") from error


def _usable(s3: Any, bucket: str) -> list[Manifest]:
    return [found for found in list_snapshots(s3, bucket) if isinstance(found, Manifest)]


def _delete(s3: Any, bucket: str, keys: Sequence[str]) -> None:
    """Delete keys one by one, because not every S3 can delete many; a missing object is no error."""
    for key in keys:
        try:
            s3.delete_object(Bucket=bucket, Key=key)
        except (BotoCoreError, ClientError) as error:
            raise ServerUnavailable(f"deleting s3://{bucket}/{key} failed: {error}; repeat it") from error
