"""Claims about drift: distances are right, an ordinary hour raises nothing, and each fault is found by its check."""

from collections import Counter
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neardup_platform.errors import BadArtefact
from neardup_platform.hourly_quality.drift import drift_of, judge_drift, largest_difference, stability_index
from neardup_platform.hourly_quality.duckdb_profile import read_profile
from neardup_platform.hourly_quality.profile import (
    CANDIDATE_BINS,
    CROWD_BINS,
    SCORE_BINS,
    Profile,
    decode_profile,
    encode_profile,
    spread_directions,
    total,
)
from neardup_platform.kafka.record_block import LogRecord
from neardup_platform.settings import QualitySettings
from neardup_platform.testing import small_term_space
from neardup_platform.topic_logs.topic_log import DECISIONS, LSH_EMBEDDINGS, TopicLog
from neardup_platform.wire import neardup_pb2 as pb

SPACE = small_term_space()


def traffic(
    seed: int,
    images: int,
    *,
    kind: int = 0,
    joins: float = 0.3,
    crowd: float = 0.0,
    turned: bool = False,
    at_once: int = 1,
) -> Profile:
    """An hour of traffic: vectors around a direction of their kind, scores of two kinds of images.

    Turned, they have the same mean and are spread along other directions. Images that join come in groups of so many at
    once, all copies of one picture.
    """
    rng = np.random.default_rng(seed)
    direction = np.random.default_rng(kind).standard_normal(SPACE.dim)
    spectrum = np.sqrt(16 / np.arange(1, SPACE.dim + 1))
    vectors = rng.standard_normal((images, SPACE.dim)) * (spectrum[::-1] if turned else spectrum) + direction
    lengths = np.linalg.norm(vectors, axis=1)
    vectors /= lengths[:, None]
    projected = vectors @ spread_directions(SPACE.dim).T
    # Groups of copies are as likely as makes the share of images that join the same.
    drawn = rng.random(images) < joins / (joins + at_once * (1 - joins))
    sizes = np.where(drawn, at_once, 1)
    group = np.repeat(np.arange(images), sizes)[:images]
    joined = drawn[group]
    scores = np.where(joined, rng.beta(8 - 5 * (kind > 0), 2, images)[group], rng.beta(1, 6, images))
    groups = np.bincount(group[joined], minlength=1)
    crowds = np.bincount(np.log2(groups[groups > 0]).astype(int), groups[groups > 0], CROWD_BINS).astype(int)
    bins = np.bincount(1 + (scores * (SCORE_BINS - 1)).astype(int), minlength=SCORE_BINS)
    found = np.bincount(np.minimum(rng.poisson(4, images), CANDIDATE_BINS - 1), minlength=CANDIDATE_BINS)
    return Profile(
        decisions=images,
        joined=int(joined.sum()),
        scores=tuple(bins.tolist()),
        candidates=tuple(found.tolist()),
        versions={"classifier a": images, "terms t": images},
        most_joined=int(crowd * joined.sum()),
        crowded="spam",
        vectors=images,
        vector_sum=tuple(vectors.sum(axis=0).tolist()),
        vector_pairs=images * (images - 1) // 2,
        term_pairs=images * (images - 1) * 0.02,
        lengths=float(lengths.sum()),
        products=tuple((projected.T @ projected).ravel().tolist()),
        crowds=tuple(crowds.tolist()),
    )


REFERENCE = total(traffic(seed, 4_000) for seed in range(24))


def problems(hour: Profile, reference: Profile = REFERENCE) -> dict[str, str]:
    return {v.name: v.problem for v in judge_drift(hour, reference, QualitySettings()) if v.problem is not None}


@pytest.mark.parametrize("images", [500, 2_000, 20_000])
def test_an_hour_like_those_before_raises_nothing(images: int) -> None:
    for seed in range(100, 120):
        assert not problems(traffic(seed, images))


@pytest.mark.parametrize(
    ("images", "joins", "at_once"), [(500, 0.01, 1), (500, 0.05, 6), (600, 0.3, 8), (5_000, 0.3, 40)]
)
def test_few_duplicates_and_copies_that_come_together_raise_nothing(images: int, joins: float, at_once: int) -> None:
    """One hour of traffic has none of its few duplicates, and another one three groups of copies."""
    reference = total(traffic(seed, 4_000, joins=joins, at_once=at_once) for seed in range(24))
    found = [problems(traffic(seed, images, joins=joins, at_once=at_once), reference) for seed in range(100, 300)]
    assert [each for each in found if each] == []


