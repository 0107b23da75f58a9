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
from neardup_platform.learning.classifier.labelled_evidence import LabelledEvidence, fit_held_out, joined
from neardup_platform.scoring.additive import AdditiveModel
from neardup_platform.scoring.features import Block
from neardup_platform.scoring.reference import CROWDING, Reference, excerpt, parts_of
from neardup_platform.scoring.second_look import (
    best_pairs,
    evidence,
    settled,
    sketch_slice,
    structure_of,
)
from neardup_platform.scoring.vectors import Float16, ImageVectors

FLOOR, MOST = 0.02, 24
# With whole kinds left out, wrong pairs at the threshold fall from 1,641 to 665, and recall from 0.96 to 0.89; of known
# kinds, from 60 to 50, and from 0.922 to 0.917. A rise of 3 leaves 970 wrong pairs, one of 1 costs 0.07 more recall.
MOST_RISE = 2.0
REFERENCE_IMAGES = 1_000
# Pairs of either kind that each fit needs; with fewer there is no second look.
_LEAST_PAIRS = 20

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
        examples: what the model was fitted to.
    """

    model: AdditiveModel
    reference: Float16
    held_out: Floats
    looked: Looked
    looked_copies: Looked | None
    examples: LabelledEvidence


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
    members = reference_images(labelled.groups, seed, REFERENCE_IMAGES)
    reference = excerpt(vectors, members, parts_of(vectors.lsh.shape[1], blocks))
    # Copies of a picture are no surroundings of it.
    others = labelled.groups[:, None] != labelled.groups[members]
    features = _evidence(labelled, looked, reference, blocks, others)
    copies = None if altered is None else look_at(altered[0], reference, blocks)
    examples = [LabelledEvidence.of(features, same, 1.0, np.stack([fold[a], fold[b]], axis=1))]
    if altered is not None and copies is not None:
        examples.append(LabelledEvidence.of(copies.evidence, altered[0].pairs.same[copies.pairs], altered[1]))
    fitted = fit_held_out(joined(examples))
    scores = np.minimum(first, FLOOR).astype(np.float64)
    scores[looked] = settled(fitted.held_out[: len(looked)], features, FLOOR, MOST_RISE)
    return Trained(fitted.model, reference, scores, Looked(looked, features), copies, joined(examples))


def look_at(
    material: Material, reference: Float16, blocks: Sequence[Block], others: NDArray[np.bool_] | None = None
) -> Looked:
    """Returns the pairs that a second look looks at, and their evidence.

    Args:
        material: pictures, pairs and their first scores.
        reference: float16 [images, entries].
        blocks: of the pair vector.
        others: bool [m, reference], what surrounds each picture; None if none of them is in the reference.
    """
    looked = _looked(material.pairs, material.first)
    return Looked(looked, _evidence(material, looked, reference, blocks, others))


def _looked(pairs: Pairs, first: NDArray[np.float32]) -> NDArray[np.int64]:
    """The best pairs of either image: in operation, either may be the later one."""
    sides = (best_pairs(first, *rows, FLOOR, MOST) for rows in ((pairs.a, pairs.b), (pairs.b, pairs.a)))
    return np.unique(np.concatenate(list(sides)))


def reference_images(groups: NDArray[np.int64], seed: int, most: int) -> NDArray[np.int64]:
    """Returns one picture of each group, of at most so many groups, at random: rows, int64, ascending."""
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(groups))
    _, firsts = np.unique(groups[shuffled], return_index=True)
    return np.sort(rng.permutation(shuffled[firsts])[:most])


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
