"""Claims about tables of vectors, on disk and in memory, and about their files after damage."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neardup_platform.errors import BadArtefact, ServerUnavailable, SetupError
from neardup_platform.files import write_sealed
from neardup_platform.id_space import MAX_ORDINALS
from neardup_platform.records import Kind, ModelSpec
from neardup_platform.scoring.compact import Layout, pack
from neardup_platform.scoring.inherit_vectors import inherit_vectors
from neardup_platform.scoring.json_vector_manifest import NAME, Manifest, read_manifest, write_manifest
from neardup_platform.scoring.mmap_vectors import FIRST_ROWS, SYNC_ROWS, FollowedVectors, WrittenVectors
from neardup_platform.scoring.vectors import ImageVectors, MemoryVectors, VectorTable
from tests.terms.test_segments import full_disk

DIMS = 6, 10
LAYOUT = Layout(6, 7)
MODELS = {Kind.LSH: ModelSpec("l", DIMS[0]), Kind.PAIR: ModelSpec("p", DIMS[1], LAYOUT.pair)}


def vectors_of(first: int, end: int) -> ImageVectors:
    """Returns vectors of images by ordinal, always the same."""
    ordinals = np.arange(first, end, dtype=np.float32)[:, None]
    return ImageVectors(*(np.sin(ordinals * 7 + np.arange(dim)).astype(np.float16) for dim in DIMS))


@dataclass
class Stored:
    """A store of images with the vectors of `vectors_of`.

    Attributes:
        committed: number of its images.
        reads: how often it was asked for some.
    """

    committed: int = 1 << 20
    reads: int = 0

    def ordinals(self) -> int:
        return self.committed

    def pairs(self, ordinals: Sequence[int]) -> list[bytes | None]:
        self.reads += 1
        rows = vectors_of(0, max(ordinals) + 1).pair
        return [rows[ordinal].tobytes() if ordinal < self.committed else None for ordinal in ordinals]


def writer(folder: Path, images: int = 1 << 20, store_id: str = "s") -> WrittenVectors:
    return WrittenVectors(folder, store_id, MODELS, images, Stored(images))


def follower(folder: Path) -> FollowedVectors:
    return FollowedVectors(folder, "s", MODELS, Stored())


def assert_holds(table: VectorTable, images: int) -> None:
    assert len(table) == len(table.rows.lsh) == images
    expected = vectors_of(0, images)
    found = table.rows.at(np.arange(images))
    for rows, wanted in zip(found, expected, strict=True):
        assert np.array_equal(rows, wanted)
    assert np.array_equal(found.compact, pack(expected.lsh, expected.pair, LAYOUT))


def filled(folder: Path, images: int) -> None:
    with closing(writer(folder)) as table:
        table.append(vectors_of(0, images))


def files(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.f16"), *folder.glob("*.u8")])


@pytest.mark.parametrize(
    "make", [lambda _: MemoryVectors(*DIMS, compared=LAYOUT.pair), lambda folder: writer(folder / "v")]
)
def test_rows_stay_in_order_and_returned_rows_do_not_change(
    tmp_path: Path, make: Callable[[Path], VectorTable]
) -> None:
    with closing(make(tmp_path)) as table:
        assert_holds(table, 0)
        table.append(vectors_of(0, 3))
        early, at = table.rows, 3
        for size in (1, 0, FIRST_ROWS, 5, 3 * FIRST_ROWS):
            table.append(vectors_of(at, at + size))
            at += size
            assert_holds(table, at)
        assert np.array_equal(early.at(np.arange(3)).pair, vectors_of(0, 3).pair)
        with pytest.raises(SetupError, match=r"6 and 9 dimensions .* 6 and 10"):
            table.append(ImageVectors(vectors_of(0, 1).lsh, vectors_of(0, 1).pair[:, 1:]))
        assert_holds(table, at)


def test_pair_vectors_are_in_memory_until_they_are_committed_and_then_read_from_the_store(tmp_path: Path) -> None:
    store = Stored(5)
    asked = np.array([9, 2, 9, 6])
    with closing(WrittenVectors(tmp_path, "s", MODELS, 5, store)) as table:
        table.append(vectors_of(0, 5))
        table.append(ImageVectors(*(rows + np.float16(1) for rows in vectors_of(5, 8))))
        table.append(vectors_of(8, 10))
        changed = table.rows.at(asked)
        assert store.reads == 1
        assert (changed.pair[3] == vectors_of(6, 7).pair + np.float16(1)).all()
        store.committed = 10
        table.append(vectors_of(10, 11))  # lets go of what is committed
        assert np.array_equal(table.rows.at(asked).pair, vectors_of(0, 10).pair[asked])
        table.erase(np.array([10]))
        assert not table.rows.at(np.array([10])).pair.any()


def test_a_table_in_memory_grows_beyond_its_capacity() -> None:
    table, at = MemoryVectors(*DIMS, capacity=2, compared=LAYOUT.pair), 0
    for size in (1, 4, 0, 100):
        early = table.rows
        table.append(vectors_of(at, at + size))
        assert np.array_equal(early.lsh, vectors_of(0, at).lsh)
        at += size
        assert_holds(table, at)


@pytest.mark.parametrize("first", [(1 << 24) - 3, (1 << 31) - 3, MAX_ORDINALS - 10])
def test_rows_are_written_and_found_up_to_the_last_ordinal(tmp_path: Path, first: int) -> None:
    """The files have a hole of this many rows, which takes no disk space."""
    models = {kind: ModelSpec(kind, 2) for kind in Kind}
    manifest = replace(Manifest.of("s", models), generation=1, rows=first)
    for path, row_bytes in zip(manifest.paths(tmp_path), manifest.row_bytes, strict=True):
        path.touch()
        os.truncate(path, first * row_bytes)
    write_manifest(tmp_path, manifest)
    rows = np.arange(20, dtype=np.float16).reshape(10, 2)
    with closing(WrittenVectors(tmp_path, "s", models, first, Stored(0))) as table:
        assert len(table) == first
        table.append(ImageVectors(rows, rows + np.float16(100)))
        assert np.array_equal(table.rows.lsh[first:], rows)
        table.erase(np.array([first + 8]))
        too_many = np.broadcast_to(np.float16(0), (MAX_ORDINALS - len(table) + 1, 2))
        with pytest.raises(SetupError, match=rf"at most {MAX_ORDINALS} .* `neardup reprocess`"):
            table.append(ImageVectors(too_many, too_many))
    reader = FollowedVectors(tmp_path, "s", models, Stored(0))
    reader._count = first
    left = rows.copy()
    left[8] = 0
    seen = (rows + np.float16(100)).copy()
    seen[8] = 0
    reader.append(ImageVectors(left, seen))
    assert np.array_equal(reader.rows.lsh[first:], left)


def test_closed_files_are_used_again(tmp_path: Path) -> None:
    filled(tmp_path, 1_000)
    before = files(tmp_path)
    with closing(writer(tmp_path)) as table:
        assert_holds(table, 1_000)
    assert files(tmp_path) == before


def test_rows_beyond_the_images_of_the_store_are_overwritten(tmp_path: Path) -> None:
    filled(tmp_path, 1_000)
    with closing(writer(tmp_path, images=700)) as table:
        assert_holds(table, 700)
        # Recorded before anything is overwritten, in case of a power cut.
        assert read_manifest(tmp_path).rows == 700  # type: ignore[union-attr]
        table.append(ImageVectors(*(rows + np.float16(1) for rows in vectors_of(700, 710))))
        assert (table.rows.lsh[700:] == vectors_of(700, 710).lsh + np.float16(1)).all()


def test_only_synced_rows_are_trusted_after_a_crash(tmp_path: Path) -> None:
    table = writer(tmp_path)
    table.append(vectors_of(0, SYNC_ROWS + 5))
    table.append(vectors_of(SYNC_ROWS + 5, SYNC_ROWS + 9))
    # Nothing is closed, as after a crash.
    with closing(writer(tmp_path)) as again:
        assert_holds(again, SYNC_ROWS + 5)


FOREIGN = [
    {"store_id": "another"},
    {"lsh_version": "another"},
    {"pair_version": "another"},
    {"lsh_dim": 5, "pair_dim": 5},
]


@pytest.mark.parametrize("change", FOREIGN)
def test_vectors_of_another_store_or_model_are_not_used(tmp_path: Path, change: dict[str, object]) -> None:
    filled(tmp_path, 300)
    manifest = read_manifest(tmp_path)
    assert manifest is not None
    other = replace(manifest, **change)  # type: ignore[arg-type]
    models = {
        Kind.LSH: ModelSpec(other.lsh_version, other.lsh_dim),
        Kind.PAIR: ModelSpec(other.pair_version, other.pair_dim),
    }
    with closing(WrittenVectors(tmp_path, other.store_id, models, 300, Stored())) as table:
        assert len(table) == 0
        assert len(files(tmp_path)) == 2
        assert table.rows.lsh.shape == (0, other.lsh_dim)


def add_pair_vectors(folder: Path) -> Manifest:
    """Adds the file of pair vectors that earlier releases wrote; returns the manifest."""
    manifest = read_manifest(folder)
    assert manifest is not None
    manifest.pair_path(folder).write_bytes(vectors_of(0, manifest.rows).pair.tobytes())
    return manifest


def test_the_pair_vectors_of_an_earlier_release_are_removed_and_nothing_is_read_again(tmp_path: Path) -> None:
    filled(tmp_path, 300)
    before = files(tmp_path)
    add_pair_vectors(tmp_path)
    with closing(writer(tmp_path)) as table:
        assert_holds(table, 300)
    assert files(tmp_path) == before


def of_an_earlier_release(folder: Path) -> None:
    """Leaves the files that a release without compact rows wrote."""
    manifest = add_pair_vectors(folder)
    content = {name: value for name, value in asdict(manifest).items() if name != "compared"}
    write_sealed(folder / NAME, content)
    for path in folder.glob("*.u8"):
        path.unlink()


def test_files_of_a_release_without_compact_rows_get_them(tmp_path: Path) -> None:
    filled(tmp_path, SYNC_ROWS + 300)
    of_an_earlier_release(tmp_path)
    before = files(tmp_path)
    with pytest.raises(ServerUnavailable):
        follower(tmp_path).append(vectors_of(0, 300))
    with closing(writer(tmp_path)) as table:
        assert_holds(table, SYNC_ROWS + 300)
        # Nothing is read from the store again, and the pair vectors are removed.
        lsh, pair = before
        assert lsh in files(tmp_path)
        assert not pair.exists()
        reader = follower(tmp_path)
        reader.append(vectors_of(0, SYNC_ROWS + 300))
        assert_holds(reader, SYNC_ROWS + 300)


def test_a_crash_while_compact_rows_are_added_leaves_the_files_as_they_were(tmp_path: Path) -> None:
    filled(tmp_path, 300)
    of_an_earlier_release(tmp_path)
    with full_disk(1_000), pytest.raises(SetupError, match="free some disk"):
        writer(tmp_path)
    with closing(writer(tmp_path)) as table:
        assert_holds(table, 300)


def test_another_classifier_gets_compact_rows_of_its_own(tmp_path: Path) -> None:
    filled(tmp_path, 300)
    reader = follower(tmp_path)
    reader.append(vectors_of(0, 300))
    other = Layout(LAYOUT.lsh, LAYOUT.pair - 2)
    models = MODELS | {Kind.PAIR: ModelSpec("p", DIMS[1], other.pair)}
    with closing(WrittenVectors(tmp_path, "s", models, 300, Stored())) as table:
        expected = vectors_of(0, 300)
        assert len(table) == 0  # pair vectors are read from the store, once
        table.append(expected)
        assert np.array_equal(table.rows.compact, pack(expected.lsh, expected.pair, other))
        assert len(files(tmp_path)) == 2
    assert_holds(reader, 300)  # the files that a reader has mapped are left alone
    with pytest.raises(ServerUnavailable):
        follower(tmp_path).append(vectors_of(0, 300))


@pytest.mark.parametrize("end", [1, 200, 300, 400])
def test_shared_rows_are_taken_over_from_the_store_that_was_replaced(tmp_path: Path, end: int) -> None:
    filled(tmp_path, 300)
    reader = follower(tmp_path)
    reader.append(vectors_of(0, 300))
    assert inherit_vectors(tmp_path, "t", MODELS, "s", end) == min(end, 300)
    with closing(writer(tmp_path, store_id="t")) as table:
        assert_holds(table, min(end, 300))
        table.append(vectors_of(400, 500))
        assert len(files(tmp_path)) == 2
    assert_holds(reader, 300)


@pytest.mark.parametrize("why", ["another store", "another model", "damage", "a full disk"])
def test_nothing_is_taken_over_from_files_that_do_not_serve(tmp_path: Path, why: str) -> None:
    filled(tmp_path, 300)
    before = files(tmp_path)
    if why == "damage":
        truncate_file(tmp_path)
    models = MODELS | {Kind.LSH: ModelSpec("m", DIMS[0])} if why == "another model" else MODELS
    with full_disk(1_000) if why == "a full disk" else nullcontext():
        assert not inherit_vectors(tmp_path, "t", models, "u" if why == "another store" else "s", 200)
    assert files(tmp_path) == before
    with closing(writer(tmp_path, store_id="t")) as table:
        assert len(table) == 0


def truncate_file(folder: Path) -> None:
    os.truncate(next(folder.glob("lsh-*")), 299 * DIMS[0] * 2)


def truncate_compact_file(folder: Path) -> None:
    os.truncate(next(folder.glob("*.u8")), 299 * LAYOUT.width)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda folder: (folder / NAME).write_bytes(b""),
    "cut": lambda folder: (folder / NAME).write_bytes((folder / NAME).read_bytes()[:-9]),
    "changed": lambda folder: (folder / NAME).write_text((folder / NAME).read_text().replace("300", "301")),
    "no text": lambda folder: (folder / NAME).write_bytes(b"\xff\xfe\x00"),
    "no object": lambda folder: (folder / NAME).write_text("[]"),
    "other fields": lambda folder: write_sealed(folder / NAME, {"rows": 300}),
    "missing": lambda folder: (folder / NAME).unlink(),
    "file truncated": truncate_file,
    "file missing": lambda folder: next(folder.glob("lsh-*")).unlink(),
    "compact file missing": lambda folder: next(folder.glob("*.u8")).unlink(),
    "compact file truncated": truncate_compact_file,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_files_are_rebuilt_and_followers_continue(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    filled(tmp_path, 300)
    reader = follower(tmp_path)
    if damage not in (truncate_file, truncate_compact_file):  # no writer ever shortens a file
        reader.append(vectors_of(0, 300))
    damage(tmp_path)
    with closing(writer(tmp_path)) as table:
        assert len(table) == 0
        table.append(vectors_of(0, 200))
        table.sync()
        if len(reader):
            with pytest.raises(ServerUnavailable, match="300 to 309 are not in"):
                reader.append(vectors_of(300, 310))
            assert_holds(reader, 300)
        table.append(vectors_of(200, 310))
        table.sync()
        reader.append(vectors_of(len(reader), 310))
        assert_holds(reader, 310)
    with closing(writer(tmp_path)) as table:
        assert_holds(table, 310)


@pytest.mark.parametrize(
    "name", ["cut", "changed", "no text", "no object", "other fields", "file truncated", "file missing"]
)
def test_damage_is_reported_with_the_place_and_the_consequence(tmp_path: Path, name: str) -> None:
    filled(tmp_path, 300)
    DAMAGE[name](tmp_path)
    with pytest.raises(BadArtefact, match=f"vectors {tmp_path}: .*; they are read from the store again"):
        read_manifest(tmp_path)


def test_a_follower_sees_the_rows_of_the_store_at_once_and_no_others(tmp_path: Path) -> None:
    reader = follower(tmp_path)
    with pytest.raises(ServerUnavailable, match="0 to 4 are not in"):
        reader.append(vectors_of(0, 5))
    with closing(writer(tmp_path)) as table:
        at = 0
        for size in (5, 1, FIRST_ROWS, 3_000):
            table.append(vectors_of(at, at + size))
            reader.append(vectors_of(at, at + size))
            at += size
            assert_holds(reader, at)
        with pytest.raises(ServerUnavailable):
            reader.append(vectors_of(at, at + 1))
        # A row that the store never had, as after a power cut that lost commits.
        table.append(vectors_of(at + 50, at + 51))
        with pytest.raises(ServerUnavailable):
            reader.append(vectors_of(at, at + 1))
    assert_holds(reader, at)


def test_a_follower_survives_the_deletion_of_the_folder(tmp_path: Path) -> None:
    filled(tmp_path / "v", 300)
    reader = follower(tmp_path / "v")
    reader.append(vectors_of(0, 300))
    for path in (tmp_path / "v").iterdir():
        path.unlink()
    with closing(writer(tmp_path / "v", images=0)) as table:
        with pytest.raises(ServerUnavailable):
            reader.append(vectors_of(300, 301))
        assert_holds(reader, 300)
        table.append(vectors_of(0, 301))
        table.sync()
        reader.append(vectors_of(300, 301))
    assert_holds(reader, 301)


def test_a_full_disk_is_reported_in_one_line_and_loses_no_row(tmp_path: Path) -> None:
    filled(tmp_path, FIRST_ROWS)
    table = writer(tmp_path)
    with full_disk(FIRST_ROWS * LAYOUT.width), pytest.raises(SetupError, match="free some disk under NEARDUP_HOME"):
        table.append(vectors_of(FIRST_ROWS, FIRST_ROWS + 1))
    assert_holds(table, FIRST_ROWS)
    table.append(vectors_of(FIRST_ROWS, FIRST_ROWS + 1))
    table.close()
    with closing(writer(tmp_path)) as again:
        assert_holds(again, FIRST_ROWS + 1)


def test_a_folder_that_cannot_be_created_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match=r"opening the vectors in .*file/v failed"):
        writer(tmp_path / "file" / "v")


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 400), st.booleans(), st.integers(0, 50)), max_size=8))
def test_any_sequence_of_appends_crashes_and_lost_commits_ends_with_the_rows_of_the_store(
    course: list[tuple[int, bool, int]],
) -> None:
    with fresh_folder() as folder:
        images, opened = 0, []
        for added, closes, lost in course:
            table = writer(folder, images)
            table.append(vectors_of(len(table), images + added))
            images += added
            assert_holds(table, images)
            if closes:
                table.close()
            images = max(0, images - lost)
            opened.append(table)
        with closing(writer(folder, images)) as table:
            assert len(table) <= images
            table.append(vectors_of(len(table), images))
            assert_holds(table, images)


@contextmanager
def fresh_folder() -> Iterator[Path]:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="neardup-vectors-") as folder:
        yield Path(folder)


APPENDER = """
import os, sys
from pathlib import Path
from tests.scoring.test_vectors import vectors_of, writer
folder, commits = Path(sys.argv[1]), open(sys.argv[2], "a", buffering=1)
at = int(sys.argv[3])
table = writer(folder, images=at)
table.append(vectors_of(len(table), at))
while True:
    table.append(vectors_of(at, at + 7))
    at += 7
    commits.write(f"{at}\\n")
    if at % 70 == 0:
        table.sync()
