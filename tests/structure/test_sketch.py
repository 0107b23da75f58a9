"""Claims about sketches: small exact numbers, the ratio of sides kept, and no input that breaks decoding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from neardup_platform.structure.sketch import (
    BLOCK_PX,
    ENTRIES,
    MOST_BLOCKS,
    decode_sketch,
    encode_sketch,
    sketch_size,
)
from tests.structure.pictures import picture


def grey_of(number: int, columns: int, rows: int) -> np.ndarray:
    small = picture(number).convert("L").resize((columns * BLOCK_PX, rows * BLOCK_PX))
    return np.asarray(small, np.float32)


def test_entries_are_whole_numbers_that_float16_holds_exactly() -> None:
    entries = encode_sketch(grey_of(0, 18, 14), np.full((4, 4, 3), 254.9, np.float32))
    assert entries.shape == (ENTRIES,)
    assert ((entries >= 0) & (entries < 2_048) & (entries == np.round(entries))).all()
    assert np.array_equal(entries.astype(np.float16).astype(np.float32), entries)


@pytest.mark.parametrize("number", range(5))
def test_a_decoded_sketch_keeps_mean_and_edges_of_each_block(number: int) -> None:
    grey = grey_of(number, 18, 14)
    decoded = decode_sketch(encode_sketch(grey, np.zeros((4, 4, 3), np.float32)))
    assert decoded.grey.shape == grey.shape

    def blocks(picture: np.ndarray) -> np.ndarray:
        return picture.reshape(14, 4, 18, 4).transpose(0, 2, 1, 3).reshape(-1, 16)

    # The mean of the two levels is the block's only where as many cells are bright as dark, hence the tolerance.
    assert np.abs(blocks(decoded.grey).mean(1) - blocks(grey).mean(1)).mean() < 3.0
    assert np.corrcoef(decoded.grey.ravel(), grey.ravel())[0, 1] > 0.93


def test_plain_pictures_have_exact_colours_and_no_edges() -> None:
    colour = np.array([200.125, 3.5, 77.0], np.float32)
    decoded = decode_sketch(encode_sketch(np.full((64, 64), 90.0, np.float32), np.tile(colour, (4, 4, 1))))
    assert np.array_equal(decoded.colours[2, 3], colour)
    assert np.ptp(decoded.grey) == 0
    assert abs(float(decoded.grey[0, 0]) - 90.0) <= 255 / 63 / 2


@given(st.integers(1, 20_000), st.integers(1, 20_000))
def test_the_ratio_of_sides_is_kept_and_most_blocks_are_used(width: int, height: int) -> None:
    columns, rows = sketch_size(width, height)
    assert 0 < columns * rows <= MOST_BLOCKS
    # At 7.5 to 1 it is 37 × 5.
    assert columns * rows >= 0.7 * MOST_BLOCKS
    wanted = min(8.0, max(1 / 8.0, width / height))
    assert abs(np.log(columns / rows / wanted)) < 0.1


@given(hnp.arrays(np.uint16, ENTRIES))
def test_any_entries_decode_to_a_bounded_sketch(bits: np.ndarray) -> None:
    decoded = decode_sketch(bits.view(np.float16))  # infinities and NaN among them
    assert decoded.grey.size <= MOST_BLOCKS * BLOCK_PX**2
    assert np.isfinite(decoded.grey).all()
    assert np.isfinite(decoded.colours).all()


def test_no_sketch_decodes_to_an_empty_one() -> None:
    assert decode_sketch(np.zeros(ENTRIES, np.float32)).grey.size == 0
