"""Claims about the decision rule."""

import pytest

from neardup_platform.clusters.decision import (
    UNGUARDED,
    Agreement,
    Constraint,
    Guard,
    Objection,
    Verdict,
    choose_cluster,
)

FEW = Objection("chain-suspected", Agreement(agreed=1, compared=9, size=9))


def unexpected_head(head: int) -> float:
    raise AssertionError(f"head {head} was scored")


def test_no_match_founds_a_cluster() -> None:
    verdict = choose_cluster([], unexpected_head, 0.5)
    assert (verdict.head, verdict.score, verdict.head_score, verdict.bridges) == (None, 0.0, 1.0, ())


def test_best_match_wins_when_its_head_agrees() -> None:
    verdict = choose_cluster([(0.8, 1, 10), (0.9, 2, 20)], {10: 0.9, 20: 0.6}.__getitem__, 0.5)
    assert (verdict.head, verdict.score, verdict.head_score) == (20, 0.9, 0.6)
    assert verdict.bridges == (10,)


def test_match_without_its_head_does_not_chain() -> None:
    verdict = choose_cluster([(0.99, 1, 10)], {10: 0.1}.__getitem__, 0.5)
    assert verdict.head is None
    assert verdict.bridges == (10,)


def test_next_cluster_is_tried_when_the_best_head_disagrees() -> None:
    verdict = choose_cluster([(0.99, 1, 10), (0.9, 2, 20)], {10: 0.1, 20: 0.8}.__getitem__, 0.5)
    assert (verdict.head, verdict.score, verdict.bridges) == (20, 0.9, (10,))


def test_older_match_wins_among_equal_scores() -> None:
    verdict = choose_cluster([(0.9, 7, 20), (0.9, 3, 10)], lambda _: 1.0, 0.5)
    assert verdict.head == 10


def test_each_head_is_scored_once() -> None:
    asked: list[int] = []
    choose_cluster([(0.9, 1, 10), (0.8, 2, 10)], lambda head: asked.append(head) or 0.0, 0.5)
    assert asked == [10]


def choose_under(constraint: Constraint) -> Verdict:
    """Choose between matches in clusters 1 and 2. Cluster 1 has the better one; both heads agree."""
    return choose_cluster([(0.99, 5, 1), (0.95, 6, 2)], {1: 0.97, 2: 0.9, 7: 0.1}.__getitem__, 0.8, constraint)


def test_a_forced_cluster_is_joined_whatever_the_scores() -> None:
    assert choose_under(Constraint(7, override_id="x")) == Verdict(7, 0.0, 0.1, (1, 2), "x")
    assert choose_under(Constraint(2, override_id="x")) == Verdict(2, 0.95, 0.9, (1,), "x")


def test_an_image_that_must_be_alone_founds_a_cluster_and_all_matches_are_bridges() -> None:
    assert choose_under(Constraint(alone=True, override_id="x")) == Verdict(None, 0.0, 1.0, (1, 2), "x")


def test_a_barred_cluster_is_skipped_and_its_override_recorded() -> None:
    assert choose_under(Constraint(barred={1: "x"})) == Verdict(2, 0.95, 0.9, (1,), "x")
    assert choose_under(Constraint(barred={1: "x", 2: "y"})) == Verdict(None, 0.0, 1.0, (1, 2), "x")


def test_an_override_that_changes_nothing_is_not_recorded() -> None:
    assert choose_under(Constraint(barred={2: "y", 9: "z"})) == Verdict(1, 0.99, 0.97, (2,))


