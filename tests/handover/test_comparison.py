"""Claims about an hour compared: earlier images show joins; other names and unknown images are no disagreement."""

from neardup_platform.handover.comparison import compare


def test_an_image_that_joins_an_earlier_cluster_at_both_agrees() -> None:
    found = compare({"x": "old", "y": "y"}, {"x": "old", "y": "y", "old": "old"})
    assert (found.agreement.images, found.agreement.together, found.agreement.agreement) == (2, 1, 1.0)
    assert (found.agreement.pairs_both, found.agreement.clusters, found.agreement.identical) == (1, 2, 2)
    assert found.other_heads == ()


def test_another_name_of_a_cluster_is_another_head_and_no_disagreement() -> None:
    found = compare({"a": "a", "b": "a", "c": "k7", "d": "k7"}, {"a": "b", "b": "b", "c": "c", "d": "c"})
    assert (found.agreement.agreement, found.agreement.identical, found.disagreements) == (1.0, 2, ())
    assert found.other_heads == ("a", "b", "c", "d")


def test_an_image_that_is_new_here_and_joined_an_earlier_cluster_there_was_split_off() -> None:
    found = compare({"x": "old"}, {"x": "x", "old": "old"})
    assert (found.agreement.pair_recall, found.agreement.pair_precision) == (0.0, None)
    (split,) = found.disagreements
    assert (split.kind, split.cluster, split.images, split.pairs) == ("split", "old", 2, 1)
    assert {split.one, split.other} == {"x", "old"}
    assert {split.one_head, split.other_head} == {"x", "old"}


def test_an_image_that_is_new_there_and_joined_an_earlier_cluster_here_was_merged() -> None:
    found = compare({"x": "x", "y": "x"}, {"x": "old", "y": "old"})
    assert (found.agreement.pair_recall, found.agreement.pairs_ours, found.agreement.pairs_both) == (1.0, 3, 1)
    (merged,) = found.disagreements
    assert (merged.kind, merged.cluster, merged.images, merged.pairs) == ("merged", "old", 3, 2)
    assert {merged.one, merged.other} == {"x", "old"}


def test_joining_another_earlier_cluster_than_the_other_pipeline_is_one_disagreement() -> None:
    found = compare({"x": "old"}, {"x": "older", "old": "old"})
    assert [(each.kind, each.cluster) for each in found.disagreements] == [("split", "old")]
    same = compare({"x": "old"}, {"x": "older", "old": "older"})
    assert (same.agreement.agreement, same.disagreements, same.other_heads) == (1.0, (), ("x",))


def test_images_that_are_not_decided_here_are_not_compared() -> None:
    found = compare({"a": "a", "b": "a", "c": "lost"}, {"a": "a", "c": "c"})
    assert (found.agreement.images, found.agreement.together) == (2, 0)
    assert found.other_heads == ("c",)
    assert compare({}, {}).agreement.agreement is None
    assert compare({"a": "a"}, {}).agreement.images == 0
