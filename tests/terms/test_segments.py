"""Claims about the files of the term index: damage is rejected by name, and no crash or full disk loses an image."""

import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from neardup_platform.errors import BadArtefact
from neardup_platform.terms.hyperplanes import Hashed, hamming
from neardup_platform.terms.index import TermIndex
from neardup_platform.terms.json_manifest import NAME
from neardup_platform.terms.merge_policy import MERGE_FACTOR
from neardup_platform.terms.mmap_segment import PAGE, open_segment
from neardup_platform.testing import EXHAUSTIVE, small_term_space
from tests.terms.sealing_process import BLOCK_IMAGES, IMAGES, vectors

HASHED = small_term_space().hash(vectors())


def opened(folder: Path | None, **options: object) -> TermIndex:
    """Opens an index of small blocks that retries a failed write at once."""
    fixed = {"source": "s", "block_images": BLOCK_IMAGES, "retry_s": 0.0}
    return TermIndex(folder, small_term_space(), EXHAUSTIVE, **fixed | options)  # type: ignore[arg-type]


def filled(folder: Path | None, images: int = IMAGES) -> TermIndex:
    index = opened(folder)
    for first in range(0, images, 8):
        index.add(HASHED[first : first + 8])
    index.flush()
    return index


def restore_missing(index: TermIndex, deleted: frozenset[int] = frozenset(), upto: int = IMAGES) -> None:
    for first, end in index.missing(upto):
        ordinals = np.array([o for o in range(first, end) if o not in deleted], np.int64)
        index.restore(first, end, ordinals, HASHED[ordinals], np.zeros(len(ordinals), np.bool_))


def assert_answers_are_exact(index: TermIndex, deleted: frozenset[int] = frozenset(), upto: int = IMAGES) -> None:
    queries = HASHED[np.arange(0, IMAGES, 37)]
    found = index.search(queries, 10, 0)
    live = np.array([o for o in range(upto) if o not in deleted])
    for row, query in enumerate(queries.signatures):
        distances = hamming(HASHED.signatures[live], query)
        best = np.lexsort((live, distances))[:10]
        assert found.ordinals[row].tolist() == live[best].tolist()
        assert found.distances[row].tolist() == distances[best].tolist()


def segment_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.segment"))


def test_a_reopened_index_lacks_only_images_that_were_not_sealed(tmp_path: Path) -> None:
    filled(tmp_path).close()
    index = opened(tmp_path)
    assert index.missing(IMAGES) == [(IMAGES - 2 * BLOCK_IMAGES, IMAGES)]
    restore_missing(index)
    assert_answers_are_exact(index)
    index.close()


def test_segments_grow_geometrically_and_cover_all_sealed_images(tmp_path: Path) -> None:
    for folder in (None, tmp_path):
        index = filled(folder)
        sizes = [segment.images for segment in index.segments]
        assert sum(sizes) == IMAGES - 2 * BLOCK_IMAGES
        assert all(older > MERGE_FACTOR * newer for older, newer in pairwise(sizes))
        assert len(segment_files(tmp_path)) == (len(sizes) if folder else 0)
        index.close()


def test_empty_blocks_do_not_accumulate() -> None:
    index = opened(None)
    for first in range(0, IMAGES, 8):
        index.retire(index.add(HASHED[first : first + 8]))
    index.flush()
    assert len(index.segments) == 1
    index.close()


@pytest.mark.parametrize("place", ["magic", "header", "starts", "ordinals", "head", "tail", "table"])
def test_a_flipped_bit_anywhere_is_rejected_by_name_and_the_range_is_rebuilt(tmp_path: Path, place: str) -> None:
    filled(tmp_path).close()
    path = segment_files(tmp_path)[0]
    at = {"magic": 3, "header": 40, "starts": PAGE + 9, "ordinals": 2 * PAGE + 1, "table": path.stat().st_size - 1}
    at |= {"head": 3 * PAGE + 5, "tail": path.stat().st_size - 200}
    data = bytearray(path.read_bytes())
    data[at[place]] ^= 0x10
    path.write_bytes(data)
    with pytest.raises(BadArtefact, match=path.name):
        open_segment(path, small_term_space().version)
    index = opened(tmp_path)
    assert index.missing(IMAGES)[0][0] == 0
    restore_missing(index)
    assert_answers_are_exact(index)
    index.flush()
    index.close()
    assert path not in segment_files(tmp_path)


