"""Claims about which members represent a cluster in the term index."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.clusters.representatives import NEW_TERMS_SHARE, is_representative

TABLES = 64
STALE = round((1 - NEW_TERMS_SHARE) * TABLES)
COUNTS = st.integers(0, 10**7)
OVERLAPS = st.integers(0, TABLES)


@given(COUNTS, st.integers(1, 100), OVERLAPS)
def test_a_founder_represents_its_cluster_whatever_it_resembles(representatives: int, most: int, overlap: int) -> None:
    assert is_representative(True, representatives, most, overlap, TABLES)


@given(st.integers(1, 100), COUNTS, OVERLAPS)
def test_a_cluster_with_enough_representatives_gets_no_more(most: int, beyond: int, overlap: int) -> None:
    assert not is_representative(False, most + beyond, most, overlap, TABLES)


@pytest.mark.parametrize(("overlap", "represents"), [(0, True), (STALE, True), (STALE + 1, False), (TABLES, False)])
def test_a_member_represents_when_a_quarter_of_its_terms_is_new(overlap: int, represents: bool) -> None:
    assert is_representative(False, 3, 32, overlap, TABLES) is represents


@given(COUNTS, st.integers(1, 100), OVERLAPS, st.integers(0, TABLES))
def test_more_new_terms_never_count_against_a_member(have: int, most: int, overlap: int, more: int) -> None:
    if is_representative(False, have, most, overlap, TABLES):
        assert is_representative(False, have, most, max(0, overlap - more), TABLES)


@given(st.lists(OVERLAPS, max_size=200), st.integers(1, 8))
def test_no_cluster_ever_has_more_representatives_than_allowed(overlaps: list[int], most: int) -> None:
    representatives = 1
    for overlap in overlaps:
        representatives += is_representative(False, representatives, most, overlap, TABLES)
    assert representatives <= most
