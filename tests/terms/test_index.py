"""Claims about the term index, against a brute-force model."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neardup_platform.terms import index as index_module
from neardup_platform.terms.index import TermIndex

TABLES, BITS = 6, 3


def brute_force(terms: np.ndarray, query: np.ndarray, k: int, min_overlap: int, before: int) -> list[tuple]:
    overlaps = (terms[:before] == query).sum(axis=1)
    ranked = sorted((-int(o), i) for i, o in enumerate(overlaps) if o >= min_overlap)
    return [(i, -o) for o, i in ranked[:k]]


def found(index: TermIndex, query: np.ndarray, k: int, min_overlap: int = 1) -> list[tuple]:
    result = index.search(query[None], k, min_overlap)
    pairs = zip(result.ordinals[0].tolist(), result.overlaps[0].tolist(), strict=True)
    return [(o, c) for o, c in pairs if o >= 0]


@pytest.fixture(autouse=True)
def small_delta(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seal and merge often, so that every layout is met."""
    monkeypatch.setattr(index_module, "DELTA_IMAGES", 16)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1 << 16),
    batches=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    k=st.integers(1, 30),
    min_overlap=st.integers(1, TABLES),
)
def test_search_equals_brute_force_whatever_the_batches(
    seed: int, batches: list[int], k: int, min_overlap: int
) -> None:
    rng = np.random.default_rng(seed)
    index = TermIndex(TABLES, BITS)
    every = np.zeros((0, TABLES), np.uint16)
    for size in batches:
        terms = rng.integers(0, 1 << BITS, (size, TABLES)).astype(np.uint16)
        ordinals = index.add(terms)
        every = np.concatenate([every, terms])
        assert ordinals.tolist() == list(range(len(every) - size, len(every)))
        for query in (terms[0], rng.integers(0, 1 << BITS, TABLES).astype(np.uint16)):
            expected = brute_force(every, query, k, min_overlap, len(every))
            assert found(index, query, k, min_overlap) == expected
    index.wait_for_merges()
    assert found(index, every[0], k, min_overlap) == brute_force(every, every[0], k, min_overlap, len(every))


def test_images_of_one_batch_see_those_before_them_and_not_those_after() -> None:
    index = TermIndex(TABLES, BITS)
    index.add(np.zeros((3, TABLES), np.uint16))
    batch = np.zeros((4, TABLES), np.uint16)
    ordinals = index.add(batch)
    result = index.search(batch, 10, 1, before=ordinals)
    for row, ordinal in enumerate(ordinals):
        assert result.ordinals[row][result.ordinals[row] >= 0].tolist() == list(range(ordinal))


def test_older_image_wins_among_equals() -> None:
    index = TermIndex(TABLES, BITS)
    index.add(np.ones((50, TABLES), np.uint16))
    assert [o for o, _ in found(index, np.ones(TABLES, np.uint16), 5)] == [0, 1, 2, 3, 4]


def test_merges_leave_geometrically_growing_segments() -> None:
    index = TermIndex(TABLES, BITS)
    for _ in range(200):
        index.add(np.zeros((16, TABLES), np.uint16))
    index.wait_for_merges()
    sizes = [segment.images for segment in index._segments]
    assert sum(sizes) + index._delta_images == 3_200
    assert all(a >= index_module.MERGE_FACTOR * b for a, b in pairwise(sizes))
