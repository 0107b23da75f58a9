"""Claims about how much a search examines as the corpus grows."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.settings import TermSettings
from neardup_platform.terms.effort import MIN_SCAN, REFERENCE_IMAGES, SCAN, SHORTLIST, SIGNATURE_SHORTLIST, Effort
from neardup_platform.terms.index import TermIndex
from tests.terms.contract import SPACE, pooled

EFFORT = Effort.of(TermSettings())
sizes = st.integers(0, 10 * REFERENCE_IMAGES)


def test_the_settings_give_the_effort_at_ten_million_images() -> None:
    effort = EFFORT.within(REFERENCE_IMAGES, 150)
    assert (effort.scan, effort.shortlist) == (SCAN, SHORTLIST)
    given = Effort.of(TermSettings(scan_images=7_000, shortlist=90))
    assert (given.scan, given.shortlist) == (7_000, 90)


@pytest.mark.parametrize("asked", [{"ranking": "hamming"}, {"ranking": "overlap"}, {"min_overlap": 1}])
def test_ranking_by_signature_takes_a_longer_shortlist(asked: dict[str, Any]) -> None:
    assert Effort.of(TermSettings(**asked)).shortlist == SIGNATURE_SHORTLIST


@given(sizes, sizes, st.integers(1, 10_000))
def test_the_effort_grows_slower_than_the_corpus(one: int, other: int, k: int) -> None:
    less, more = (EFFORT.within(images, k) for images in sorted((one, other)))
    assert less.scan <= more.scan
    assert less.shortlist <= more.shortlist
    grown = max(1, one, other) / max(1, min(one, other))
    assert more.scan <= np.ceil(less.scan * grown)


@given(sizes, st.integers(1, 10_000))
def test_a_small_corpus_is_searched_whole_and_the_shortlist_holds_every_candidate(images: int, k: int) -> None:
    effort = EFFORT.within(images, k)
    assert effort.scan >= min(images, MIN_SCAN)
    assert effort.shortlist > k


@given(sizes)
def test_a_fixed_effort_does_not_depend_on_the_corpus(images: int) -> None:
    fixed = Effort(500, 20)
    assert fixed.within(images, 9) is fixed


@pytest.mark.parametrize("size", [2, 7, 16])
def test_answers_do_not_depend_on_batches_although_the_effort_grows(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neardup_platform.terms.effort.MIN_SCAN", 4)
    monkeypatch.setattr("neardup_platform.terms.effort.REFERENCE_IMAGES", 64)
    images = pooled(np.random.default_rng(0).integers(0, 192, 96).tolist())
    found = []
    for batch in (1, size):
        index = TermIndex(None, SPACE, Effort(16, 12, follows=True), block_images=16)
        rows = []
        for first, end in _within_blocks(96, batch, 16):
            ordinals = index.add(images[first:end])
            rows.append(index.search(images[first:end], 5, 0, ordinals).ordinals)
        index.close()
        found.append(np.concatenate(rows))
    assert np.array_equal(*found)


def _within_blocks(images: int, batch: int, block: int) -> list[tuple[int, int]]:
    cuts = sorted({*range(0, images, batch), *range(0, images, block), images})
    return list(pairwise(cuts))