@pytest.mark.parametrize("kept", [0, 10, PAGE, PAGE + 1_000, -1])
def test_a_truncated_segment_is_rejected_by_name(tmp_path: Path, kept: int) -> None:
    filled(tmp_path).close()
    path = segment_files(tmp_path)[0]
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(BadArtefact, match=path.name):
        open_segment(path, small_term_space().version)


def test_the_range_of_a_damaged_segment_is_restored_in_pieces(tmp_path: Path) -> None:
    filled(tmp_path).close()
    segment_files(tmp_path)[0].unlink()
    index = opened(tmp_path)
    while gaps := index.missing(IMAGES):
        first, end = gaps[0]
        ordinals = np.arange(first, min(end, first + 24))
        index.restore(first, int(ordinals[-1]) + 1, ordinals, HASHED[ordinals], np.zeros(len(ordinals), np.bool_))
    assert_answers_are_exact(index)
    index.close()


def test_an_index_of_another_term_space_is_rejected(tmp_path: Path) -> None:
    filled(tmp_path).close()
    with pytest.raises(BadArtefact, match=r"restore terms\.space"):
        TermIndex(tmp_path, replace(small_term_space(), mean=small_term_space().mean + 1), EXHAUSTIVE, source="s")
    with pytest.raises(BadArtefact, match=small_term_space().version):
        open_segment(segment_files(tmp_path)[0], "another")


@pytest.mark.parametrize("damage", [b"", b"{", b'{"crc": 1, "content": "{}"}'])
def test_a_damaged_manifest_costs_a_rebuild_and_no_image(tmp_path: Path, damage: bytes) -> None:
    filled(tmp_path).close()
    (tmp_path / NAME).write_bytes(damage)
    index = opened(tmp_path)
    assert index.missing(IMAGES) == [(0, IMAGES)]
    restore_missing(index)
    assert_answers_are_exact(index)
    index.close()


def test_an_index_of_another_store_is_not_used(tmp_path: Path) -> None:
    filled(tmp_path).close()
    other = TermIndex(tmp_path, small_term_space(), EXHAUSTIVE, source="another", block_images=BLOCK_IMAGES)
    assert len(other) == 0
    other.close()


def test_an_index_rewound_to_no_image_stays_empty_after_a_restart(tmp_path: Path) -> None:
    filled(tmp_path).close()
    index = opened(tmp_path)
    assert index.rewind(0) > 0
    assert len(index) == 0
    assert not (index.search(HASHED[:3], 5, 0).ordinals >= 0).any()
    index.close()
    again = opened(tmp_path)
    assert again.missing(IMAGES) == [(0, IMAGES)]
    assert segment_files(tmp_path) == []
    again.close()


def test_deleted_images_stay_deleted_after_a_restart_and_a_merge_removes_them_from_disk(tmp_path: Path) -> None:
    index = filled(tmp_path)
    deleted = frozenset(range(0, 300, 5))
    index.delete(np.array(sorted(deleted)))
    assert_answers_are_exact(index, deleted)
    index.flush()
    # A fifth of the large segment is deleted: it is rewritten.
    assert sum(segment.images for segment in index.segments) == IMAGES - 2 * BLOCK_IMAGES - len(deleted)
    index.close()
    index = opened(tmp_path)
    restore_missing(index, deleted)
    assert_answers_are_exact(index, deleted)
    index.close()


