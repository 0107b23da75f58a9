"""What the pipeline would decide about a known image now, with every intermediate result: `neardup trace`.

Image → **terms → search, without the image itself → score → decide** → JSON. It searches the present corpus, images
decided later included, and changes nothing.
"""

from dataclasses import asdict
from typing import Any

import numpy as np

from neardup_platform.clusters.decision import FREE, Constraint
from neardup_platform.corpus import Ordinals
from neardup_platform.decide import Recording
from neardup_platform.pipeline import Pipeline, Preview
from neardup_platform.scoring.features import pair_features
from neardup_platform.scoring.keras_classifier import PairClassifier
from neardup_platform.terms.hyperplanes import hamming

# Candidates reported, the best by score, so that a trace fits into a message.
REPORTED_CANDIDATES = 64
REPORTED_FEATURES = 3
REPORTED_CELLS = 8


def trace(
    pipeline: Pipeline, ordinal: int, constraint: Constraint = FREE, most: int = REPORTED_CANDIDATES
) -> dict[str, Any]:
    """Runs an image through the pipeline once more.

    Args:
        pipeline: over the corpus that holds the image; no step may be in flight.
        ordinal: of the image.
        constraint: what overrides demand of it.
        most: candidates and bridges reported.

    Returns:
        JSON-ready values: `terms`, `candidates` (best by score), `verdict`, `features` of the best pairs by name and
        what the second look made of them, `thresholds`, `undistinctive`, `versions` and `stage_ms`.
    """
    preview = pipeline.preview(
        pipeline.corpus.vectors_of(ordinal),
        ordinal=ordinal,
        constraint=constraint,
        recording=Recording(most, floor=0.0),
    )
    return {
        "terms": _terms(pipeline, preview),
        "candidates_found": int((preview.scored.ordinals >= 0).sum()),
        "candidates": _candidates(pipeline, preview),
        "features": _features(pipeline, preview, ordinal),
        "second_look": _second_look(pipeline, preview, ordinal),
        "thresholds": {"match": preview.thresholds.match, "head": preview.thresholds.head},
        "undistinctive": preview.undistinctive,
        "verdict": _verdict(pipeline, preview, ordinal, most),
        "versions": {"terms": pipeline.space.version, "classifier": pipeline.scorer.version},
        "stage_ms": {stage: round(took, 3) for stage, took in preview.stage_ms.items()},
    }


def _terms(pipeline: Pipeline, preview: Preview) -> dict[str, Any]:
    """The signature in short: `cells` are the nearest ones, `bits_set` how many of its bits are 1."""
    space, hashed = pipeline.space, preview.hashed
    return {
        "tables": space.tables,
        "bits": space.bits,
        "bits_set": int(np.bitwise_count(hashed.signatures[0]).sum()),
        "cells": space.nearest_cells(hashed, REPORTED_CELLS),
        "corpus_images": preview.images,
        "examined": int(preview.scored.examined[0]),
    }


def _candidates(pipeline: Pipeline, preview: Preview) -> list[dict[str, Any]]:
    ruling = preview.ruling
    distances = _distances(pipeline, preview, preview.evidence.ordinals[: len(ruling.candidates)])
    return [
        {
            "image_id": candidate.image_id,
            "overlap": candidate.overlap,
            "distance": distance,
            "score": round(candidate.score, 6),
            "head": candidate.head,
            "kind": candidate.kind,
            "match": number < ruling.matches,
        }
        for number, (candidate, distance) in enumerate(zip(ruling.candidates, distances, strict=True))
    ]


def _distances(pipeline: Pipeline, preview: Preview, ordinals: Ordinals) -> list[int]:
    """Hamming distances of the signatures of candidates, bits."""
    space = pipeline.space
    signatures = space.sign(space.centre(pipeline.corpus.lsh_of(ordinals)))
    distances: list[int] = hamming(preview.hashed.signatures, signatures).tolist()
    return distances


def _verdict(pipeline: Pipeline, preview: Preview, ordinal: int, most: int) -> dict[str, Any]:
    """Where the image would go now, with the labels that the decision would carry."""
    ruling, corpus = preview.ruling, pipeline.corpus
    head = ordinal if ruling.head is None else ruling.head
    return {
        "head": corpus.id_of(head),
        "founds": ruling.head is None,
        "override_id": ruling.override_id,
        "labels": [asdict(label) for label in pipeline.labels(corpus.id_of(ordinal), ordinal, ruling.head)],
        "matches": ruling.matches,
        "score": round(ruling.score, 6),
        "head_score": round(ruling.head_score, 6),
        "bridges": list(ruling.bridges[:most]),
        "guard": None if ruling.guard is None else asdict(ruling.guard),
        "as_in_force": head == corpus.head_of(ordinal),
    }


def _features(pipeline: Pipeline, preview: Preview, ordinal: int) -> dict[str, dict[str, float]]:
    """Features of the best pairs by the other image's id; empty where the scorer is not the pair classifier."""
    if not isinstance(pipeline.scorer, PairClassifier):
        return {}
    card, rows = pipeline.scorer.card, pipeline.corpus.vectors.rows
    best = preview.evidence.ordinals[:REPORTED_FEATURES]
    values = pair_features(rows, np.full(len(best), ordinal), rows, best, card.blocks)
    return {
        pipeline.corpus.id_of(other): {name: round(float(v), 4) for name, v in zip(card.features, row, strict=True)}
        for other, row in zip(best.tolist(), values, strict=True)
    }


def _second_look(pipeline: Pipeline, preview: Preview, ordinal: int) -> dict[str, dict[str, Any]]:
    """First score and terms of the best pairs by the other image's id; empty where there is no second look."""
    if not isinstance(pipeline.scorer, PairClassifier) or pipeline.scorer.card.second_look is None:
        return {}
    rows, found = pipeline.corpus.vectors.rows, {}
    for other in preview.evidence.ordinals[:REPORTED_FEATURES].tolist():
        first, terms = pipeline.scorer.explain(rows, ordinal, rows, other)
        described = {name: round(term, 3) for name, term in terms.items()}
        found[pipeline.corpus.id_of(other)] = {"first_score": round(first, 6), "terms": described}
    return found
