"""Claims about features: symmetric, bounded, equal to their definition, and invariant to mirroring where intended."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dctn

from neardup_platform.bench.array_features import numpy_features
from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card
from neardup_platform.scoring.compact import Layout, pack, unpack
from neardup_platform.scoring.features import Block, compared_entries, feature_names, pair_features, widened
from neardup_platform.scoring.vectors import ImageVectors
from tests.scoring.labelled import BLOCKS, labelled

NAMES = feature_names(BLOCKS)
DATA = labelled()
VECTORS = ImageVectors(DATA.lsh, DATA.pair)


def some_pairs(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.random.default_rng(seed).integers(0, len(DATA.groups), (2, n))
    return a, b


def features_of(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return pair_features(VECTORS, a, VECTORS, b, BLOCKS)


def column(features: np.ndarray, name: str) -> np.ndarray:
    return features[:, NAMES.index(name)]


def unpacked(vectors: ImageVectors, blocks: Sequence[Block]) -> tuple[np.ndarray, np.ndarray]:
    layout = Layout(vectors.lsh.shape[1], compared_entries(blocks))
    return unpack(pack(vectors.lsh, vectors.pair, layout), layout)


def assert_as_numpy(a: ImageVectors, rows_a: np.ndarray, b: ImageVectors, rows_b: np.ndarray, blocks: list) -> None:
    found = pair_features(a, rows_a, b, rows_b, blocks)
    (lsh_a, pair_a), (lsh_b, pair_b) = (unpacked(side, blocks) for side in (a, b))
    expected = numpy_features(lsh_a[rows_a], lsh_b[rows_b], pair_a[rows_a], pair_b[rows_b], blocks)
    # The root of a gap amplifies the rounding of a likeness close to 1.
    gap = np.array([name.endswith("_gap") for name in feature_names(blocks)])
    scale = np.maximum(1, np.abs(expected[:, ~gap]).max(axis=0, initial=1))
    assert np.allclose(found[:, ~gap] / scale, expected[:, ~gap] / scale, atol=2e-6)
    assert np.allclose(found[:, gap] ** 2, expected[:, gap] ** 2, rtol=1e-5, atol=1e-5)


@st.composite
def any_blocks(draw: st.DrawFn) -> list[Block]:
    blocks, start = [], draw(st.integers(0, 3))
    for number in range(draw(st.integers(0, 5))):
        comparison = draw(st.sampled_from(["cosine", "dihedral", "apart", "difference", "level", "sketch"]))
        entries = 4 * draw(st.integers(1, 7)) ** 2 if comparison in ("dihedral", "apart") else draw(st.integers(1, 70))
        blocks.append(Block(f"b{number}", start, start + entries, comparison))
        start += entries + draw(st.integers(0, 3))
    return blocks


@settings(deadline=None, max_examples=40)
@given(any_blocks(), st.integers(1, 90), st.integers(1, 60), st.integers(0, 1_000))
def test_features_of_any_blocks_equal_those_of_numpy(blocks: list[Block], lsh_dim: int, pairs: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pair_dim = max((block.stop for block in blocks), default=1) + seed % 3
    a, b = (
        ImageVectors(*(rng.normal(scale=0.3, size=(rows, dim)).astype(np.float16) for dim in (lsh_dim, pair_dim)))
        for rows in (7, 40)
    )
    assert_as_numpy(a, rng.integers(0, 7, pairs), b, rng.integers(0, 40, pairs), blocks)


def test_shipped_features_equal_those_of_numpy_for_near_duplicates_and_unrelated_images() -> None:
    card, rng = read_card(SHIPPED_FOLDER), np.random.default_rng(3)
    lsh, pair = rng.normal(size=(60, card.lsh_dim)), rng.normal(size=(60, card.pair_dim))
    for block in card.blocks:
        if block.comparison in ("dihedral", "apart"):
            part = pair[:, block.start : block.stop]
            part /= np.linalg.norm(part, axis=1, keepdims=True)
    near = [rows + 0.02 * rng.normal(size=rows.shape) * rows.std(axis=0) for rows in (lsh, pair)]
    vectors = ImageVectors(
        np.concatenate([lsh, near[0]]).astype(np.float16), np.concatenate([pair, near[1]]).astype(np.float16)
    )
    a = np.repeat(np.arange(60), 2)
    b = np.stack([np.arange(60) + 60, rng.permutation(60)], axis=1).ravel()
    assert_as_numpy(vectors, a, vectors, b, list(card.blocks))


def test_features_are_symmetric() -> None:
    a, b = some_pairs(300)
    assert np.allclose(features_of(a, b), features_of(b, a), atol=1e-5)


def test_an_image_has_the_largest_likeness_to_itself() -> None:
    rows = np.arange(50)
    features = features_of(rows, rows)
    for name in ("lsh_cosine", "shape_upright", "shape_coarse", "colour_cosine"):
        # Spectra of 16 entries share a group of the compact row, so their lengths change a little.
        assert np.allclose(column(features, name), 1, atol=8e-3), name
    for name in ("colour_distance", "statistics_0", "statistics_1"):
        assert np.allclose(column(features, name), 0), name


def test_features_do_not_depend_on_the_other_pairs() -> None:
    a, b = some_pairs(3_000)
    together = features_of(a, b)
    assert np.array_equal(
        features_of(np.sort(a), b[np.argsort(a, kind="stable")]), together[np.argsort(a, kind="stable")]
    )
    for row in (0, 1, 1023, 2999):
        assert np.array_equal(together[row], features_of(a[row : row + 1], b[row : row + 1])[0])


def test_read_only_and_strided_rows_give_equal_features() -> None:
    a, b = some_pairs(50)
    frozen = ImageVectors(DATA.lsh.copy(), np.asfortranarray(DATA.pair))
    frozen.lsh.flags.writeable = False
    both = np.stack([a, b], axis=1)
    assert np.array_equal(pair_features(frozen, both[:, 0], VECTORS, both[:, 1], BLOCKS), features_of(a, b))


def test_cosines_equal_their_definition() -> None:
    rows_a, rows_b = some_pairs(200)
    features = features_of(rows_a, rows_b)
    lsh, pair = (kind.astype(np.float64) for kind in unpacked(VECTORS, BLOCKS))
    a, b, c, d = lsh[rows_a], lsh[rows_b], pair[rows_a], pair[rows_b]

    def cosine(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)

    assert np.allclose(column(features, "lsh_cosine"), cosine(a, b), atol=1e-5)
    assert np.allclose(column(features, "colour_cosine"), cosine(c[:, 32:44], d[:, 32:44]), atol=1e-5)
    across = np.maximum((c[:, :16] * d[:, 16:32]).sum(1), (c[:, 16:32] * d[:, :16]).sum(1))
    assert np.allclose(column(features, "shape_crop_across"), across, atol=1e-5)
    gap = np.sqrt(np.maximum(0, 1 - across))
    assert np.allclose(column(features, "shape_crop_across_gap"), gap, atol=1e-4)


@pytest.mark.parametrize(
    "turn",
    [
        lambda p: p[:, ::-1],
        lambda p: p[::-1],
        lambda p: p[::-1, ::-1],
        np.rot90,
        np.transpose,
        lambda p: np.rot90(p, 3),
        lambda p: np.rot90(p).T,
    ],
)
def test_a_turned_or_mirrored_picture_is_recognised_by_its_spectrum(turn: object) -> None:
    block = (Block("shape", 0, 144, "dihedral"),)

    def spectrum(picture: np.ndarray) -> np.ndarray:
        low = dctn(picture, norm="ortho")[:12, :12]
        low[0, 0] = 0
        parity = low.reshape(6, 2, 6, 2).transpose(1, 3, 0, 2).ravel()
        return (parity / np.linalg.norm(parity)).astype(np.float16)

    picture = np.random.default_rng(2).normal(size=(8, 8)).repeat(8, 0).repeat(8, 1)
    both = ImageVectors(np.ones((2, 4), np.float16), np.stack([spectrum(picture), spectrum(np.asarray(turn(picture)))]))
    first, second = np.array([0]), np.array([1])
    values = dict(zip(feature_names(block), pair_features(both, first, both, second, block)[0], strict=True))
    assert values["shape_turned"] > 0.999
    assert values["shape_upright"] < 0.7


def test_parts_compared_apart_are_not_compared_with_each_other() -> None:
    alone = (Block("blue", 0, 16, "apart"), Block("red", 16, 32, "apart"))
    assert [name for name in feature_names(alone) if "across" in name] == []
    together = feature_names([block._replace(comparison="dihedral") for block in alone])
    assert "blue_red_across" in together


def test_levels_give_the_difference_and_the_smaller_value() -> None:
    rows = ImageVectors(np.ones((2, 4), np.float16), np.array([[7, 2], [5, 3]], np.float16))
    features = pair_features(rows, np.array([0]), rows, np.array([1]), [Block("levels", 0, 2, "level")])[0]
    names = feature_names([Block("levels", 0, 2, "level")])
    values = dict(zip(names, features.tolist(), strict=True))
    found = [values[f"levels_{name}"] for name in ("0_difference", "0_smaller", "1_difference", "1_smaller")]
    assert np.allclose(found, [2, 5, 1, 2], rtol=0.03)


def test_zero_vectors_give_finite_features() -> None:
    zeros = ImageVectors(np.zeros((2, 32), np.float16), np.zeros((2, 46), np.float16))
    assert np.isfinite(pair_features(zeros, np.arange(2), zeros, np.arange(2), BLOCKS)).all()


def test_every_finite_float16_is_widened_exactly() -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)].reshape(-1, 8)
    order = np.random.default_rng(0).permutation(len(finite))
    found = widened(finite, order)
    assert found.dtype == np.float32
    assert (found.view(np.uint32) == finite[order].astype(np.float32).view(np.uint32)).all()


def test_an_unknown_comparison_is_rejected_by_name() -> None:
    with pytest.raises(ValueError, match="'x': no comparison 'guess'"):
        feature_names([Block("x", 0, 4, "guess")])


def test_a_block_that_is_no_spectrum_is_rejected_by_name() -> None:
    with pytest.raises(ValueError, match="'x': 20 entries"):
        feature_names([Block("x", 0, 20, "dihedral")])


@pytest.mark.parametrize("rows", [[0, len(DATA.groups)], [-1, 0]])
def test_rows_that_do_not_exist_are_rejected_before_anything_is_read(rows: list[int]) -> None:
    with pytest.raises(IndexError, match=f"of a table of {len(DATA.groups)}"):
        features_of(np.array([0, 1]), np.array(rows))
    with pytest.raises(IndexError, match=f"of a table of {len(DATA.groups)}"):
        widened(DATA.lsh, np.array(rows))


def test_vectors_that_do_not_fit_are_rejected_with_the_numbers() -> None:
    one = np.array([0])
    narrow = ImageVectors(DATA.lsh, DATA.pair[:, :-1])
    with pytest.raises(ValueError, match="45"):
        pair_features(VECTORS, one, narrow, one, BLOCKS)
    with pytest.raises(ValueError, match="'statistics': entries 44…46 of 45"):
        pair_features(narrow, one, narrow, one, BLOCKS)
    with pytest.raises(ValueError, match="float32"):
        widened(DATA.lsh.astype(np.float32), one)
    with pytest.raises(ValueError, match="int32"):
        features_of(one, one.astype(np.int32))
