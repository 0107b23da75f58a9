"""Training pairs are those that the search would return, each once."""

import numpy as np

from neardup_platform.learning.classifier.candidate_pairs import candidate_pairs, group_numbers
from tests.scoring.labelled import labelled


def test_every_true_pair_occurs_once_and_is_labelled() -> None:
    data = labelled()
    pairs = candidate_pairs(data.lsh, data.groups, 5)
    keys = set(zip(pairs.a.tolist(), pairs.b.tolist(), strict=True))
    assert len(keys) == len(pairs.a)
    assert (pairs.a < pairs.b).all()
    assert int(pairs.same.sum()) == 40 * 3
    for a, b, same in zip(pairs.a, pairs.b, pairs.same, strict=True):
        assert same == (data.groups[a] == data.groups[b] != "")


def test_the_nearest_by_cosine_are_the_candidates() -> None:
    data = labelled()
    pairs = candidate_pairs(data.lsh, [""] * len(data.groups), 1)
    unit = data.lsh / np.linalg.norm(data.lsh.astype(np.float32), axis=1, keepdims=True)
    cosines = unit.astype(np.float32) @ unit.astype(np.float32).T
    np.fill_diagonal(cosines, -2)
    expected = {tuple(sorted((row, int(best)))) for row, best in enumerate(cosines.argmax(axis=1))}
    assert set(zip(pairs.a.tolist(), pairs.b.tolist(), strict=True)) == expected
    assert not pairs.same.any()


def test_more_candidates_than_images_give_every_pair() -> None:
    data = labelled(groups=2, distractors=3)
    assert len(candidate_pairs(data.lsh, data.groups, 500).a) == 9 * 8 // 2


def test_images_without_a_group_never_share_a_number() -> None:
    assert group_numbers(["b", "", "a", "", "b"]).tolist() == [1, -2, 0, -4, 1]
