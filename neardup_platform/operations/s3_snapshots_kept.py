"""Which snapshots stay on S3, and whether they are whole: one function each for the command line and for Dagster."""

from neardup_platform.clock import SystemClock
from neardup_platform.s3_client import open_s3
from neardup_platform.settings import Settings
from neardup_platform.stream.snapshots.s3_snapshot_retention import Removed, prune_expired, prune_snapshots
from neardup_platform.stream.snapshots.s3_snapshot_verification import Verified, verify_snapshot
from neardup_platform.stream.snapshots.s3_snapshots import whole_ids


def prune(settings: Settings, keep: int | None, older_than_s: float, *, dry_run: bool) -> Removed:
    """Delete the snapshots that are kept no longer, and the files that no other one names.

    Args:
        settings: resolved.
        keep: how many of the newest stay, by hand and scheduled; None: the policy of the settings chooses.
        older_than_s: with `keep`, younger ones stay as well.
        dry_run: only report what would be deleted.

    Raises:
        ServerUnavailable: S3 does not answer, or refuses; the next run completes what was started.
    """
    s3, bucket, now_ms = open_s3(settings.s3), settings.s3.bucket, SystemClock().now_ms()
    if keep is None:
        return prune_expired(s3, bucket, settings.snapshots, now_ms=now_ms, dry_run=dry_run)
    return prune_snapshots(s3, bucket, keep, older_than_s, now_ms=now_ms, dry_run=dry_run)


def stored(settings: Settings) -> list[str]:
    """The ids of the snapshots on S3, oldest first.

    Raises:
        ServerUnavailable: S3 does not answer.
    """
    return whole_ids(open_s3(settings.s3), settings.s3.bucket)


def verify(settings: Settings, snapshot: str, *, read_files: bool) -> Verified:
    """Check that a snapshot is whole; see `verify_snapshot`."""
    return verify_snapshot(open_s3(settings.s3), settings.s3.bucket, snapshot, read_files=read_files)
