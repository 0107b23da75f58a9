"""Claims about the path from joined images to decisions."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from neardup_platform.decide import RECORDED_SCORE_FLOOR
from neardup_platform.matching import Matching
from neardup_platform.records import Decision, JoinedImage
from neardup_platform.testing import LSH_DIM, families, image, small_pipeline


def decide(images: list[JoinedImage], sizes: list[int]) -> list[Decision]:
    """Decides in batches that repeat the given sizes."""
    pipeline, decisions, at = small_pipeline(), [], 0
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
