"""Trains the second look on the pairs that the first score would match.

Held-out first scores → best pairs → evidence → **curves and their held-out scores** → thresholds, card. The first
scores are those of networks that did not see the pair's groups, as in operation, where the pictures are new.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neardup_platform.learning.classifier.candidate_pairs import Pairs
from neardup_platform.scoring import calibration
from neardup_platform.scoring.additive import AdditiveModel, Curve, knots_of, ramps
from neardup_platform.scoring.features import Block
from neardup_platform.scoring.reference import CROWDING, Reference, excerpt, parts_of
from neardup_platform.scoring.second_look import (
    EVIDENCE,
    best_pairs,
    differ_in_colour_alone,
    evidence,
    sketch_slice,
    structure_of,
)
from neardup_platform.scoring.vectors import Float16, ImageVectors

FLOOR, MOST = 0.02, 24
REFERENCE_IMAGES = 1_000
# Pairs of either kind that each fit needs; with fewer there is no second look.
_LEAST_PAIRS = 20
_QUANTILES = (0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99)
# Inverse strength of the penalty on the steps of the curves.
_LOOSENESS = 1.0

Floats = NDArray[np.float64]


class Material(NamedTuple):
    """Pictures and pairs of them.

    Attributes:
        vectors: of m pictures.
        groups: int64 [m], equal for near-duplicates.
        pairs: n pairs.
        first: float32 [n], first scores.
    """

    vectors: ImageVectors
    groups: NDArray[np.int64]
    pairs: Pairs
    first: NDArray[np.float32]


class Looked(NamedTuple):
    """The pairs looked at, int64 [m], and their evidence, float64 [m, len(EVIDENCE)]."""

    pairs: NDArray[np.int64]
    evidence: Floats


@dataclass(frozen=True, slots=True)
class Trained:
    """The model of a second look, and what it says of pairs whose groups it did not see.

    Attributes:
        model: fitted to all pairs looked at, calibrated.
        reference: float16 [images, entries], content of `reference.npy`.
        held_out: float64 [n], scores of all pairs.
        looked: the pairs looked at.
        looked_copies: the same of the altered copies; None without any.
    """

    model: AdditiveModel
    reference: Float16
    held_out: Floats
    looked: Looked
    looked_copies: Looked | None


def train_second_look(
    labelled: Material,
    fold: NDArray[np.int64],
    blocks: Sequence[Block],
    seed: int,
    altered: tuple[Material, float] | None = None,
) -> Trained | None:
    """Fits the curves, once for each fold on the others, and once on all.

    Args:
        labelled: with held-out first scores.
        fold: int64 [m], of each picture's group.
        blocks: of the pair vector, a sketch among them.
        seed: of the choice of reference images.
        altered: copies to fit to as well, and the weight of a pair of them.

    Returns:
        None if there are too few pairs of either kind to judge from.
    """
    vectors, pairs, first = labelled.vectors, labelled.pairs, labelled.first
    looked = _looked(pairs, first)
    a, b, same = pairs.a[looked], pairs.b[looked], pairs.same[looked]
    seen_by = [(fold[a] != k) & (fold[b] != k) for k in np.unique(fold)]
    if min(np.bincount(same[seen], minlength=2).min() for seen in seen_by) < _LEAST_PAIRS:
        return None
    members = _reference_images(labelled.groups, seed)
    reference = excerpt(vectors, members, parts_of(vectors.lsh.shape[1], blocks))
    # Copies of a picture are no surroundings of it.
    others = labelled.groups[:, None] != labelled.groups[members]
    features = _evidence(labelled, looked, reference, blocks, others)
    copies = None if altered is None else look_at(altered[0], reference, blocks)
    more = None
    if altered is not None and copies is not None:
        more = copies.evidence, altered[0].pairs.same[copies.pairs], np.full(len(copies.pairs), altered[1])

    def fit(which: NDArray[np.bool_]) -> AdditiveModel:
        return fit_curves(*_joined((features[which], same[which], np.ones(int(which.sum()))), more))

    logits = np.zeros(len(looked))
    for k, seen in zip(np.unique(fold), seen_by, strict=True):
        held = fold[a] == k
        logits[held] = fit(seen).logits(features[held])
    slope, offset = calibration.fit_platt(logits, same)
    scores = np.minimum(first, FLOOR).astype(np.float64)
    found = calibration.sigmoid(slope * logits + offset)
    scores[looked] = np.where(differ_in_colour_alone(features), np.minimum(found, FLOOR), found)
    model = fit(np.ones(len(looked), np.bool_)).scaled(slope, offset)
    return Trained(model, reference, scores, Looked(looked, features), copies)


def look_at(material: Material, reference: Float16, blocks: Sequence[Block]) -> Looked:
    """Returns the pairs that a second look looks at, and their evidence; none of them is in the reference."""
    looked = _looked(material.pairs, material.first)
    return Looked(looked, _evidence(material, looked, reference, blocks))


def _joined(
    examples: tuple[Floats, NDArray[np.bool_], Floats], more: tuple[Floats, NDArray[np.bool_], Floats] | None
) -> tuple[Floats, NDArray[np.bool_], Floats]:
    if more is None:
        return examples
    features, labels, weights = (np.concatenate(both) for both in zip(examples, more, strict=True))
    return features, labels, weights


def _looked(pairs: Pairs, first: NDArray[np.float32]) -> NDArray[np.int64]:
    """The best pairs of either image: in operation, either may be the later one."""
    sides = (best_pairs(first, *rows, FLOOR, MOST) for rows in ((pairs.a, pairs.b), (pairs.b, pairs.a)))
    return np.unique(np.concatenate(list(sides)))


def _reference_images(groups: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """One picture of each of as many groups as are needed, at random."""
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(groups))
    _, firsts = np.unique(groups[shuffled], return_index=True)
    return np.sort(rng.permutation(shuffled[firsts])[:REFERENCE_IMAGES])


def _evidence(
    material: Material,
    looked: NDArray[np.int64],
    reference: Float16,
    blocks: Sequence[Block],
    others: NDArray[np.bool_] | None = None,
) -> Floats:
    """The evidence of some pairs; `others`, bool [m, reference], is what surrounds each picture."""
    vectors, a, b = material.vectors, material.pairs.a[looked], material.pairs.b[looked]
    rows = np.unique(np.append(a, b))
    crowding = np.zeros((len(material.groups), len(CROWDING)), np.float32)
    parts = parts_of(vectors.lsh.shape[1], blocks)
    crowding[rows] = Reference(reference, parts).crowding(vectors, rows, None if others is None else others[rows])
    sketches = np.ascontiguousarray(vectors.pair[:, sketch_slice(blocks)])
    return evidence(material.first[looked], crowding[a], crowding[b], structure_of(sketches, a, sketches, b))


def fit_curves(
    features: Floats, labels: NDArray[np.bool_], weights: Floats, names: Sequence[str] = EVIDENCE
) -> AdditiveModel:
    """Fits an additive model by penalised logistic regression on the ramps between quantiles of each feature.

    Args:
        features: float64 [n, m], finite.
        labels: bool [n].
        weights: float64 [n], of each pair.
        names: [m], of the features.
    """
    from sklearn.linear_model import LogisticRegression

    knots = [knots_of(column, _QUANTILES) for column in features.T]
    bases = [ramps(column, at) for column, at in zip(features.T, knots, strict=True)]
    fitted = LogisticRegression(C=_LOOSENESS, max_iter=1_000).fit(np.hstack(bases), labels, sample_weight=weights)
    steps = np.split(fitted.coef_[0], np.cumsum([basis.shape[1] for basis in bases])[:-1])
    curves = (
        Curve(name, at, (0.0, *np.cumsum(rises).tolist())) for name, at, rises in zip(names, knots, steps, strict=True)
    )
    return AdditiveModel(tuple(curves), float(fitted.intercept_[0]))