"""


def test_kill_at_any_moment_loses_no_row_of_the_store(tmp_path: Path) -> None:
    """The store of this test is a file with the number of committed images; a row is written before its commit."""
    commits = tmp_path / "commits"
    commits.write_text("0\n")
    delays = np.random.default_rng(0).uniform(0.02, 0.3, 5)
    for delay in delays:
        committed = int(commits.read_text().split()[-1])
        argv = [sys.executable, "-c", APPENDER, str(tmp_path / "v"), str(commits), str(committed)]
        process = subprocess.Popen(argv)
        try:
            wait_for_growth(commits, process, delay)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        whole = [line for line in commits.read_text().splitlines(keepends=True) if line.endswith("\n")]
        commits.write_text("".join(whole))
        images = int(whole[-1])
        assert images > committed
        reader = follower(tmp_path / "v")
        # A follower has every committed row although nothing was synced or closed.
        reader.append(vectors_of(0, images))
        assert_holds(reader, images)
        with closing(writer(tmp_path / "v", images)) as table:
            assert 0 <= images - len(table) <= SYNC_ROWS
            assert_holds(table, len(table))


def wait_for_growth(commits: Path, process: subprocess.Popen[bytes], delay: float) -> None:
    import time

    size, deadline = commits.stat().st_size, time.monotonic() + 120
    while commits.stat().st_size == size:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(delay)
