"""Claims about the decision rule."""

from neardup_platform.clusters.decision import Constraint, Verdict, choose_cluster


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