@pytest.mark.parametrize(
    ("hour", "checks"),
    [
        (traffic(1, 4_000, kind=1), {"embeddings_are_as_before"}),
        (traffic(1, 4_000, joins=0.75), {"as_many_are_duplicates", "scores_are_as_before"}),
        (traffic(1, 4_000, joins=0.05), {"as_many_are_duplicates", "scores_are_as_before"}),
        (traffic(1, 4_000, crowd=0.6), {"no_cluster_is_flooded"}),
        (replace(traffic(1, 4_000), versions={"classifier a": 1, "classifier b": 9}), {"one_version_decides"}),
        (replace(traffic(1, 4_000), scores=(4_000, *[0] * (SCORE_BINS - 1))), {"scores_are_as_before"}),
        (traffic(1, 4_000, turned=True), {"embeddings_are_as_before"}),
        (replace(traffic(1, 4_000), lengths=1_000.0), {"embeddings_are_as_before"}),
        (replace(traffic(1, 4_000), term_pairs=4_000 * 4_000 * 0.05), {"terms_are_as_before"}),
    ],
)
def test_a_planted_fault_is_found_by_its_check(hour: Profile, checks: set[str]) -> None:
    assert set(problems(hour)) == checks


def test_too_little_to_judge_is_not_judged() -> None:
    few = traffic(1, 100, kind=1, joins=0.9, crowd=1.0)
    assert not problems(few)
    assert not problems(traffic(1, 4_000, kind=1, joins=0.9), Profile())
    assert drift_of(few, Profile()).score_psi is None


def test_distances_are_those_of_their_definitions() -> None:
    expected = (0.25 - 0.75) * log(0.25 / 0.75) + (0.75 - 0.25) * log(0.75 / 0.25)
    assert stability_index((249_999, 749_999), (749_999, 249_999)) == pytest.approx(expected, rel=1e-5)
    assert largest_difference((1, 3, 0), (3, 1, 0)) == pytest.approx(0.5)
    assert stability_index((5, 9, 2), (5, 9, 2)) == largest_difference((5, 9, 2), (10, 18, 4)) == 0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 300)), max_size=5))
def test_hours_add_up_in_any_grouping(hours: list[tuple[int, int]]) -> None:
    parts = [traffic(seed, images) for seed, images in hours]
    at_once, by_halves = total(parts), total([total(parts[:2]), total(parts[2:])])
    assert at_once.scores == by_halves.scores
    assert at_once.versions == by_halves.versions
    assert (at_once.decisions, at_once.vectors) == (by_halves.decisions, by_halves.vectors)
    assert np.allclose(at_once.vector_sum, by_halves.vector_sum)
    assert np.allclose(at_once.products, by_halves.products)
    assert decode_profile(encode_profile(at_once), "x") == at_once


def test_what_drifts_slowly_is_found_by_the_first_hours_of_the_classifier() -> None:
    hours = [traffic(seed, 4_000, joins=0.1 + 0.01 * seed) for seed in range(48)]
    start = total(hours[:24])
    found = {v.name: v.problem for v in judge_drift(hours[-1], total(hours[23:-1]), QualitySettings(), start)}
    assert found["scores_are_as_before"] is None
    assert "train_classifier" in (found["scores_fit_the_classifier"] or "")


def test_spread_is_compared_as_defined_and_shrinks_with_the_vectors() -> None:
    """For covariances that differ by a factor only, the distance is the difference of their roots."""
    one, other = (np.random.default_rng(seed).standard_normal((400_000, SPACE.dim)) for seed in (1, 2))

    def of(vectors: Any) -> Profile:
        projected = vectors @ spread_directions(SPACE.dim).T
        sums = tuple(vectors.sum(axis=0).tolist())
        products = tuple((projected.T @ projected).ravel().tolist())
        return Profile(vectors=len(vectors), vector_sum=sums, products=products, lengths=1.0)

    assert drift_of(of(1.5 * one), of(other)).spread_shift == pytest.approx(0.5, abs=0.01)
    assert drift_of(of(one), of(other)).spread_shift == pytest.approx(0, abs=0.005)


