"""Trains what tells match kinds apart, on the evidence of the second look.

Pairs looked at, labels → **additive models, thresholds, metrics** → card. Every metric comes from held-out groups,
templates and scenes, with a fold for each scene where there are few.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neardup_platform.learning.classifier.candidate_pairs import Pairs, candidate_pairs, group_numbers
from neardup_platform.learning.classifier.labelled_evidence import fit_curves
from neardup_platform.learning.classifier.second_look import Looked
from neardup_platform.learning.embedder.kind_labels import EITHER, UNKNOWN, KindLabels, true_kinds
from neardup_platform.records import KIND_NAMES, MatchKind
from neardup_platform.scoring import calibration
from neardup_platform.scoring.additive import AdditiveModel
from neardup_platform.scoring.match_kinds import Claim, MatchKinds
from neardup_platform.scoring.second_look import tellable

FOLDS = 5
# Nearest pictures that each one is paired with, of those that teach match kinds only.
CANDIDATES = 100
# Pictures that are paired with themselves.
SELVES = 500
# Precision of a claim on held-out pairs: the lower end of its 95% interval.
CLAIM_PRECISION = 0.9
# Pairs of either answer that each fit needs; with fewer the question is not asked.
_LEAST_PAIRS = 20

Floats = NDArray[np.float64]


class KindPairs(NamedTuple):
    """Pairs that were looked at.

    Attributes:
        evidence: float64 [n, len(EVIDENCE)].
        kinds: int8 [n], as of `true_kinds`.
        folds: int64 [n, 2], of both pictures.
    """

    evidence: Floats
    kinds: NDArray[np.int8]
    folds: NDArray[np.int64]


class _Fitted(NamedTuple):
    """A calibrated model, and what it says of the examples that it did not see, float64 [n]."""

    model: AdditiveModel
    held_out: Floats


def place_pairs(labels: Sequence[KindLabels], lsh: NDArray[np.float16], groups: Sequence[str]) -> Pairs:
    """Pairs pictures with their nearest, and with all of their template or scene; `same` says of which group."""
    names = [label.place or group for label, group in zip(labels, groups, strict=True)]
    pairs, numbers = candidate_pairs(lsh, names, CANDIDATES), group_numbers(groups)
    return replace(pairs, same=numbers[pairs.a] == numbers[pairs.b])


def pairs_with_themselves(pictures: int) -> Pairs:
    """Pairs at most `SELVES` pictures, evenly chosen, with themselves: no manifest lists exact copies."""
    chosen = np.unique(np.linspace(0, pictures - 1, min(pictures, SELVES)).astype(np.int64))
    return Pairs(chosen, chosen, np.ones(len(chosen), np.bool_))


def kind_pairs(labels: Sequence[KindLabels], groups: Sequence[str], pairs: Pairs, looked: Looked) -> KindPairs:
    """Returns the pairs looked at with their true kinds; `labels` and `groups` are those of the pictures."""
    a, b, folds = pairs.a[looked.pairs], pairs.b[looked.pairs], picture_folds(labels, groups)
    kinds = true_kinds(labels, a, b, pairs.same[looked.pairs])
    return KindPairs(looked.evidence, kinds, np.stack([folds[a], folds[b]], axis=1))


def picture_folds(labels: Sequence[KindLabels], groups: Sequence[str]) -> NDArray[np.int64]:
    """Deals scenes, templates and groups to folds in turn; returns the fold of each picture, int64 [n]."""
    names = [
        label.place or (f"group {group}" if group else f"picture {row}")
        for row, (label, group) in enumerate(zip(labels, groups, strict=True))
    ]
    return np.unique(names, return_inverse=True)[1].astype(np.int64) % FOLDS


def train_match_kinds(parts: Sequence[KindPairs]) -> tuple[MatchKinds | None, dict[str, Any]]:
    """Fits a model for each question that there are enough labels for.

    Returns:
        The models, None without enough near-duplicates that are labelled as altered or not; and metrics by kind. A kind
        that reaches `CLAIM_PRECISION` at no probability is left out: it is never claimed.
    """
    evidence, kinds, folds = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    told = tellable(evidence)
    pairs = KindPairs(evidence[told], kinds[told], folds[told])
    altered, metrics = _train_altered(pairs)
    if altered is None:
        return None, metrics
    found = [_train_claim(pairs, kind) for kind in (MatchKind.SAME_TEMPLATE, MatchKind.SAME_SCENE)]
    claims = tuple(claim for claim, _ in found if claim is not None)
    return MatchKinds(altered, claims), metrics | {name: row for _, each in found for name, row in each.items()}


def _train_altered(pairs: KindPairs) -> tuple[AdditiveModel | None, dict[str, Any]]:
    codes = [KIND_NAMES.index(kind) for kind in (MatchKind.SAME, MatchKind.ALTERED_COPY)]
    known = np.isin(pairs.kinds, codes)
    truth = pairs.kinds[known] == codes[1]
    fitted = _fit(KindPairs(pairs.evidence[known], pairs.kinds[known], pairs.folds[known]), truth)
    if fitted is None:
        return None, {}
    called = fitted.held_out >= 0.5
    rows = {MatchKind.SAME: (~called, ~truth), MatchKind.ALTERED_COPY: (called, truth)}
    return fitted.model, {kind: _row(*row) for kind, row in rows.items()}


def _train_claim(pairs: KindPairs, kind: str) -> tuple[Claim | None, dict[str, Any]]:
    truth = pairs.kinds == KIND_NAMES.index(kind)
    fitted = _fit(pairs, truth)
    if fitted is None:
        return None, {}
    judged = pairs.kinds != EITHER
    curve = calibration.precision_recall(fitted.held_out[judged], truth[judged])
    precision = calibration.average_precision(curve)
    threshold = calibration.threshold_for_precision(curve, CLAIM_PRECISION)
    called = judged & (fitted.held_out >= threshold)
    low, _ = calibration.wilson_interval(int((called & truth).sum()), int(called.sum()))
    if low < CLAIM_PRECISION:
        return None, {kind: {**_row(np.zeros_like(truth), truth), "average_precision": precision}}
    near = (pairs.kinds == UNKNOWN) | np.isin(pairs.kinds, (1, 2))
    row = {**_row(called, truth), "average_precision": precision, "near_duplicates": float(called[near].mean())}
    return Claim(kind, fitted.model, threshold), {kind: {**row, "threshold": threshold}}


def _row(called: NDArray[np.bool_], truth: NDArray[np.bool_]) -> dict[str, Any]:
    hits = int((called & truth).sum())
    precision = hits / int(called.sum()) if called.any() else None
    return {"pairs": int(truth.sum()), "precision": precision, "recall": hits / int(truth.sum())}


def _fit(pairs: KindPairs, truth: NDArray[np.bool_]) -> _Fitted | None:
    """Fits a model to all pairs, calibrated on pairs of folds that it did not see; None with too few to judge from."""
    parts = np.unique(pairs.folds[:, 0])
    seen_by = [(pairs.folds != k).all(axis=1) for k in parts]
    if not seen_by or min(np.bincount(truth[seen], minlength=2).min() for seen in seen_by) < _LEAST_PAIRS:
        return None
    logits = np.zeros(len(truth))
    for k, seen in zip(parts, seen_by, strict=True):
        held = pairs.folds[:, 0] == k
        model = fit_curves(pairs.evidence[seen], truth[seen], np.ones(int(seen.sum())))
        logits[held] = model.logits(pairs.evidence[held])
    slope, offset = calibration.fit_platt(logits, truth)
    model = fit_curves(pairs.evidence, truth, np.ones(len(truth))).scaled(slope, offset)
    return _Fitted(model, calibration.sigmoid(slope * logits + offset))
