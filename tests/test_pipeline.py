"""Claims about the path from joined images to decisions."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from neardup_platform.clusters.decision import UNGUARDED
from neardup_platform.decide import Recording
from neardup_platform.matching import RECORDED_SCORE_FLOOR, Matching
from neardup_platform.pipeline import Pipeline
from neardup_platform.records import Decision, HeldApart, JoinedImage
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.testing import LSH_DIM, families, image, small_pipeline
from tests.growing_chain import AGREED, COMPARED, FIRST_HELD_APART, growing_chain


def decide(images: list[JoinedImage], sizes: list[int], pipeline: Pipeline | None = None) -> list[Decision]:
    """Decides in batches that repeat the given sizes."""
    pipeline, decisions, at = pipeline or small_pipeline(), [], 0
    while at < len(images):
        size = sizes[len(decisions) % len(sizes)]
        for batch in pipeline.decide(images[at : at + size], at + 1, 7):
            decisions += batch.decisions
        at += size
    return decisions


def test_copies_join_their_family_and_unrelated_images_found_clusters() -> None:
    images = families(12, 4)
    decisions = decide(images, [8])
    heads: dict[str, set[str]] = {}
    for decision in decisions:
        heads.setdefault(decision.image_id.split("/")[0], set()).add(decision.head)
    assert all(len(found) == 1 for found in heads.values())
    assert len({next(iter(found)) for found in heads.values()}) == 12


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=4), st.integers(0, 50))
def test_decisions_do_not_depend_on_the_batches(sizes: list[int], seed: int) -> None:
    images = families(10, 3, seed, noise=0.25)
    assert decide(images, sizes) == decide(images, [1])


def test_every_image_has_one_head_that_heads_itself() -> None:
    decisions = decide(families(10, 5, noise=0.3), [16])
    head_of = {d.image_id: d.head for d in decisions}
    assert len(head_of) == 60
    assert all(head_of[head] == head for head in head_of.values())


def test_a_chain_is_not_joined_end_to_end() -> None:
    axis = np.eye(LSH_DIM)
    step = np.deg2rad(22)
    chain = [image(str(n), np.cos(n * step) * axis[0] + np.sin(n * step) * axis[1]) for n in range(5)]
    decisions = decide(chain, [5])
    # Neighbours have cosine 0.93, every second image 0.72, which is below the head threshold.
    assert [d.head for d in decisions] == ["0", "0", "2", "2", "4"]
    assert decisions[2].bridges == ("0",)


def test_a_decision_records_the_evidence_for_deciding_again() -> None:
    decisions = decide(families(3, 2), [3])
    for decision in decisions:
        recorded = decision.candidates
        assert all(c.score >= RECORDED_SCORE_FLOOR for c in recorded)
        assert [c.score for c in recorded] == sorted((c.score for c in recorded), reverse=True)
        assert decision.candidates_found >= len(recorded)
        if not decision.founded:
            best = next(c for c in recorded if c.head == decision.head)
            assert decision.score == best.score >= decision.threshold
            assert decision.head_score >= decision.head_threshold


def test_more_candidates_never_found_more_clusters() -> None:
    images = families(5, 5)
    few, many = small_pipeline(), small_pipeline()
    few.use_classifier(few.scorer, Matching(1, 1, 0.9, 0.8))
    founded = [sum(d.founded for batch in p.decide(images, 1, 0) for d in batch.decisions) for p in (few, many)]
    assert founded[1] <= founded[0]


def unguarded() -> Pipeline:
    pipeline = small_pipeline()
    pipeline.use_classifier(pipeline.scorer, replace(pipeline.matching, guard=UNGUARDED))
    return pipeline


def test_a_chain_that_grows_picture_by_picture_is_stopped_at_the_guarded_size_and_reported() -> None:
    chain = growing_chain(11)
    assert {decision.head for decision in decide(chain, [4], unguarded())} == {"head"}
    decisions = decide(chain, [4])
    assert [d.head for d in decisions[:8]] == ["head"] * 8
    first = decisions[8]
    assert (first.image_id, first.founded, first.bridges) == (FIRST_HELD_APART, True, ("head",))
    assert first.guard == HeldApart("chain-suspected", "head", agreed=AGREED, compared=COMPARED, size=8)
    assert sum(d.head == "head" for d in decisions) < len(chain)


def test_a_copy_of_any_member_of_a_chain_joins_its_cluster() -> None:
    chain = growing_chain(6)
    copies = [image(f"copy of {member.image_id}", member.lsh.vector) for member in chain]
    assert {decision.head for decision in decide([*chain, *copies], [4])} == {"head"}


def test_a_large_cluster_of_copies_keeps_growing() -> None:
    decisions = decide(families(2, 150, noise=0.15), [7])
    assert sorted(sum(d.head == head for d in decisions) for head in {d.head for d in decisions}) == [151, 151]
    assert all(decision.guard is None for decision in decisions)


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(2 * 13)), st.lists(st.integers(1, 30), min_size=1, max_size=4))
def test_the_guard_does_not_depend_on_the_batches(order: list[int], sizes: list[int]) -> None:
    chains = growing_chain(11) + growing_chain(11, axis=3, prefix="other ")
    images = [chains[number] for number in order]
    assert decide(images, sizes) == decide(images, [1])


def test_a_preview_is_guarded_like_the_decision_whether_it_looks_at_matches_only_or_not() -> None:
    *before, newest = growing_chain(7)
    pipeline = small_pipeline()
    decide(before, [8], pipeline)
    example = ImageVectors(*(e.vector.astype(np.float16)[None] for e in (newest.lsh, newest.pair)))
    whole = pipeline.preview(example).ruling
    matches = pipeline.preview(example, matches_only=True, recording=Recording(100, floor=0.0)).ruling
    (decision,) = decide([newest], [1], pipeline)
    assert decision.guard is not None
    assert whole.guard == matches.guard == decision.guard
    assert whole.head is matches.head is None
    assert len(matches.candidates) == matches.matches < len(whole.candidates)