@contextmanager
def full_disk(bytes_left: int) -> Iterator[None]:
    """No file can grow beyond this size: the system rejects the write, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_reported_answers_stay_correct_and_writing_resumes_when_there_is_room(tmp_path: Path) -> None:
    index = filled(tmp_path, 160)
    with full_disk(2 * PAGE):
        for first in range(160, 320, 8):
            index.add(HASHED[first : first + 8])
        index.flush()
        assert "free some disk" in index.problem
        assert_answers_are_exact(index, upto=320)
    for first in range(320, IMAGES, 8):
        index.add(HASHED[first : first + 8])
    index.flush()
    assert index.problem == ""
    assert_answers_are_exact(index)
    index.close()
    index = opened(tmp_path)
    assert index.missing(IMAGES) == [(IMAGES - 2 * BLOCK_IMAGES, IMAGES)]
    index.close()


@pytest.mark.parametrize("error", [MemoryError(), ValueError("a bug"), SystemExit(3), OSError("torn cable")])
@pytest.mark.parametrize("folder", [False, True])
def test_any_failure_of_the_merging_thread_is_reported_and_the_index_continues_and_closes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, folder: bool
) -> None:
    index = filled(tmp_path if folder else None, 160)

    def broken(*_: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr("neardup_platform.terms.segment_folder.write_segment", broken)
        patched.setattr("neardup_platform.terms.segments.merge_in_memory", broken)
        for first in range(160, 320, 8):
            index.add(HASHED[first : first + 8])
        flushed = threading.Thread(target=index.flush, daemon=True)
        flushed.start()
        flushed.join(180)
        assert not flushed.is_alive(), "flush() waits for a thread that has ended"
        assert type(error).__name__ in index.problem or str(error) in index.problem
        assert index.metrics()["index_problem"] == 1
        assert_answers_are_exact(index, upto=320)
    for first in range(320, IMAGES, 8):
        index.add(HASHED[first : first + 8])
    index.flush()
    assert index.problem == ""
    assert_answers_are_exact(index)
    closed = threading.Thread(target=index.close, daemon=True)
    closed.start()
    closed.join(180)
    assert not closed.is_alive()


def test_a_system_without_threads_is_reported_and_does_not_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = opened(tmp_path)

    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", none_left)
        for first in range(0, 160, 8):
            index.add(HASHED[first : first + 8])
        index.flush()
        assert "can't start new thread" in index.problem
    for first in range(160, IMAGES, 8):
        index.add(HASHED[first : first + 8])
    index.flush()
    assert index.problem == ""
    index.close()
    index = opened(tmp_path)
    assert index.missing(IMAGES) == [(IMAGES - 2 * BLOCK_IMAGES, IMAGES)]
    index.close()


def test_a_manifest_that_could_not_be_written_is_written_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = filled(tmp_path, 160)

    def broken(*_: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("neardup_platform.terms.segment_folder.write_manifest", broken)
        index.add(HASHED[160:168])
        index.add(HASHED[168:200])
        index.flush()
        assert index.problem
    index.add(HASHED[200:201])
    index.add(HASHED[201:240])
    index.flush()
    assert index.problem == ""
    index.close()
    again = opened(tmp_path)
    assert again.missing(240)[0][0] > 160
    assert len(segment_files(tmp_path)) == len(again.segments)
    again.close()


@pytest.mark.slow
def test_kill_at_any_call_that_changes_the_disk_loses_nothing(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "tests.terms.sealing_process", str(tmp_path), "3"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    runs = sorted((int(log.stem), log.read_text().split()) for log in tmp_path.glob("[0-9]*.log"))
    assert len(runs) > 60
    assert [number for number, notes in runs if "finished" in notes] == [runs[-1][0]]
    for number, notes in runs:
        folder, deleted = tmp_path / str(number), frozenset(int(note) for note in notes if note != "finished")
        index = opened(folder)
        # The image it was deleting when it was killed is deleted again, as a client would do.
        index.delete(np.array(sorted(deleted)[-1:], np.int64))
        restore_missing(index, deleted)
        assert_answers_are_exact(index, deleted)
        index.flush()
        assert_answers_are_exact(index, deleted)
        index.close()
        assert not list(folder.glob("*.tmp"))


def test_a_follower_sees_published_segments_and_shares_their_files(tmp_path: Path) -> None:
    writer = filled(tmp_path, 200)
    follower = opened(tmp_path, writable=False)
    restore_missing(follower, upto=200)
    assert_answers_are_exact(follower, upto=200)
    assert not follower.is_stale()
    for first in range(200, IMAGES, 8):
        writer.add(HASHED[first : first + 8])
    writer.flush()
    assert follower.is_stale()
    fresh = opened(tmp_path, writable=False, known=follower)
    restore_missing(fresh)
    assert_answers_are_exact(fresh)
    assert not fresh.is_stale()
    for index in (follower, fresh, writer):
        index.close()


def test_a_wrong_width_is_rejected_with_both_widths() -> None:
    index = opened(None)
    narrow = Hashed(HASHED.unit[:2], np.ascontiguousarray(HASHED.signatures[:2, :4]), HASHED.affinities[:2])
    for call in (lambda: index.add(narrow), lambda: index.search(narrow, 3)):
        with pytest.raises(ValueError, match=r"\(2, 4\).*6"):
            call()
    index.close()


def test_only_missing_ranges_can_be_restored() -> None:
    index = filled(None, 80)
    with pytest.raises(ValueError, match="no missing range"):
        index.restore(8, 16, np.arange(8, 16), HASHED[8:16], np.zeros(8, np.bool_))
    index.close()
