"""Features are symmetric, bounded, equal to their definition, and blind to mirroring where they should be."""

import numpy as np
import pytest
from scipy.fft import dctn

from neardup_platform.scoring.features import Block, feature_names, pair_features
from tests.scoring.labelled import BLOCKS, labelled

NAMES = feature_names(BLOCKS)


def rows(n: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    data = labelled(seed=seed)
    order = np.random.default_rng(seed).integers(0, len(data.groups), (2, n))
    return data.lsh[order[0]], data.lsh[order[1]], data.pair[order[0]], data.pair[order[1]]


def column(features: np.ndarray, name: str) -> np.ndarray:
    return features[:, NAMES.index(name)]


def test_exchanging_the_two_images_changes_nothing() -> None:
    a, b, c, d = rows(300)
    assert np.allclose(pair_features(a, b, c, d, BLOCKS), pair_features(b, a, d, c, BLOCKS), atol=1e-5)


def test_an_image_is_as_like_itself_as_can_be() -> None:
    a, _, c, _ = rows(50)
    features = pair_features(a, a, c, c, BLOCKS)
    for name in ("lsh_cosine", "shape_upright", "shape_coarse", "colour_cosine"):
        assert np.allclose(column(features, name), 1, atol=2e-3), name
    for name in ("colour_distance", "statistics_0", "statistics_1"):
        assert np.allclose(column(features, name), 0), name


def test_rows_do_not_influence_one_another() -> None:
    vectors = rows(3000)
    together = pair_features(*vectors, BLOCKS)
    for row in (0, 1023, 1024, 2999):
        alone = pair_features(*(v[row : row + 1] for v in vectors), BLOCKS)
        assert np.allclose(together[row], alone[0], atol=1e-6)


def test_float16_and_float32_rows_of_equal_value_give_equal_features() -> None:
    vectors = rows(100)
    wide = pair_features(*(v.astype(np.float32) for v in vectors), BLOCKS)
    assert np.array_equal(pair_features(*vectors, BLOCKS), wide)


def test_cosines_equal_their_definition() -> None:
    a, b, c, d = (v.astype(np.float64) for v in rows(200))
    features = pair_features(*rows(200), BLOCKS)

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
        return (parity / np.linalg.norm(parity))[None].astype(np.float32)

    picture = np.random.default_rng(2).normal(size=(8, 8)).repeat(8, 0).repeat(8, 1)
    a, b = spectrum(picture), spectrum(np.asarray(turn(picture)))
    ones = np.ones((1, 4), np.float32)
    values = dict(zip(feature_names(block), pair_features(ones, ones, a, b, block)[0], strict=True))
    assert values["shape_turned"] > 0.999
    assert values["shape_upright"] < 0.7


def test_zero_vectors_give_finite_features() -> None:
    zeros = np.zeros((2, 32), np.float16), np.zeros((2, 46), np.float16)
    assert np.isfinite(pair_features(zeros[0], zeros[0], zeros[1], zeros[1], BLOCKS)).all()


def test_an_unknown_comparison_is_named() -> None:
    with pytest.raises(ValueError, match="'x': no comparison 'guess'"):
        feature_names([Block("x", 0, 4, "guess")])
