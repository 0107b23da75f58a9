"""Pair scores and terms are equal to the last bit in any batch; replay and restarts rely on it."""

import numpy as np
import pytest

from neardup_platform.intrinsics import TILE_ROWS
from neardup_platform.scoring.keras_classifier import MIN_PART_PAIRS, PART_PAIRS, PairClassifier
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.terms.hyperplanes import load_term_space

IMAGES = 600
SIZES = [*range(1, 2 * TILE_ROWS + 2), 100, 255, 256, 1_000, MIN_PART_PAIRS - 1, 2 * MIN_PART_PAIRS + 1]


@pytest.fixture(scope="module")
def classifier() -> PairClassifier:
    return PairClassifier()


@pytest.fixture(scope="module")
def vectors(classifier: PairClassifier) -> ImageVectors:
    """Vectors of pairs from nearly equal to unrelated, so that scores spread between 0 and 1."""
    rng = np.random.default_rng(0)
    sides = []
    for dim in (classifier.card.lsh_dim, classifier.card.pair_dim):
        one = rng.standard_normal((IMAGES // 2, dim))
        noise = rng.uniform(0.01, 1.5, (IMAGES // 2, 1)) * rng.standard_normal((IMAGES // 2, dim))
        both = np.concatenate([one, one + noise])
        sides.append((both / np.linalg.norm(both, axis=1, keepdims=True)).astype(np.float16))
    return ImageVectors(*sides)


def test_a_score_does_not_depend_on_the_number_of_pairs_or_the_position(
    classifier: PairClassifier, vectors: ImageVectors
) -> None:
    a = np.random.default_rng(1).integers(0, IMAGES, PART_PAIRS + 5)
    b = (a + IMAGES // 2 * np.random.default_rng(2).integers(1, 3, len(a))) % IMAGES
    whole = classifier.first_scores(vectors, a, vectors, b)
    assert np.mean((whole > 0.01) & (whole < 0.99)) > 0.05
    for size in SIZES:
        for at in (0, 1, len(a) - size):
            part = slice(at, at + size)
            assert np.array_equal(classifier.first_scores(vectors, a[part], vectors, b[part]), whole[part]), (size, at)
    order = np.random.default_rng(3).permutation(len(a))
    assert np.array_equal(classifier.first_scores(vectors, a[order], vectors, b[order]), whole[order])


def test_the_hash_of_an_image_does_not_depend_on_the_batch(vectors: ImageVectors) -> None:
    space, lsh = load_term_space(None), vectors.lsh.astype(np.float32)
    whole = space.hash(lsh)
    for size in (1, 2, 3, 4, 5, 7, 8, 12, 31, 64, IMAGES - 1):
        for at in range(0, IMAGES, max(size, 29)):
            part = slice(at, at + size)
            alone = space.hash(lsh[part])
            assert np.array_equal(alone.unit, whole.unit[part])
            assert np.array_equal(alone.signatures, whole.signatures[part])
            assert np.array_equal(alone.affinities, whole.affinities[part])
