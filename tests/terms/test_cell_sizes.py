import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.terms.merging import count_live, uncount
from neardup_platform.terms.mmap_segment import Segment, memory_segment
from neardup_platform.terms.parts import DELETED, HEAD_WORDS
from neardup_platform.terms.window import Rows

CELLS, FIRST, IMAGES = 5, 1_000, 60


def segment_of(cells: list[int], held: list[bool]) -> Segment:
    ordinals = FIRST + np.flatnonzero(held)
    heads, signatures = np.zeros((len(ordinals), HEAD_WORDS), np.uint64), np.zeros((len(ordinals), 0), np.uint64)
    rows = Rows(ordinals, heads, signatures, np.array(cells, np.uint16)[held])
    return memory_segment(FIRST, FIRST + IMAGES, rows, CELLS)


@given(
    cells=st.lists(st.integers(0, CELLS - 1), min_size=IMAGES, max_size=IMAGES),
    held=st.lists(st.booleans(), min_size=IMAGES, max_size=IMAGES),
    deleted=st.frozensets(st.integers(FIRST - 2, FIRST + IMAGES + 2)),
)
def test_taking_deleted_images_out_of_the_sizes_agrees_with_counting_again(
    cells: list[int], held: list[bool], deleted: frozenset[int]
) -> None:
    part = segment_of(cells, held).part
    states = np.zeros(FIRST + IMAGES + 3, np.uint8)
    sizes, again = np.zeros(CELLS, np.int64), np.zeros(CELLS, np.int64)
    count_live(part, states, 0, sizes)
    states[sorted(deleted)] = DELETED
    count_live(part, states, 0, again)
    uncount(part, np.array(sorted(deleted), np.int64), sizes)
    assert sizes.tolist() == again.tolist()
