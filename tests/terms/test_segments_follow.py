"""Claims about followers of a term index: segments that the writer replaces are not damage."""

import threading
from pathlib import Path

import numpy as np
import pytest

from neardup_platform.terms import segment_folder
from neardup_platform.terms.index import TermIndex
from neardup_platform.terms.mmap_segment import Segment, open_segment
from tests.terms.sealing_process import BLOCK_IMAGES, IMAGES
from tests.terms.test_segments import (
    HASHED,
    assert_answers_are_exact,
    filled,
    opened,
    restore_missing,
    segment_files,
)


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def add(writer: TermIndex, first: int, end: int) -> None:
    for at in range(first, end, 8):
        writer.add(HASHED[at : at + 8])
    writer.flush()


def test_a_follower_reads_the_manifest_again_after_the_writer_replaced_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    writer = filled(tmp_path, 200)
    named = segment_files(tmp_path)
    asked: list[Path] = []

    def open_late(path: Path, version: str, **options: bool) -> Segment:
        """Lets the writer replace all segments after the manifest was read, before the first file is opened."""
        if not asked:
            add(writer, 200, IMAGES)
        asked.append(path)
        return open_segment(path, version, **options)

    monkeypatch.setattr(segment_folder, "open_segment", open_late)
    follower = opened(tmp_path, writable=False)
    assert asked[0] in named
    assert not asked[0].exists()
    assert follower.damaged == ()
    assert not follower.is_stale()
    assert not caplog.records
    restore_missing(follower)
    assert_answers_are_exact(follower)
    for index in (follower, writer):
        index.close()


def test_followers_opened_while_the_writer_seals_and_merges_see_no_damage(tmp_path: Path) -> None:
    writer = filled(tmp_path, 2 * BLOCK_IMAGES + 8)
    done = threading.Event()

    def write() -> None:
        for first in range(len(writer), IMAGES, 8):
            writer.add(HASHED[first : first + 8])
            writer.flush()
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    known, followed = None, 0
    while not done.is_set() or followed <= 3:
        follower = opened(tmp_path, writable=False, known=known)
        assert follower.damaged == ()
        assert follower.missing(len(follower)) == []
        known, followed = follower if followed % 2 else None, followed + 1
        follower.close()
    thread.join()
    writer.close()


def test_a_follower_names_a_damaged_file_and_leaves_it_to_the_writer(tmp_path: Path) -> None:
    filled(tmp_path).close()
    path = segment_files(tmp_path)[0]
    damage(path)
    follower = opened(tmp_path, writable=False)
    (why,) = follower.damaged
    assert str(path) in why
    assert path.exists()
    restore_missing(follower)
    assert_answers_are_exact(follower)
    follower.close()
    writer = opened(tmp_path)
    assert str(path) in writer.damaged[0]
    restore_missing(writer)
    writer.flush()
    writer.close()
    rebuilt = opened(tmp_path, writable=False)
    assert rebuilt.damaged == ()
    rebuilt.close()


def test_missing_ranges_end_where_the_images_of_the_caller_end(tmp_path: Path) -> None:
    """A follower that has read half of the store gets the range of a damaged segment up to there."""
    writer = opened(tmp_path)
    for first in range(0, 10 * BLOCK_IMAGES, BLOCK_IMAGES):
        add(writer, first, first + BLOCK_IMAGES)
    assert len(writer.segments) > 1
    end = writer.segments[0].end
    writer.close()
    segment_files(tmp_path)[0].unlink()
    index = opened(tmp_path, writable=False)
    assert index.missing(len(index)) == [(0, end)]
    assert index.missing(3) == [(0, 3)]
    index.restore(0, 3, np.arange(3), HASHED[:3], np.zeros(3, np.bool_))
    assert index.missing(3) == []
    assert index.missing(5) == [(3, 5)]
    index.close()


def test_a_follower_writes_nothing_if_there_is_no_index(tmp_path: Path) -> None:
    follower = opened(tmp_path / "index", writable=False)
    assert len(follower) == 0
    assert not follower.is_stale()
    assert not (tmp_path / "index").exists()
    follower.close()
