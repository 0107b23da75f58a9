"""Splitting labelled pictures into parts: what belongs together stays together."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from neardup_platform.errors import SetupError
from neardup_platform.evaluation.folds import parts_of

ROWS = st.lists(st.tuples(st.sampled_from(["", "", "a", "b", "c", "d"]), st.integers(0, 40)), min_size=12, max_size=60)


@settings(deadline=None)
@given(ROWS, st.integers(2, 3), st.integers(0, 5))
def test_rows_of_a_group_and_equal_files_are_in_the_same_part(
    rows: list[tuple[str, int]], folds: int, seed: int
) -> None:
    groups, pictures = [group for group, _ in rows], np.array([picture for _, picture in rows], np.uint64)
    try:
        part = parts_of(groups, pictures, folds, seed)
    except SetupError:
        assume(False)
    for name in set(groups) - {""}:
        assert len({int(p) for p, group in zip(part, groups, strict=True) if group == name}) == 1
    for picture in set(pictures.tolist()) - {0}:
        assert len(set(part[pictures == picture].tolist())) == 1


def test_every_part_gets_its_share_of_groups_and_distractors() -> None:
    groups = [f"g{number // 3}" for number in range(60)] + [""] * 41
    part = parts_of(groups, np.arange(1, 102, dtype=np.uint64), 4, seed=2)
    assert np.bincount(part[:60]).tolist() == [15] * 4
    assert sorted(np.bincount(part[60:]).tolist()) == [10, 10, 10, 11]


def test_the_split_depends_only_on_the_seed() -> None:
    groups = [f"g{number // 2}" for number in range(40)]
    cuts = [parts_of(groups, np.arange(1, 41, dtype=np.uint64), 3, seed).tolist() for seed in (1, 1, 2)]
    assert cuts[0] == cuts[1]
    assert cuts[0] != cuts[2]


def test_more_parts_than_groups_are_refused_with_the_maximum() -> None:
    groups = ["a", "a", "b", "b", "alone", "", ""]
    with pytest.raises(SetupError, match=r"3 folds.*there are 2.*--folds 2"):
        parts_of(groups, np.arange(1, 8, dtype=np.uint64), 3, seed=0)
    assert set(parts_of(groups, np.arange(1, 8, dtype=np.uint64), 2, seed=0).tolist()) == {0, 1}
