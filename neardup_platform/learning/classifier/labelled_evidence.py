"""The labelled pairs that a second look is fitted to, kept beside the classifier so that more can be added to them.

Pairs looked at, labels → **curves, held-out probabilities, `training_evidence.npz`** → training, adaptation. The file
holds numbers about pairs, no pictures and no vectors; the card has its SHA-256 under `training.evidence_sha256`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import BadArtefact
from neardup_platform.scoring import calibration
from neardup_platform.scoring.additive import AdditiveModel, Curve, knots_of, ramps
from neardup_platform.scoring.card import EVIDENCE_FILE, Card, check_file, write_card
from neardup_platform.scoring.second_look import EVIDENCE

# The fold of pairs that every fit may see, such as altered copies: nothing is measured on them.
EVERY_FIT = -1
_QUANTILES = (0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99)
# Inverse strength of the penalty on the steps of the curves.
_LOOSENESS = 1.0

Floats = NDArray[np.float64]


class LabelledEvidence(NamedTuple):
    """Pairs looked at, with labels.

    Attributes:
        evidence: float32 [n, len(EVIDENCE)], finite.
        same: bool [n], whether they are near-duplicates.
        weights: float32 [n], above 0.
        folds: int8 [n, 2], of both pictures; `EVERY_FIT` for pairs that nothing is measured on.
    """

    evidence: NDArray[np.float32]
    same: NDArray[np.bool_]
    weights: NDArray[np.float32]
    folds: NDArray[np.int8]

    @classmethod
    def of(
        cls, evidence: Floats, same: NDArray[np.bool_], weight: float, folds: NDArray[np.int64] | None = None
    ) -> "LabelledEvidence":
        """Pairs of one weight; without `folds`, int64 [n, 2], every fit may see them."""
        known = np.full((len(same), 2), EVERY_FIT) if folds is None else folds
        weights = np.full(len(same), weight, np.float32)
        return cls(evidence.astype(np.float32), same, weights, known.astype(np.int8))

    def seen_without(self, fold: int) -> NDArray[np.bool_]:
        """Returns which pairs have no picture of a fold, bool [n]."""
        return np.asarray((self.folds != fold).all(axis=1))

    @property
    def measured(self) -> NDArray[np.bool_]:
        """Which pairs something is measured on, bool [n]."""
        return np.asarray(self.folds[:, 0] != EVERY_FIT)


class Fitted(NamedTuple):
    """A calibrated model, and probabilities by models that did not see a pair, float64 [n]; NaN if not measured."""

    model: AdditiveModel
    held_out: Floats


def joined(parts: Sequence[LabelledEvidence]) -> LabelledEvidence:
    """Puts pairs together, in this order."""
    return LabelledEvidence(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def fit_held_out(pairs: LabelledEvidence) -> Fitted:
    """Fits the curves, once for each fold on the others, and once on all; calibrates them on what was held out."""
    measured = pairs.measured
    logits = np.full(len(pairs.same), np.nan)
    for fold in np.unique(pairs.folds[measured, 0]):
        seen, held = pairs.seen_without(int(fold)), pairs.folds[:, 0] == fold
        logits[held] = _fit(pairs, seen).logits(pairs.evidence[held].astype(np.float64))
    slope, offset = calibration.fit_platt(logits[measured], pairs.same[measured])
    model = _fit(pairs, np.ones(len(pairs.same), np.bool_)).scaled(slope, offset)
    return Fitted(model, calibration.sigmoid(slope * logits + offset))


def _fit(pairs: LabelledEvidence, which: NDArray[np.bool_]) -> AdditiveModel:
    return fit_curves(pairs.evidence[which].astype(np.float64), pairs.same[which], pairs.weights[which])


def fit_curves(
    features: Floats,
    labels: NDArray[np.bool_],
    weights: Floats | NDArray[np.float32],
    names: Sequence[str] = EVIDENCE,
) -> AdditiveModel:
    """Fits an additive model by penalised logistic regression on the ramps between quantiles of each feature.

    Args:
        features: float64 [n, m], finite.
        labels: bool [n].
        weights: [n], of each pair.
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


def record_evidence(card: Card, folder: Path, pairs: LabelledEvidence) -> Card:
    """Writes the pairs beside a card, and the card again with their checksum; its version does not change.

    Args:
        card: as written to `folder`.
        folder: of the classifier.
        pairs: what its second look was fitted to.
    """
    buffer = BytesIO()
    np.savez_compressed(buffer, **pairs._asdict())
    (folder / EVIDENCE_FILE).write_bytes(buffer.getvalue())
    sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
    recorded = replace(card, training={**card.training, "evidence_sha256": sha256})
    write_card(recorded, folder)
    return recorded


def read_evidence(card: Card, folder: Path) -> LabelledEvidence | None:
    """Reads the pairs; None if the classifier has none.

    Raises:
        BadArtefact: the file is missing, does not match the checksum on the card, or is no such array.
    """
    expected = card.training.get("evidence_sha256")
    if expected is None:
        return None
    check_file(folder, EVIDENCE_FILE, expected)
    path = folder / EVIDENCE_FILE
    try:
        with np.load(path, allow_pickle=False) as arrays:
            pairs = LabelledEvidence(*(arrays[name] for name in LabelledEvidence._fields))
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise BadArtefact(f"{path} cannot be read ({error}): restore it or train again") from error
    if pairs.evidence.shape != (len(pairs.same), len(EVIDENCE)):
        raise BadArtefact(
            f"{path} has evidence of shape {pairs.evidence.shape}, expected {len(EVIDENCE)} columns: train again"
        )
    return pairs
