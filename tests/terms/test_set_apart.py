"""Claims about ordinals that are set apart for a load: nothing covers them until its segments are adopted."""

from pathlib import Path

import numpy as np
import pytest

from neardup_platform.terms.hyperplanes import Hashed
from neardup_platform.terms.index import TermIndex
from neardup_platform.terms.mmap_segment import memory_segment, segment_name, write_segment
from neardup_platform.terms.window import Rows
from neardup_platform.testing import BLOCK_IMAGES, EXHAUSTIVE, LSH_DIM, small_term_space

SPACE = small_term_space()


def hashed(first: int, end: int) -> Hashed:
    rows = [np.random.default_rng(number).standard_normal(LSH_DIM) for number in range(first, end)]
    return SPACE.hash(np.array(rows, np.float32).reshape(-1, LSH_DIM))


def nearest(index: TermIndex, number: int) -> int:
    return int(index.search(hashed(number, number + 1), 1).ordinals[0, 0])


def index_at(folder: Path) -> TermIndex:
    return TermIndex(folder, SPACE, EXHAUSTIVE, source="s", block_images=BLOCK_IMAGES)


def built(folder: Path, first: int, end: int) -> Path:
    """A segment as another process writes it."""
    rows = Rows.of(np.arange(first, end), hashed(first, end), SPACE)
    segment = memory_segment(first, end, rows, SPACE.cells)
    name = segment_name(first, end, 0)
    folder.mkdir()
    write_segment(folder, name, [segment], np.zeros(end - first, np.uint8), SPACE.version)
    return folder / name


@pytest.mark.parametrize("first", [0, 5, 3 * BLOCK_IMAGES + 5])
def test_adopted_segments_fill_the_gap_and_a_restart_finds_them(tmp_path: Path, first: int) -> None:
    end, after = first + 70, 5 * BLOCK_IMAGES
    index = index_at(tmp_path / "index")
    index.add(hashed(0, first))
    index.set_apart(first, end)
    for at in range(end, end + after, BLOCK_IMAGES // 2):
        index.add(hashed(at, at + BLOCK_IMAGES // 2))
    index.flush()
    assert not index.holds_any(range(first, end))
    assert index.missing(end + after) == []
    assert nearest(index, end + 3) == end + 3
    assert nearest(index, first + 3) != first + 3
    index.adopt(index.link([built(tmp_path / "load", first, end)]))
    for number in (0, first + 3, end - 1, end, end + after - 1):
        assert nearest(index, number) == number
    index.flush()
    index.close()
    again = index_at(tmp_path / "index")
    assert again.rewind(end + after, kept=end) == 0
    assert all(begin >= end for begin, _ in again.missing(end + after))
    assert nearest(again, first + 3) == first + 3
    again.close()


def test_a_restored_index_steps_over_ordinals_that_are_apart(tmp_path: Path) -> None:
    index = index_at(tmp_path / "index")
    index.set_apart(40, 100)
    spans = index.missing(150)
    assert spans == [(0, 40), (100, 150)]
    for first, end in spans:
        index.restore(first, end, np.arange(first, end), hashed(first, end), np.zeros(end - first, np.bool_))
    assert len(index) == 150
    assert not index.holds_any(range(40, 100))
    assert nearest(index, 120) == 120
    index.adopt(index.link([built(tmp_path / "load", 40, 100)]))
    assert nearest(index, 50) == 50
    index.close()
