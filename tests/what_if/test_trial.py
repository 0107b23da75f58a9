"""Claims about the numbers and examples of a what-if, and about its labels and hours."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.client.answers import Override
from neardup_platform.clusters.decision import UNGUARDED
from neardup_platform.clusters.partition_diff import compare_partitions
from neardup_platform.errors import BadCommand
from neardup_platform.what_if.head_changes import head_changes
from neardup_platform.what_if.hours import parse_hours
from neardup_platform.what_if.labelled import Label, labelled_pairs, labels_of
from neardup_platform.what_if.question import Question
from neardup_platform.what_if.replay import Clusters, constant_rule, recorded_evidence
from neardup_platform.what_if.trial import examples, run_trial
from tests.what_if.records import recorded
from tests.what_if.test_replay import CHAIN

NOW = datetime(2026, 1, 31, 12, 34, tzinfo=UTC)
HOURS = [NOW]


def test_changes_are_counted_by_kind() -> None:
    before, after = np.array([0, 0, 0, 3, 3, 5], np.int32), np.array([0, 0, 2, 0, 2, 5], np.int32)
    counts = head_changes(before, after, 6).counts()
    assert counts == {
        "joined": 1,
        "founded": 1,
        "moved": 1,
        "clusters_before": 3,
        "clusters": 3,
        "split": 2,
        "merged": 2,
    }


def partitions(draw: st.DrawFn, count: int) -> np.ndarray:
    """Each node joins an earlier head or is one."""
    heads: list[int] = []
    for number in range(count):
        heads.append(draw(st.sampled_from([number, *sorted(set(heads))])))
    return np.array(heads, np.int32)


@given(st.data())
def test_clusters_split_and_merge_as_their_images_say(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 9))
    before, after = (data.draw(st.composite(partitions)(count)) for _ in range(2))

    def several(of: np.ndarray, over: np.ndarray) -> int:
        return sum(len(set(over[of == head])) > 1 for head in set(of))

    changes = head_changes(before, after, count)
    assert (changes.split, changes.merged) == (several(before, after), several(after, before))
    assert (changes.clusters_before, changes.clusters) == (len(set(before)), len(set(after)))
    changed = changes.joined.astype(int) + changes.founded + changes.moved
    assert np.array_equal(changed, (before != after).astype(int))
    named = compare_partitions((str(n), str(before[n]), str(after[n])) for n in range(count))
    assert (changed.sum(), changes.split, changes.merged) == (named.moved, named.split, named.merged)


def test_a_cluster_whose_head_is_not_counted_splits_if_an_image_leaves_it() -> None:
    changes = head_changes(np.array([2, 2, 2], np.int32), np.array([0, 2, 2], np.int32), 2)
    assert (changes.split, changes.founded.tolist()) == (1, [True, False])


def test_a_trial_counts_changes_labels_and_shows_examples(tmp_path: Path) -> None:
    found = recorded(tmp_path, CHAIN)
    evidence, before = recorded_evidence(found), Clusters(found.homes, 0)
    labels = labelled_pairs(found, [Label("move", "d", "a"), Label("forbid", "b", "c"), Label("move", "d", "nobody")])
    looser = run_trial(found, before, evidence, constant_rule(found, 0.65, 0.4, UNGUARDED, None), labels)
    assert (looser.flat()["joined"], looser.flat()["precision"], looser.flat()["recall"]) == (1, 0.5, 1.0)
    (example,) = examples(found, before, looser, evidence)
    assert (example.change, example.image_id, example.other_id, example.after) == ("joined", "d", "c", "a")
    stricter = run_trial(found, before, evidence, constant_rule(found, 0.92, 0.4, UNGUARDED, None), labels)
    assert (stricter.flat()["founded"], stricter.flat()["moved"], stricter.flat()["recall"]) == (1, 1, 0.0)
    assert [each.change for each in examples(found, before, stricter, evidence)] == ["founded", "moved"]


def test_an_override_does_not_answer_for_the_rule(tmp_path: Path) -> None:
    """It put d with a. The rule at 0.8 would not, and the label says so."""
    from tests.what_if.records import decision

    moved = decision(5, "d", "a", [("c", 0.7, "a"), ("a", 0.6, "a")], cause="override", override_id="o", head_score=0.6)
    found = recorded(tmp_path, [*CHAIN[:3], moved])
    labels = labelled_pairs(found, [Label("move", "d", "a")])
    rule = constant_rule(found, 0.8, 0.4, UNGUARDED, None)
    trial = run_trial(found, Clusters(found.homes, 0), recorded_evidence(found), rule, labels)
    assert (trial.labels.recall, trial.changes.founded.any()) == (0.0, False)


def test_an_image_that_is_alone_belongs_with_none_of_its_candidates(tmp_path: Path) -> None:
    pairs = labelled_pairs(recorded(tmp_path, CHAIN), [Label("alone", "c", "")])
    assert (len(pairs), pairs.same.any()) == (2, False)


def test_labels_that_contradict_each_other_count_for_nothing(tmp_path: Path) -> None:
    assert len(labelled_pairs(recorded(tmp_path, CHAIN), [Label("move", "b", "a"), Label("forbid", "a", "b")])) == 0


def test_hours_are_a_range_or_one_hour_or_the_last_day() -> None:
    assert len(parse_hours("", NOW)) == 24
    assert parse_hours("", NOW)[-1] == NOW.replace(minute=0)
    assert parse_hours("2026-01-31T10", NOW) == [NOW.replace(hour=10, minute=0)]
    assert len(parse_hours("2026-01-30T10..2026-01-31T10", NOW)) == 24


@pytest.mark.parametrize("text", ["yesterday", "2026-01-31T10..2026-01-31T10", "2026-01-01..2026-12-31", ".."])
def test_other_hours_are_refused_with_the_form(text: str) -> None:
    with pytest.raises(BadCommand, match=r"FROM\.\.TO"):
        parse_hours(text, NOW)


def test_what_cannot_be_tried_is_refused_with_the_next_step() -> None:
    with pytest.raises(BadCommand, match="neardup tune"):
        Question(HOURS, match=0.9, terms="255x8")
    with pytest.raises(BadCommand, match="nothing to try"):
        Question(HOURS)
    with pytest.raises(BadCommand, match="12 hex digits"):
        Question(HOURS, classifier="../../etc")
    with pytest.raises(BadCommand, match="between 0 and 1"):
        Question(HOURS, match=1.5)


def test_a_split_says_who_belongs_together_and_who_does_not() -> None:
    split = Override("o", "split", "left", "stayed", "", "a test", 1, 1, ["too"])
    assert labels_of(split) == [
        Label("forbid", "left", "stayed"),
        Label("forbid", "too", "stayed"),
        Label("move", "too", "left"),
    ]
    assert labels_of(Override("o", "merge", "a", "b", "", "a test", 1, 1)) == [Label("merge", "a", "b")]
