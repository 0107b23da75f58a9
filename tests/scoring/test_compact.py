"""Claims about compact rows: how near they are to the vectors they stand for, and what they depend on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neardup_platform.scoring.compact import Layout, pack, unpack
from neardup_platform.scoring.compact_kernels import GROUP, STEPS

LAYOUT = Layout(40, 70)
FINITE = st.integers(0, (1 << 16) - 1).filter(lambda bits: bits & 0x7C00 != 0x7C00)
# The largest component that a message may have.
LARGEST = 6e4


def some_vectors(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scales = 10.0 ** rng.integers(-3, 3, (rows, 1))
    return tuple((rng.laplace(size=(rows, dim)) * scales).astype(np.float16) for dim in (LAYOUT.lsh, LAYOUT.pair + 5))


def groups(vectors: np.ndarray) -> list[np.ndarray]:
    return [vectors[:, first : first + GROUP].astype(np.float64) for first in range(0, vectors.shape[1], GROUP)]


@settings(deadline=None, max_examples=60)
@given(st.lists(FINITE, min_size=LAYOUT.pair, max_size=LAYOUT.pair))
def test_every_entry_is_within_half_a_step_of_any_finite_vector(bits: list[int]) -> None:
    pair = np.array(bits, np.uint16).view(np.float16)[None]
    pair = np.clip(pair, -LARGEST, LARGEST)
    found = unpack(pack(pair[:, : LAYOUT.lsh], pair, LAYOUT), LAYOUT)[1]
    for given_, back in zip(groups(pair), groups(found), strict=True):
        largest = np.abs(given_).max()
        # A step of the roots is 1/127; the magnitude moves by the same share at most, and is a float16 itself.
        steps = np.abs(np.sqrt(np.abs(back)) - np.sqrt(np.abs(given_)))
        assert steps.max() <= (1.05 / STEPS) * np.sqrt(largest) + np.sqrt(2.0**-24)
        assert (np.sign(back) * np.sign(given_) >= 0).all()


def test_every_group_keeps_its_length() -> None:
    lsh, pair = some_vectors(500)
    for vectors, found in zip((lsh, pair[:, : LAYOUT.pair]), unpack(pack(lsh, pair, LAYOUT), LAYOUT), strict=True):
        for given_, back in zip(groups(vectors), groups(found), strict=True):
            length = np.linalg.norm(given_, axis=1)
            assert np.allclose(np.linalg.norm(back, axis=1), length, rtol=2**-10, atol=GROUP * 2.0**-24)


def test_directions_are_kept_to_a_hundredth() -> None:
    lsh, pair = some_vectors(500)
    found = unpack(pack(lsh, pair, LAYOUT), LAYOUT)[0].astype(np.float64)
    error = np.linalg.norm(found - lsh, axis=1) / np.linalg.norm(lsh.astype(np.float64), axis=1)
    assert error.max() < 0.012


def test_zeros_are_zeros() -> None:
    lsh, pair = (np.zeros((3, dim), np.float16) for dim in LAYOUT)
    lsh[0, 0] = np.float16(-0.0)
    assert not pack(lsh, pair, LAYOUT).any()


def test_rows_depend_on_their_image_alone() -> None:
    lsh, pair = some_vectors(50)
    together = pack(lsh, pair, LAYOUT)
    for row in range(50):
        assert np.array_equal(pack(lsh[[row]], pair[[row]], LAYOUT)[0], together[row])
    strided = pack(np.asfortranarray(lsh), pair[:, : LAYOUT.pair], LAYOUT)
    assert np.array_equal(strided, together)


@pytest.mark.parametrize("lsh", [1, 31, 32, 33, 256])
@pytest.mark.parametrize("pair", [0, 1, 31, 32, 33, 64, 65, 661])
def test_a_layout_follows_from_the_width_of_its_rows(lsh: int, pair: int) -> None:
    layout = Layout(lsh, pair)
    assert Layout.of_width(lsh, layout.width) == layout
    assert pack(np.ones((2, lsh), np.float16), np.ones((2, pair), np.float16), layout).shape == (2, layout.width)
