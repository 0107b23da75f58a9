"""Deleting snapshots on a real S3 server: no file that a snapshot needs is deleted, even beside a writer."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.cli.snapshot_commands import snapshot as snapshot_command
from neardup_platform.errors import NotFound
from neardup_platform.operations.result_values import values_read
from neardup_platform.s3_client import ensure_bucket, open_s3
from neardup_platform.servers.embedded_servers import running_servers
from neardup_platform.settings import Settings, SnapshotSettings
from neardup_platform.stream.snapshots import s3_snapshot_retention as retention
from neardup_platform.stream.snapshots.s3_snapshot_retention import (
    GRACE_S,
    choose,
    delete_snapshots,
    expired,
    prune_expired,
    prune_snapshots,
)
from neardup_platform.stream.snapshots.s3_snapshots import (
    describe_files,
    download_files,
    list_objects,
    list_snapshots,
    put_snapshot,
    read_manifest,
)
from neardup_platform.stream.snapshots.snapshot_manifest import (
    Manifest,
    decode_manifest,
    encode_manifest,
    manifest_key,
    writing_key,
)

HOUR_MS = 3_600_000
TAKEN_MS = 1_700_000_000_000
MANIFEST = Manifest("", 0, "c", "a test", 3, "s", 1, 1, 1, "d", {}, "t", "c", "", "f", ())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with running_servers(Settings(home=tmp_path_factory.mktemp("s3")), kafka=False) as settings:
        yield settings


class Bucket:
    """A bucket of its own; snapshots are numbered by the hour."""

    def __init__(self, server: Settings, folder: Path) -> None:
        name = "b" + sha256(str(folder).encode()).hexdigest()[:20]
        self.settings = server.model_copy(update={"s3": server.s3.model_copy(update={"bucket": name})})
        self.s3, self.name, self.folder = open_s3(self.settings.s3), name, folder
        ensure_bucket(self.s3, self.settings.s3)
        # Files are written now; so much later all are old enough to go.
        self.later_ms = time.time_ns() // 1_000_000 + int(2_000 * GRACE_S)

    def manifest(self, hour: int, *contents: str) -> tuple[Path, Manifest]:
        folder = self.folder / str(hour)
        folder.mkdir(exist_ok=True)
        for content in contents:
            (folder / f"{content}.sst").write_text(content)
        taken_ms = TAKEN_MS + hour * HOUR_MS
        snapshot_id = f"{taken_ms:013d}-{hour:08x}"
        return folder, replace(MANIFEST, snapshot=snapshot_id, taken_ms=taken_ms, files=describe_files(folder))

    def put(self, hour: int, *contents: str, s3: Any = None) -> str:
        folder, manifest = self.manifest(hour, *contents)
        put_snapshot(s3 or self.s3, self.name, folder, manifest)
        return manifest.snapshot

    def keys(self) -> set[str]:
        return {key for key, _, _ in list_objects(self.s3, self.name, "")}

    def files(self) -> set[str]:
        """What the files in the bucket hold."""
        return {
            self.s3.get_object(Bucket=self.name, Key=key)["Body"].read().decode()
            for key in self.keys()
            if key.startswith("snapshots/files/")
        }

    def prune(self, keep: int, *, s3: Any = None, dry_run: bool = False) -> retention.Removed:
        return prune_snapshots(s3 or self.s3, self.name, keep, now_ms=self.later_ms, dry_run=dry_run)

    def delete(self, *snapshots: str) -> retention.Removed:
        return delete_snapshots(self.s3, self.name, snapshots, now_ms=self.later_ms)

    def assert_whole(self, snapshot: str, *contents: str) -> None:
        target = self.folder / f"restored-{snapshot}"
        download_files(self.s3, self.name, read_manifest(self.s3, self.name, snapshot).files, target)
        assert {path.read_text() for path in target.iterdir()} == set(contents)


@pytest.fixture
def bucket(server: Settings, tmp_path: Path) -> Bucket:
    return Bucket(server, tmp_path)


def test_files_go_with_the_last_snapshot_that_names_them(bucket: Bucket) -> None:
    one, two, three = bucket.put(1, "a", "b"), bucket.put(2, "b", "c"), bucket.put(3, "c", "d")
    before = bucket.keys()
    planned = bucket.prune(1, dry_run=True)
    assert bucket.keys() == before
    removed = bucket.prune(2)
    assert (removed.snapshots, removed.kept, removed.files, removed.bytes) == ([one], [two, three], 1, 1)
    assert bucket.files() == {"b", "c", "d"}
    rest = bucket.prune(1)
    assert (rest.snapshots, rest.files) == ([two], 1)
    assert (planned.snapshots, planned.files) == ([one, two], 2)
    bucket.assert_whole(three, "c", "d")
    assert bucket.delete(three).files == 2
    assert bucket.keys() == set()


def test_a_snapshot_that_is_not_there_deletes_nothing(bucket: Bucket) -> None:
    one, _ = bucket.put(1, "a"), bucket.keys()
    with pytest.raises(NotFound, match="snapshot list"):
        bucket.delete(one, "1700000000000-ffffffff")
    bucket.assert_whole(one, "a")


def test_recent_files_and_foreign_objects_stay(bucket: Bucket) -> None:
    one = bucket.put(1, "a")
    strays = [
        "snapshots/README.txt",
        "snapshots/files/notes.txt",
        "snapshots/old stuff/x",
        "snapshots/17-1/manifest.json",
    ]
    for key in strays:
        bucket.s3.put_object(Bucket=bucket.name, Key=key, Body=b"mine")
    assert [m.snapshot for m in list_snapshots(bucket.s3, bucket.name) if isinstance(m, Manifest)] == [one]
    now_ms = time.time_ns() // 1_000_000
    assert prune_snapshots(bucket.s3, bucket.name, 0, now_ms=now_ms).files == 0
    assert prune_snapshots(bucket.s3, bucket.name, 0, now_ms=bucket.later_ms).files == 1
    assert bucket.keys() == set(strays)


def test_a_manifest_that_cannot_be_read_keeps_every_file_until_it_is_deleted_itself(bucket: Bucket) -> None:
    one, two, three = bucket.put(1, "a"), bucket.put(2, "b"), bucket.put(3, "c")
    bucket.s3.put_object(Bucket=bucket.name, Key=manifest_key(two), Body=b"{")
    removed = bucket.prune(1)
    assert (removed.snapshots, removed.files) == ([one], 0)
    assert f"`neardup snapshot delete {two}`" in removed.problem
    assert bucket.files() == {"a", "b", "c"}
    assert bucket.delete(two).files == 2
    bucket.assert_whole(three, "c")


class _Interleaved:
    """An S3 client that lets something else happen just before its n-th call."""

    def __init__(self, s3: Any, at: int, meanwhile: Callable[[], object]) -> None:
        self._s3, self._at, self._meanwhile, self.calls = s3, at, meanwhile, 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._s3, name)

        def call(*arguments: Any, **more: Any) -> Any:
            self.calls += 1
            if self.calls == self._at:
                self._meanwhile()
            return method(*arguments, **more)

        return call


def test_a_snapshot_written_beside_is_whole_wherever_the_pruning_comes(bucket: Bucket) -> None:
    """Only this snapshot still needs the files that it shared."""
    at, calls = 1, 99
    while at <= calls:
        one = bucket.put(1, "a", "b")
        s3 = _Interleaved(bucket.s3, at, partial(bucket.delete, one))
        bucket.assert_whole(bucket.put(2, "a", "b", "c", s3=s3), "a", "b", "c")
        at, calls = at + 1, s3.calls
        bucket.prune(0)
        assert bucket.keys() == set()
    assert calls > 8


def test_a_snapshot_written_at_any_moment_of_a_pruning_is_whole(bucket: Bucket) -> None:
    at, calls = 1, 99
    while at <= calls:
        one = bucket.put(1, "a", "b")
        s3 = _Interleaved(bucket.s3, at, lambda: bucket.put(2, "a", "b", "c"))
        delete_snapshots(s3, bucket.name, [one], now_ms=bucket.later_ms)
        (written,) = list_snapshots(bucket.s3, bucket.name)
        assert isinstance(written, Manifest)
        bucket.assert_whole(written.snapshot, "a", "b", "c")
        at, calls = at + 1, s3.calls
        bucket.prune(0)
        assert bucket.keys() == set()
    assert calls > 8


class _Killed(BaseException):
    pass


def _die() -> None:
    raise _Killed


def test_a_pruning_killed_at_any_call_is_completed_by_the_next(bucket: Bucket) -> None:
    at, killed = 1, True
    while killed:
        bucket.put(1, "a", "b")
        kept = bucket.put(2, "b", "c")
        try:
            bucket.prune(1, s3=_Interleaved(bucket.s3, at, _die))
            killed = False
        except _Killed:
            bucket.assert_whole(kept, "b", "c")
            bucket.prune(1)
        assert bucket.files() == {"b", "c"}
        assert not any("trash" in key for key in sorted(bucket.keys()))
        at += 1
    assert at > 8


def test_an_abandoned_list_of_files_protects_them_for_a_week(bucket: Bucket) -> None:
    _, manifest = bucket.manifest(5, "x")
    bucket.put(1, "x")
    names = json.dumps([file.sha256 for file in manifest.files])
    bucket.s3.put_object(Bucket=bucket.name, Key=writing_key(manifest.snapshot), Body=names.encode())
    assert bucket.prune(0).files == 0
    assert bucket.files() == {"x"}
    bucket.later_ms += int(1_000 * retention.ABANDONED_S)
    assert bucket.prune(0).files == 1


@given(
    ages_s=st.lists(st.integers(0, 100), max_size=12),
    keep=st.integers(0, 5),
    older_than_s=st.integers(0, 100),
)
def test_the_newest_stay_and_so_do_the_young(ages_s: list[int], keep: int, older_than_s: int) -> None:
    now_ms = TAKEN_MS
    snapshots = [
        replace(MANIFEST, snapshot=f"{now_ms - 1_000 * age_s:013d}-{n:08x}", taken_ms=now_ms - 1_000 * age_s)
        for n, age_s in enumerate(ages_s)
    ]
    gone = choose(snapshots, keep, older_than_s, now_ms)
    stay = [m for m in snapshots if m.snapshot not in gone]
    assert len(stay) >= min(keep, len(snapshots))
    assert all(now_ms - int(snapshot[:13]) >= 1_000 * older_than_s for snapshot in gone)
    assert gone == sorted(gone)
    assert sum(now_ms - m.taken_ms >= 1_000 * older_than_s for m in stay) <= keep


def test_the_command_line_reports_what_was_deleted(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neardup_platform.cli.snapshot_commands.resolve", lambda _: bucket.settings)
    monkeypatch.setattr(retention, "GRACE_S", -HOUR_MS)
    one, two = bucket.put(1, "a"), bucket.put(2, "b")
    run = CliRunner().invoke
    planned = json.loads(run(snapshot_command, ["prune", "--keep", "1", "--dry-run", "--json"]).output)
    assert (planned["dry_run"], planned["snapshots"], planned["kept"]) == (True, [one], [two])
    assert (planned["files"], planned["bytes"], planned["problem"]) == (1, 1, "")
    assert "0 snapshots and 0 files" in run(snapshot_command, ["prune", "--keep", "0", "--older-than", "9999d"]).output
    assert "deleted, 1 kept" in run(snapshot_command, ["prune", "--keep", "1", "--older-than", "30d"]).output
    assert run(snapshot_command, ["delete", two]).exit_code == 0
    assert bucket.keys() == set()
    assert run(snapshot_command, ["prune", "--keep", "1", "--older-than", "soon"]).exit_code == 2


def test_numbers_of_a_snapshot_are_numbers() -> None:
    told = values_read(
        "snapshot", {"snapshot": "1700000000000-01234567", "images": "7", "pause_ms": "6.5", "digest": "12"}
    )
    assert told == {"snapshot": "1700000000000-01234567", "images": 7, "pause_ms": 6.5, "digest": "12"}


def hourly(hours: int, **given: object) -> Manifest:
    taken_ms = TAKEN_MS - TAKEN_MS % (24 * HOUR_MS) + hours * HOUR_MS
    return replace(MANIFEST, snapshot=f"{taken_ms:013d}-{hours:08x}", taken_ms=taken_ms, scheduled=True, **given)


def test_of_scheduled_snapshots_the_newest_of_each_hour_and_day_stay() -> None:
    taken = [hourly(hour) for hour in range(72)]
    policy = SnapshotSettings(keep_hourly=4, keep_daily=2)
    going = expired(taken, policy)
    kept = [manifest for manifest in taken if manifest.snapshot not in going]
    assert [manifest.snapshot for manifest in kept] == [taken[n].snapshot for n in (47, 68, 69, 70, 71)]
    assert expired(kept, policy) == []


def test_snapshots_taken_by_hand_stay_unless_the_settings_count_them() -> None:
    by_hand = [replace(hourly(hour), scheduled=False) for hour in range(5)]
    scheduled = [hourly(hour) for hour in range(100, 105)]
    assert expired([*by_hand, *scheduled], SnapshotSettings(keep_hourly=5)) == []
    going = expired([*scheduled, *by_hand], SnapshotSettings(keep=2, keep_hourly=5))
    assert going == [manifest.snapshot for manifest in by_hand[:3]]


@given(
    st.sets(st.integers(0, 2_000), max_size=60).map(sorted),
    st.integers(1, 30),
    st.integers(0, 10),
)
def test_the_newest_is_never_expired_and_thinning_out_twice_changes_nothing(
    hours: list[int], keep_hourly: int, keep_daily: int
) -> None:
    policy = SnapshotSettings(keep_hourly=keep_hourly, keep_daily=keep_daily)
    taken = [hourly(hour) for hour in hours]
    going = expired(taken, policy)
    kept = [manifest for manifest in taken if manifest.snapshot not in going]
    assert len(kept) <= keep_hourly + keep_daily
    assert kept[-1:] == taken[-1:]
    assert expired(kept, policy) == []


def test_an_expired_snapshot_leaves_the_files_that_others_name(server: Settings, tmp_path: Path) -> None:
    bucket = Bucket(server, tmp_path)
    for hour in range(3):
        folder, manifest = bucket.manifest(hour, "shared", f"own-{hour}")
        put_snapshot(bucket.s3, bucket.name, folder, replace(manifest, scheduled=True))
    policy = SnapshotSettings(keep_hourly=1, keep_daily=1)
    planned = prune_expired(bucket.s3, bucket.name, policy, now_ms=bucket.later_ms, dry_run=True)
    assert (len(planned.snapshots), planned.files) == (2, 2)
    removed = prune_expired(bucket.s3, bucket.name, policy, now_ms=bucket.later_ms)
    assert removed == planned
    assert bucket.files() == {"shared", "own-2"}


def test_a_manifest_of_an_earlier_version_was_taken_by_hand() -> None:
    assert not decode_manifest(encode_manifest(replace(MANIFEST, snapshot="1")), "a test").scheduled
    assert b"scheduled" not in encode_manifest(MANIFEST)
    assert decode_manifest(encode_manifest(replace(MANIFEST, scheduled=True)), "a test").scheduled
