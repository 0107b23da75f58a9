"""What the pipeline says of an image already decided, step by step: `neardup trace`.

Image → **terms → search, without itself → score → decide** → everything in between, told. The corpus as it is now is
asked, later images included, and nothing is changed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neardup_platform.clusters.decision import choose_cluster
from neardup_platform.pipeline import Pipeline
from neardup_platform.scoring.features import pair_features, widened
from neardup_platform.scoring.keras_classifier import PairClassifier
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.terms.hyperplanes import Hashed

# Told of so many candidates, the best by score, so that a trace fits into a message.
TOLD_CANDIDATES = 64
TOLD_FEATURES = 3
TOLD_CELLS = 8

Ordinals = NDArray[np.int64]


def trace(pipeline: Pipeline, ordinal: int) -> dict[str, Any]:
    """Run an image through the pipeline once more.

    Args:
        pipeline: over the corpus that holds the image; no step may be under way.
        ordinal: of the image.

    Returns:
        JSON-ready values: `terms`, `candidates` (best by score), `verdict`, `features` of the best pairs by name,
        `thresholds`, `versions` and `stage_ms`.
    """
    corpus, matching, stage_ms = pipeline.corpus, pipeline.matching, dict[str, float]()
    rows = corpus.vectors.rows
    vectors = ImageVectors(rows.lsh[ordinal : ordinal + 1], rows.pair[ordinal : ordinal + 1])
    with _timed(stage_ms, "terms"):
        hashed = pipeline.space.hash(widened(rows.lsh, np.array([ordinal])))
    with _timed(stage_ms, "search"):
        found = corpus.index.search(hashed, matching.max_candidates + 1, matching.min_overlap)
    others = np.nonzero((found.ordinals[0] >= 0) & (found.ordinals[0] != ordinal))[0][: matching.max_candidates]
    ordinals = found.ordinals[0][others]
    with _timed(stage_ms, "score"):
        scores = pipeline.scorer.score(vectors, np.zeros(len(ordinals), np.int64), rows, ordinals)
    with _timed(stage_ms, "decide"):
        verdict = _verdict(pipeline, vectors, ordinal, ordinals, scores)
    best = np.lexsort((ordinals, -scores))[:TOLD_CANDIDATES]
    return {
        "terms": _terms(pipeline, hashed, int(found.examined[0])),
        "candidates_found": len(ordinals),
        "candidates": [
            {
                "image_id": corpus.id_of(int(ordinals[c])),
                "overlap": int(found.overlaps[0][others[c]]),
                "distance": int(found.distances[0][others[c]]),
                "score": round(float(scores[c]), 6),
                "head": corpus.id_of(corpus.head_of(int(ordinals[c]))),
                "match": bool(scores[c] >= matching.threshold),
            }
            for c in best
        ],
        "features": _features(pipeline, vectors, ordinals[best[:TOLD_FEATURES]]),
        "thresholds": {"match": matching.threshold, "head": matching.head_threshold},
        "verdict": verdict,
        "versions": {"terms": pipeline.space.version, "classifier": pipeline.scorer.version},
        "stage_ms": {stage: round(took, 3) for stage, took in stage_ms.items()},
    }


def _terms(pipeline: Pipeline, hashed: Hashed, examined: int) -> dict[str, Any]:
    """The signature in short: `cells` are the nearest ones, `bits_set` how many of its bits are 1."""
    space = pipeline.space
    return {
        "tables": space.tables,
        "bits": space.bits,
        "bits_set": int(np.bitwise_count(hashed.signatures[0]).sum()),
        "cells": np.argsort(-hashed.affinities[0], kind="stable")[:TOLD_CELLS].tolist(),
        "corpus_images": len(pipeline.corpus),
        "examined": examined,
    }


def _verdict(
    pipeline: Pipeline, vectors: ImageVectors, ordinal: int, ordinals: Ordinals, scores: NDArray[np.float32]
) -> dict[str, Any]:
    """Where the rule puts the image now; a cluster that it heads itself agrees with it."""
    corpus, matching = pipeline.corpus, pipeline.matching

    def head_score(head: int) -> float:
        if head == ordinal:
            return 1.0
        pair = np.zeros(1, np.int64), corpus.vectors.rows, np.array([head])
        return float(pipeline.scorer.score(vectors, *pair)[0])

    matches = [
        (float(scores[c]), int(ordinals[c]), corpus.head_of(int(ordinals[c])))
        for c in np.nonzero(scores >= matching.threshold)[0]
    ]
    chosen = choose_cluster(matches, head_score, matching.head_threshold)
    head = ordinal if chosen.head is None else chosen.head
    return {
        "head": corpus.id_of(head),
        "founds": chosen.head is None,
        "matches": len(matches),
        "score": round(chosen.score, 6),
        "head_score": round(chosen.head_score, 6),
        "bridges": [corpus.id_of(bridge) for bridge in chosen.bridges[:TOLD_CANDIDATES]],
        "as_in_force": head == corpus.head_of(ordinal),
    }


def _features(pipeline: Pipeline, vectors: ImageVectors, ordinals: Ordinals) -> dict[str, dict[str, float]]:
    """What the classifier was given of the best pairs; nothing where the scorer is no such classifier."""
    if not isinstance(pipeline.scorer, PairClassifier):
        return {}
    card, corpus = pipeline.scorer.card, pipeline.corpus
    values = pair_features(vectors, np.zeros(len(ordinals), np.int64), corpus.vectors.rows, ordinals, card.blocks)
    return {
        corpus.id_of(int(other)): {name: round(float(value), 4) for name, value in zip(card.features, row, strict=True)}
        for other, row in zip(ordinals, values, strict=True)
    }


@contextmanager
def _timed(stage_ms: dict[str, float], stage: str) -> Iterator[None]:
    begun = perf_counter()
    yield
    stage_ms[stage] = 1_000 * (perf_counter() - begun)