def test_profiles_of_earlier_releases_are_read_and_their_spread_is_not_judged() -> None:
    new = {"crowds", "lengths", "products"}
    older = {name: value for name, value in encode_profile(traffic(1, 4_000)).items() if name not in new}
    reference = total([decode_profile(older, "x"), traffic(2, 4_000)])
    found = drift_of(traffic(3, 4_000, turned=True), reference)
    assert (found.spread_shift, found.length_change) == (None, None)
    assert found.vector_shift is not None


@pytest.mark.parametrize("content", [None, [], {}, {"version": 2}, {**encode_profile(Profile()), "scores": [1]}])
def test_what_is_no_profile_is_refused_by_name(content: Any) -> None:
    with pytest.raises(BadArtefact, match="profile of the hour"):
        decode_profile(content, "of the hour")


def written(folder: Path, log: TopicLog, messages: list[Any]) -> list[Path]:
    file = folder / f"{log.name}.parquet"
    pq.write_table(log.table([LogRecord(0, n, 1, each.SerializeToString()) for n, each in enumerate(messages)]), file)
    return [file]


def test_a_profile_counts_each_decision_of_the_stream_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    decisions, embeddings, scores, heads = [], [], Counter[int](), Counter[str]()
    for number in range(400):
        best, joins = float(np.float32(rng.random())), number % 3 == 0
        head = f"h{number % 5}" if joins else f"i{number}"
        made = pb.Decision(event_id=f"e{number}", image_id=f"i{number}", head=head, undistinctive=number % 10 == 0)
        made.classifier_version, made.terms_version, made.candidates_found = "c", "t", 2
        made.candidates.add(image_id="x", score=best / 2)
        made.candidates.add(image_id="y", score=best)
        # A repeat, and a change by an operator, say nothing new about the traffic.
        other = pb.Decision(event_id=f"o{number}", image_id=f"i{number}", head="h0", cause="override")
        decisions += [made, made, other]
        scores[1 + int(best * (SCORE_BINS - 1))] += 1
        heads.update([head] if joins else [])
        vector = rng.standard_normal(SPACE.dim).astype("<f4")
        embeddings.append(
            pb.EmbeddingReady(
                image_id=f"i{number}",
                model_version=SPACE.model_version,
                dtype=pb.DTYPE_FLOAT32,
                vector=vector.tobytes(),
            )
        )
    embeddings.append(pb.EmbeddingReady(image_id="bad", model_version=SPACE.model_version, vector=b"1"))
    embeddings.append(pb.EmbeddingReady(image_id="other", model_version="another", vector=b"1234"))
    found = read_profile(
        written(tmp_path, DECISIONS, decisions), written(tmp_path, LSH_EMBEDDINGS, embeddings), SPACE, tmp_path
    )
    assert (found.decisions, found.joined, found.undistinctive) == (400, 134, 40)
    assert found.vectors == 400 - 134 + 5, "one of each cluster"
    assert {number: count for number, count in enumerate(found.scores) if count} == dict(scores)
    assert found.candidates == (0, 0, 400, *[0] * (CANDIDATE_BINS - 3))
    assert (found.crowded, found.most_joined) == heads.most_common(1)[0]
    assert found.versions == {"classifier c": 400, "terms t": 400}
    # 134 images over five clusters: 26 or 27 each.
    assert found.crowds[4] == 134 == sum(found.crowds)
    assert found.lengths / found.vectors == pytest.approx(4, abs=0.2)
    spread = found.spread
    assert spread is not None
    assert np.trace(spread) == pytest.approx(1, abs=0.05), "all of 16 dimensions are seen along 16 directions"
    assert found.vector_pairs == found.vectors * (found.vectors - 1) // 2
    assert found.term_pairs / found.vector_pairs == pytest.approx(1 / 64, rel=0.5), "of random bits"
    # Half of all images have one bit, so a term of six bits is had by at least one in 64.
    assert 1 / 64 < (found.top_term_share or 0) < 0.2


def test_an_hour_without_messages_has_an_empty_profile(tmp_path: Path) -> None:
    assert read_profile([], [], SPACE, tmp_path) == Profile()
