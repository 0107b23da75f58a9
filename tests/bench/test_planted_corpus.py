"""The corpus for measuring candidate search."""

import numpy as np
import pytest

from neardup_platform.bench.image_tree import MEASURED_TAIL, centred_to_embeddings
from neardup_platform.bench.planted_corpus import CHUNK_IMAGES, PlantedCorpus
from neardup_platform.errors import SetupError
from tests.bench.planting import planted, small_space

DOCS = 2 * CHUNK_IMAGES - 1_000


@pytest.fixture(scope="module")
def drawn() -> tuple[PlantedCorpus, np.ndarray]:
    corpus = PlantedCorpus(planted(groups=300, copies=1, distractors=400, dim=256), DOCS, seed=11)
    return corpus, np.concatenate(list(corpus.chunks()))


def test_cosines_of_pairs_have_the_measured_tail(drawn: tuple[PlantedCorpus, np.ndarray]) -> None:
    _, images = drawn
    # From different chunks, so from different families: in such a small corpus their share would be too large.
    cosines = (images[:CHUNK_IMAGES:7] @ images[CHUNK_IMAGES::7].T).ravel()
    for share, measured in MEASURED_TAIL.items():
        assert np.quantile(cosines, 1 - share) == pytest.approx(measured, abs=0.03), share


def test_a_planted_picture_has_as_many_hard_negatives_as_real_ones(drawn: tuple[PlantedCorpus, np.ndarray]) -> None:
    corpus, images = drawn
    cosines = images[corpus.ordinals[:300]] @ images.T
    for share, cosine in ((2e-4, 0.55), (2e-5, 0.75)):
        assert 0.3 * share * DOCS < (cosines > cosine).sum(axis=1).mean() < 30 + 3 * share * DOCS
        assert (cosines > cosine).sum() > 300 * 2


def test_the_corpus_has_its_size_and_its_vectors_have_unit_length(drawn: tuple[PlantedCorpus, np.ndarray]) -> None:
    _, images = drawn
    assert images.shape == (DOCS, 256)
    assert images.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1, atol=1e-5)


def test_planted_pictures_are_at_the_stated_places_all_over_the_corpus(drawn: tuple[PlantedCorpus, np.ndarray]) -> None:
    corpus, images = drawn
    vectors = planted(groups=300, copies=1, distractors=400, dim=256).unit
    np.testing.assert_array_equal(images[corpus.ordinals], vectors)
    assert len(set(corpus.ordinals.tolist())) == len(vectors)
    in_each_tenth = np.histogram(corpus.ordinals, bins=10, range=(0, DOCS))[0]
    assert in_each_tenth.min() > len(vectors) / 20


def test_a_larger_corpus_starts_with_the_images_of_a_smaller_one(drawn: tuple[PlantedCorpus, np.ndarray]) -> None:
    _, images = drawn
    larger = PlantedCorpus(planted(groups=300, copies=1, distractors=400, dim=256), 3 * CHUNK_IMAGES, seed=11)
    first = next(larger.chunks())
    same = (first == images[:CHUNK_IMAGES]).all(axis=1).mean()
    assert 0.85 < same < 1  # all but what is planted, at other places


def test_another_seed_gives_another_corpus(drawn: tuple[PlantedCorpus, np.ndarray]) -> None:
    _, images = drawn
    other = PlantedCorpus(planted(groups=300, copies=1, distractors=400, dim=256), DOCS, seed=12)
    assert not (next(other.chunks()) == images[:CHUNK_IMAGES]).all(axis=1).any()


def test_families_have_six_images_on_average(drawn: tuple[PlantedCorpus, np.ndarray]) -> None:
    _, images = drawn
    sample = images[:CHUNK_IMAGES:40]
    relatives = (sample @ images[:CHUNK_IMAGES].T > 0.87).sum(axis=1) - 1
    # The family of a random image is larger than a random family: E[s²] / E[s] = 6 e for these log-normal sizes.
    assert 8 < relatives.mean() < 24


def test_newcomers_are_not_in_the_corpus(drawn: tuple[PlantedCorpus, np.ndarray]) -> None:
    corpus, images = drawn
    assert (corpus.newcomers()[:500] @ images.T).max() < 0.999


def test_too_small_a_corpus_is_refused_with_the_minimum_size() -> None:
    few = planted(groups=10, copies=1, distractors=0, dim=32)
    with pytest.raises(SetupError, match="use at least"):
        PlantedCorpus(few, 30, seed=1)


def test_centring_an_embedding_restores_the_vector_it_was_made_from() -> None:
    unit = planted(groups=50, copies=0, distractors=0, dim=32).unit
    mean = np.full(32, 0.05, np.float32)
    embeddings = centred_to_embeddings(unit, mean)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)
    centred = embeddings - mean
    np.testing.assert_allclose(centred / np.linalg.norm(centred, axis=1, keepdims=True), unit, atol=1e-6)
    space = small_space()
    np.testing.assert_allclose(space.hash(centred_to_embeddings(unit, space.mean)).unit, unit, atol=1e-5)
