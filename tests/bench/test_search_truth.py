"""What candidate search should find."""

import numpy as np

from neardup_platform.bench.image_tree import unit_rows
from neardup_platform.bench.search_truth import FIRST, ExhaustiveCosine, Truth, without_self

RNG = np.random.default_rng(2)


def test_pairs_are_those_that_a_sort_of_all_cosines_puts_first() -> None:
    images = unit_rows(RNG.standard_normal((3_000, 16), np.float32))
    queries = RNG.choice(3_000, 60, replace=False)
    groups = np.arange(60) % 15
    exhaustive = ExhaustiveCosine(images[queries])
    for first in range(0, 3_000, 700):
        exhaustive.see(images[first : first + 700])
    truth = exhaustive.truth(queries, groups)

    cosines = images[queries] @ images.T
    cosines[np.arange(60), queries] = -2
    first_ones = np.argsort(-cosines, axis=1)[:, :FIRST]
    expected = {
        (row, queries[other])
        for row in range(60)
        for other in range(60)
        if row != other and groups[row] == groups[other] and queries[other] in first_ones[row]
    }
    assert set(zip(truth.rows.tolist(), truth.neighbours.tolist(), strict=True)) == expected
    assert 0 < len(expected) < truth.labelled == 60 * 3


def test_a_chunk_smaller_than_the_kept_results_is_accepted() -> None:
    images = unit_rows(RNG.standard_normal((30, 8), np.float32))
    exhaustive = ExhaustiveCosine(images[:2])
    exhaustive.see(images[:25])
    exhaustive.see(images[25:])
    truth = exhaustive.truth(np.array([0, 1]), np.array([7, 7]))
    assert truth.neighbours.tolist() == [1, 0]


def test_recall_counts_pairs_within_k_and_never_the_query_itself() -> None:
    truth = Truth(np.array([5, 9]), np.array([0, 0, 1]), np.array([9, 2, 5]), labelled=3)
    found = np.array([[5, 9, 1, 2], [1, 2, 3, 5]])
    assert truth.recall(found, 1) == 1 / 3
    assert truth.recall(found, 2) == 1 / 3
    assert truth.recall(found, 3) == 2 / 3


def test_the_query_is_removed_or_otherwise_the_last_result() -> None:
    found = np.array([[4, 7, 8, -1], [1, 2, 3, 4]])
    assert without_self(found, np.array([7, 9])).tolist() == [[4, 8, -1], [1, 2, 3]]
