"""What is known of images that are decided again: their decisions, with the candidates and scores of the rules.

A decision by the same classifier and term space recorded its candidates with their scores, so nothing is searched or
scored for it. The candidates of any other one are searched and scored again, among the images before it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neardup_platform.corpus import Corpus, Ordinals
from neardup_platform.decide import Clusters, Evidence
from neardup_platform.errors import InvariantBroken
from neardup_platform.matching import Query, Scored, StageTimes, Thresholds
from neardup_platform.records import Candidate, Decision
from neardup_platform.scoring.match_kinds import codes_of
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.view import StoreView
from neardup_platform.stream.redecide.rules import Rules
from neardup_platform.wire.codec import decode_decision

Known = tuple[store_pb.ImageRecord, Decision]


@dataclass(frozen=True, slots=True)
class Weighed:
    """An image to decide again.

    Attributes:
        recorded: its current decision, with the candidates and thresholds of the rules in place of those recorded.
        ordinals: int64 [n], of its candidates, best first; −1 for one that is gone.
        overlaps: uint8 [n].
        scores: float32 [n].
        equal: bool [n], whether all terms are equal.
        kinds: uint8 [n].
        thresholds: what it must reach.
    """

    ordinal: int
    recorded: Decision
    ordinals: Ordinals
    overlaps: NDArray[np.uint8]
    scores: NDArray[np.float32]
    equal: NDArray[np.bool_]
    kinds: NDArray[np.uint8]
    thresholds: Thresholds

    @property
    def image_id(self) -> str:
        """Its id."""
        return self.recorded.image_id

    def evidence(self, clusters: Clusters) -> Evidence:
        """Its candidates that are there, with the clusters they are in now."""
        there = self.ordinals >= 0
        ordinals = self.ordinals[there]
        heads = clusters.heads_of(ordinals)
        return Evidence(ordinals, self.overlaps[there], self.scores[there], heads, self.equal[there], self.kinds[there])

    def score_of(self, ordinal: int) -> float:
        """The score of a candidate; 0 for an image that is none."""
        found = np.flatnonzero(self.ordinals == ordinal)
        return float(self.scores[found[0]]) if len(found) else 0.0


def known_images(store: StoreView, image_ids: Sequence[str]) -> dict[str, Known]:
    """The records and current decisions of the images that are decided.

    Raises:
        InvariantBroken: a decision is missing.
    """
    records = zip(image_ids, store.images.find_many(list(image_ids)), strict=True)
    found = {image_id: record for image_id, record in records if record is not None}
    decisions = store.history.at_many([(image_id, record.sequence) for image_id, record in found.items()])
    known = {}
    for (image_id, record), decision in zip(found.items(), decisions, strict=True):
        if decision is None:
            raise InvariantBroken(f"decision {record.sequence} of {image_id!r} is missing from the history")
        known[image_id] = (record, decode_decision(decision))
    return known


def weigh_recorded(
    store: StoreView, rules: Rules, tables: int, images: Sequence[Known], *, matches_only: bool = False
) -> list[Weighed]:
    """Weigh images by the scores that their decisions recorded.

    Args:
        tables: terms of an image.
        images: their decisions are by these rules' classifier and term space.
        matches_only: without the candidates that are no matches: enough to decide where no cluster is guarded.
    """
    thresholds = [rules.thresholds(each.corpus_images, undistinctive=each.undistinctive) for _, each in images]
    candidates = [
        [found for found in decision.candidates if not matches_only or found.score >= required.match]
        for (_, decision), required in zip(images, thresholds, strict=True)
    ]
    named = {candidate.image_id: -1 for each in candidates for candidate in each}
    for image_id, record in zip(named, store.images.find_many(list(named)) if named else [], strict=True):
        if record is not None:
            named[image_id] = record.ordinal
    return [
        _recorded(tables, record.ordinal, decision, each, required, named)
        for (record, decision), each, required in zip(images, candidates, thresholds, strict=True)
    ]


def _recorded(
    tables: int,
    ordinal: int,
    decision: Decision,
    candidates: Sequence[Candidate],
    thresholds: Thresholds,
    named: Mapping[str, int],
) -> Weighed:
    overlaps = np.array([candidate.overlap for candidate in candidates], np.uint8)
    return Weighed(
        ordinal,
        replace(decision, threshold=thresholds.match, head_threshold=thresholds.head),
        np.array([named[candidate.image_id] for candidate in candidates], np.int64),
        overlaps,
        np.array([candidate.score for candidate in candidates], np.float32),
        overlaps == tables,
        codes_of([candidate.kind for candidate in candidates]),
        thresholds,
    )


def weigh_again(query: Query, corpus: Corpus, rules: Rules, images: Sequence[Known]) -> list[Weighed]:
    """Weigh images by searching and scoring again what was there before each; runs in any thread.

    Args:
        query: vectors and signatures of these images.
    """
    ordinals = np.array([record.ordinal for record, _ in images], np.int64)
    scored = rules.matcher.match(corpus, query, StageTimes(), ordinals)
    return [_searched(rules, scored, row, *each) for row, each in enumerate(images)]


def _searched(rules: Rules, scored: Scored, row: int, record: store_pb.ImageRecord, decision: Decision) -> Weighed:
    ordinals, scores = scored.ordinals[row], scored.scores[row]
    best = np.lexsort((ordinals, -scores))
    best = best[ordinals[best] >= 0]
    overlaps = scored.overlaps(row, best)
    undistinctive = bool(scored.undistinctive[row])
    thresholds = rules.thresholds(record.ordinal, undistinctive=undistinctive)
    decision = replace(
        decision,
        candidates_found=len(best),
        threshold=thresholds.match,
        head_threshold=thresholds.head,
        terms_version=rules.terms_version,
        classifier_version=rules.version,
        undistinctive=undistinctive,
        corpus_images=record.ordinal,
    )
    return Weighed(
        record.ordinal,
        decision,
        ordinals[best],
        overlaps,
        scores[best],
        overlaps == scored.equal_terms.tables,
        scored.kinds[row][best],
        thresholds,
    )


def vectors_of(corpus: Corpus, images: Sequence[Known]) -> ImageVectors:
    """The vectors of images, a row each."""
    return corpus.vectors.rows.at(np.array([record.ordinal for record, _ in images], np.int64))