@pytest.mark.parametrize(
    ("agreed", "compared", "size", "admitted"),
    [
        (1, 9, 7, True),  # A small cluster is not guarded.
        (1, 9, 8, False),
        (4, 9, 8, False),
        (5, 9, 8, True),  # More than half.
        (4, 8, 8, True),  # Half.
        (3, 8, 8, False),
        (1, 1, 8, True),  # Only the head could be compared.
        (1, 2, 8, False),  # Half, but one alone.
        (2, 2, 8, True),
        (2, 3, 1_100_000, True),
        (1, 3, 1_100_000, False),
        (33, 33, 1_100_000, True),
    ],
)
def test_a_large_cluster_admits_an_image_that_agrees_with_half_of_the_members_compared_and_with_two(
    agreed: int, compared: int, size: int, admitted: bool
) -> None:
    assert Guard(8, 0.5).admits(Agreement(agreed, compared, size)) is admitted


@pytest.mark.parametrize(
    ("share", "agreed", "compared", "admitted"),
    [(0.55, 11, 20, True), (0.55, 10, 20, False), (0.07, 7, 100, True), (0.07, 6, 100, False), (1.0, 9, 9, True)],
)
def test_a_share_that_is_met_exactly_is_enough(share: float, agreed: int, compared: int, admitted: bool) -> None:
    """0.55 × 20 and 0.07 × 100 are a little more than 11 and 7 in floating point."""
    assert Guard(8, share).admits(Agreement(agreed, compared, 8)) is admitted


@pytest.mark.parametrize("guard", [Guard(0, 0.5), Guard(8, 0.0), UNGUARDED])
def test_a_size_or_a_share_of_0_guards_no_cluster(guard: Guard) -> None:
    assert not guard.watches(1_000_000)
    assert guard.admits(Agreement(1, 100, 1_000_000))


def choose_guarded(held: set[int], constraint: Constraint = Constraint()) -> Verdict:  # noqa: B008 -- frozen
    """Choose between matches in clusters 1, 2 and 3, best first; all heads agree. The guard objects to some."""
    matches, scores = [(0.99, 5, 1), (0.95, 6, 2), (0.92, 7, 3)], {1: 0.97, 2: 0.9, 3: 0.85}
    return choose_cluster(matches, scores.__getitem__, 0.8, constraint, lambda head: FEW if head in held else None)


def test_the_next_best_cluster_is_tried_where_the_guard_objects() -> None:
    assert choose_guarded({1}) == Verdict(2, 0.95, 0.9, (1, 3), held_apart=(1, FEW))


def test_an_image_that_every_cluster_is_guarded_from_founds_one_and_the_best_is_named() -> None:
    assert choose_guarded({1, 2, 3}) == Verdict(None, 0.0, 1.0, (1, 2, 3), held_apart=(1, FEW))


def test_a_guarded_cluster_that_is_not_reached_is_not_named() -> None:
    assert choose_guarded({2}) == Verdict(1, 0.99, 0.97, (2, 3))


def test_only_clusters_whose_head_agrees_are_guarded() -> None:
    asked: list[int] = []

    def objection(head: int) -> Objection | None:
        asked.append(head)
        return None

    matches = [(0.99, 5, 1), (0.95, 6, 2), (0.92, 7, 3)]
    verdict = choose_cluster(matches, {1: 0.1, 2: 0.9, 3: 0.85}.__getitem__, 0.8, objection=objection)
    assert (verdict.head, asked) == (2, [2])


def test_an_override_beats_the_guard() -> None:
    assert choose_guarded({1, 2, 3}, Constraint(1, override_id="x")) == Verdict(1, 0.99, 0.97, (2, 3), "x")
    assert choose_guarded({1}, Constraint(alone=True, override_id="x")) == Verdict(None, 0.0, 1.0, (1, 2, 3), "x")


def test_an_override_that_bars_what_the_guard_holds_apart_changes_nothing() -> None:
    assert choose_guarded({1}, Constraint(barred={1: "x"})) == Verdict(2, 0.95, 0.9, (1, 3), held_apart=(1, FEW))
    assert choose_guarded({1}, Constraint(barred={2: "y"})) == Verdict(3, 0.92, 0.85, (1, 2), "y", (1, FEW))
