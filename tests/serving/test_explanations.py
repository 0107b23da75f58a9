"""Claims about how a decision is explained."""

from dataclasses import asdict, replace

import pytest

from neardup_platform.records import CHAIN_SUSPECTED, Cause, Decision, HeldApart
from neardup_platform.serving.answers.explanations import explanation

DECISION = Decision(
    sequence=3,
    image_id="b",
    head="a",
    score=0.9,
    head_score=0.8,
    candidates=(),
    candidates_found=1,
    bridges=(),
    threshold=0.5,
    head_threshold=0.25,
    terms_version="t",
    classifier_version="c",
    event_time_ms=1_000,
    decided_ms=1_801_000,
)


@pytest.mark.parametrize("cause", ["", Cause.RE_EMBEDDED, Cause.REPLACED])
def test_a_decision_of_the_stream_has_a_latency(cause: str) -> None:
    assert explanation(replace(DECISION, cause=cause), []).latency_ms == 1_800_000


@pytest.mark.parametrize("cause", [Cause.REPROCESS, Cause.OVERRIDE, Cause.HANDOVER])
def test_a_decision_made_by_a_command_has_no_latency(cause: str) -> None:
    assert explanation(replace(DECISION, cause=cause), []).latency_ms is None


def test_the_summary_mentions_a_replacement() -> None:
    assert "embeddings were replaced" in explanation(replace(DECISION, cause=Cause.REPLACED), []).summary


GUARD = HeldApart(CHAIN_SUSPECTED, "a", agreed=2, compared=9, size=12)


@pytest.mark.parametrize(("head", "begins"), [("b", "Founded a cluster"), ("c", "Joined the cluster of c")])
def test_the_summary_says_from_which_cluster_an_image_was_held_apart_and_why(head: str, begins: str) -> None:
    answer = explanation(replace(DECISION, head=head, bridges=("a",), guard=GUARD), [])
    assert answer.summary.startswith(begins)
    assert "Held apart from the cluster of a, which had 12 members: only 2 of the 9" in answer.summary
    assert answer.guard is not None
    assert answer.guard.model_dump() == asdict(GUARD)


def test_an_undistinctive_picture_says_that_its_thresholds_are_higher() -> None:
    answer = explanation(replace(DECISION, undistinctive=True, corpus_images=9), [])
    assert "undistinctive, plain or like many others" in answer.summary
    assert (answer.undistinctive, answer.corpus_images) == (True, 9)
    assert "undistinctive" not in explanation(DECISION, []).summary


def test_a_decision_that_was_not_guarded_says_nothing_of_it() -> None:
    answer = explanation(DECISION, [])
    assert answer.guard is None
    assert "eld apart" not in answer.summary
