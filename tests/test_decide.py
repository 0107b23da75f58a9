"""Claims about the decide path: evidence in, ruling out."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from neardup_platform.clusters.decision import Agreement, Constraint, Guard
from neardup_platform.decide import NO_HEAD, Evidence, Recording, Ruling, decide
from neardup_platform.matching import Scored, Thresholds
from neardup_platform.records import HeldApart
from neardup_platform.scoring.vectors import ImageVectors

THRESHOLDS = Thresholds(match=0.9, head=0.8, guard=Guard(8, 0.5))


class FixedClusters:
    """Image n is in the cluster of image n - n % 10; image 13 is in none. All clusters have the same size."""

    def __init__(self, size: int = 3) -> None:
        self.size = size

    def heads_of(self, ordinals: np.ndarray) -> np.ndarray:
        return np.where(ordinals == 13, NO_HEAD, ordinals - ordinals % 10)

    def id_of(self, ordinal: int) -> str:
        return f"image {ordinal}"

    def size_of(self, head: int) -> int:
        assert head % 10 == 0
        return self.size

    def vectors_of(self, ordinal: int) -> ImageVectors:
        raise AssertionError("no vector is needed")


class OneTerm:
    """Every candidate has one term in common, of 32."""

    tables = 32

    def of(self, _row: int, ordinals: NDArray[np.int64]) -> NDArray[np.uint8]:
        return np.ones(len(ordinals), np.uint8)


def scored(*candidates: tuple[int, float]) -> Scored:
    """One row of candidates, padded at the end."""
    ordinals = np.array([[ordinal for ordinal, _ in candidates] + [-1, -1]], np.int64)
    scores = np.array([[score for _, score in candidates] + [0, 0]], np.float32)
    kinds = np.ones(ordinals.shape, np.uint8)
    return Scored(ordinals, OneTerm(), scores, np.array([5]), np.array([False]), kinds)


def evidence(*candidates: tuple[int, float], leaving: int = NO_HEAD) -> Evidence:
    found = Evidence.of(scored(*candidates), 0, FixedClusters())
    return replace(found, leaving=leaving)


def ruling(
    found: Evidence, constraint: Constraint | None = None, recording: Recording | None = None, *, size: int = 3
) -> Ruling:
    return decide(
        found,
        THRESHOLDS,
        lambda head: 0.95 if head < 30 else 0.5,
        FixedClusters(size),
        constraint or Constraint(),
        recording or Recording(),
    )


def test_the_best_match_whose_head_agrees_gives_the_cluster_and_the_others_are_bridges() -> None:
    found = ruling(evidence((12, 0.92), (21, 0.95), (31, 0.99)))
    assert (found.head, found.head_id, found.matches) == (20, "image 20", 3)
    assert (found.score, found.head_score) == (pytest.approx(0.95), 0.95)
    assert found.bridges == ("image 30", "image 10")


def test_candidates_are_recorded_best_first_with_their_clusters_and_the_older_first_among_equals() -> None:
    found = ruling(evidence((22, 0.5), (11, 0.9), (21, 0.5), (5, 0.1)))
    assert [(c.image_id, c.head) for c in found.candidates] == [
        ("image 11", "image 10"),
        ("image 21", "image 20"),
        ("image 22", "image 20"),
        ("image 5", "image 0"),
    ]


def test_candidates_are_recorded_with_their_kinds() -> None:
    found = scored((22, 0.5), (11, 0.9), (21, 0.6))
    kinds = np.array([[3, 1, 0, 0, 0]], np.uint8)
    named = ruling(Evidence.of(replace(found, kinds=kinds), 0, FixedClusters()))
    assert [(c.image_id, c.kind) for c in named.candidates] == [
        ("image 11", "same"),
        ("image 21", ""),
        ("image 22", "same-template"),
    ]


def test_a_recording_bounds_number_and_score() -> None:
    candidates = evidence(*((n, n / 20) for n in range(1, 10)))
    assert [c.image_id for c in ruling(candidates, recording=Recording(2, 0.0)).candidates] == ["image 9", "image 8"]
    assert len(ruling(candidates, recording=Recording(100, 0.25)).candidates) == 5


def test_a_candidate_without_a_cluster_is_neither_a_match_nor_recorded() -> None:
    found = ruling(evidence((13, 0.99)))
    assert (found.head, found.matches, found.candidates) == (None, 0, ())


def test_members_of_the_cluster_that_the_image_leaves_are_recorded_and_no_matches() -> None:
    found = ruling(evidence((21, 0.99), (11, 0.93), leaving=20))
    assert (found.head, found.matches, found.bridges) == (10, 1, ())
    assert [c.image_id for c in found.candidates] == ["image 21", "image 11"]


def test_a_constraint_takes_precedence_and_names_its_override() -> None:
    matched = evidence((21, 0.99), (11, 0.93))
    assert ruling(matched, Constraint(head=10, override_id="o")).head_id == "image 10"
    alone = ruling(matched, Constraint(alone=True, override_id="o"))
    assert (alone.head, alone.head_id, alone.override_id) == (None, None, "o")
    barred = ruling(matched, Constraint(barred={20: "b"}))
    assert (barred.head, barred.override_id) == (10, "b")


def test_a_score_equal_to_the_threshold_in_single_precision_is_a_match() -> None:
    """The store holds both in single precision, in which 0.9 is a little less than 0.9."""
    assert ruling(evidence((11, float(np.float32(0.9))))).matches == 1
    assert ruling(evidence((11, float(np.nextafter(np.float32(0.9), np.float32(0)))))).matches == 0


def test_candidates_below_the_minimum_are_not_looked_up() -> None:
    found = Evidence.of(scored((11, 0.95), (21, 0.5)), 0, FixedClusters(), min_score=0.9)
    assert found.ordinals.tolist() == [11]


def test_the_agreement_counts_the_candidates_in_the_cluster_and_the_head_once() -> None:
    apart = evidence((11, 0.95), (12, 0.8), (13, 0.9), (14, 0.7), (21, 0.99))
    assert apart.agreement(10, THRESHOLDS, 9) == Agreement(agreed=3, compared=4, size=9)
    among = evidence((11, 0.95), (12, 0.8), (10, 0.85), (14, 0.7), (21, 0.99))
    assert among.agreement(10, THRESHOLDS, 9) == Agreement(agreed=3, compared=4, size=9)
    assert evidence((21, 0.99)).agreement(10, THRESHOLDS, 9) == Agreement(agreed=1, compared=1, size=9)


def test_candidates_that_were_not_looked_at_neither_agree_nor_disagree() -> None:
    passed = replace(THRESHOLDS, passed_over=0.12)
    found = evidence((11, 0.95), (12, 0.12), (14, 0.12), (10, 0.12))
    assert found.agreement(10, THRESHOLDS, 9) == Agreement(agreed=1, compared=4, size=9)
    assert found.agreement(10, passed, 9) == Agreement(agreed=2, compared=2, size=9)


def test_an_image_that_agrees_with_few_members_of_a_large_cluster_is_held_apart_and_says_so() -> None:
    chain = evidence((17, 0.95), (16, 0.7), (15, 0.4), (14, 0.1), (12, 0.0))
    found = ruling(chain, size=8)
    assert (found.head, found.score, found.bridges) == (None, 0.0, ("image 10",))
    assert found.guard == HeldApart("chain-suspected", "image 10", agreed=2, compared=6, size=8)
    assert ruling(chain, size=7).head == 10
    assert ruling(chain, size=7).guard is None


def test_an_image_held_apart_joins_the_next_best_cluster() -> None:
    two = evidence((17, 0.95), (16, 0.7), (15, 0.4), (14, 0.1), (21, 0.93), (22, 0.9))
    found = ruling(two, size=8)
    assert (found.head_id, found.bridges) == ("image 20", ("image 10",))
    assert found.guard is not None
    assert found.guard.head == "image 10"


def test_a_copy_of_a_member_joins_a_guarded_cluster() -> None:
    chain = evidence((17, 0.95), (16, 0.7), (15, 0.4), (14, 0.1), (12, 0.0))
    copy = replace(chain, equal=chain.ordinals == 17)
    assert (ruling(copy, size=8).head, ruling(copy, size=8).guard) == (10, None)
    unlike = replace(chain, equal=chain.ordinals == 12)
    assert ruling(unlike, size=8).head is None


def test_a_constraint_joins_a_guarded_cluster() -> None:
    chain = evidence((17, 0.95), (16, 0.7), (15, 0.4), (14, 0.1), (12, 0.0))
    moved = ruling(chain, Constraint(head=10, override_id="o"), size=8)
    assert (moved.head, moved.guard) == (10, None)


def test_thresholds_without_a_guard_hold_nothing_apart() -> None:
    chain = evidence((17, 0.95), (16, 0.7), (15, 0.4), (14, 0.1))
    thresholds = replace(THRESHOLDS, guard=Guard(0, 0.5))
    assert decide(chain, thresholds, lambda _: 0.95, FixedClusters(1_000_000)).head == 10
