"""Trains, calibrates and measures the pair classifier, and writes it as an artefact.

Labelled vectors → pairs → network → **folder for `PairClassifier`**. Every metric on the card comes from held-out
groups: the pairs are split into folds by group, each fold is scored by a network that saw none of its groups, and those
scores together give the calibration, the thresholds and the metrics. The shipped network is then trained on all groups.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import SetupError
from neardup_platform.learning.classifier.candidate_pairs import Pairs, candidate_pairs, group_numbers
from neardup_platform.learning.classifier.labelled_evidence import record_evidence
from neardup_platform.learning.classifier.labelled_vectors import KindLabelling, LabelledVectors
from neardup_platform.learning.classifier.match_kinds import (
    KindPairs,
    kind_pairs,
    pairs_with_themselves,
    place_pairs,
    train_match_kinds,
)
from neardup_platform.learning.classifier.second_look import (
    FLOOR,
    MOST,
    MOST_RISE,
    Material,
    Trained,
    look_at,
    train_second_look,
)
from neardup_platform.learning.classifier.threshold_calibration import (
    HEAD_STEP_KEPT,
    STEP_KEPT,
    Goal,
    find_undistinctive,
    fit_table,
)
from neardup_platform.learning.embedder.kind_labels import NO_LABELS, UNCHANGED_LABELS, KindLabels
from neardup_platform.scoring import calibration, keras_network
from neardup_platform.scoring.card import NETWORK_FILE, REFERENCE_FILE, Card, write_card
from neardup_platform.scoring.features import SKETCH, Block, feature_names, pair_features
from neardup_platform.scoring.keras_file import read_keras_file
from neardup_platform.scoring.network_probe import Probe, make_probe, record_probe
from neardup_platform.scoring.reference import write_reference
from neardup_platform.scoring.second_look import SecondLook
from neardup_platform.scoring.tensorflow_network import TensorFlowNetwork
from neardup_platform.scoring.threshold_table import ThresholdTable
from neardup_platform.scoring.vectors import ImageVectors

FOLDS = 5
CANDIDATES = 100
# Fewer for altered copies: their pictures are so diverse that farther candidates teach nothing.
ALTERED_CANDIDATES = 20
# The weight of a pair of altered copies relative to a labelled pair. Measured on held-out groups, recall at 99%
# precision: weight 0 0.938, 0.15 0.952, 1 0.938; average precision 0.982, 0.989, 0.986.
ALTERED_WEIGHT = 0.15


@dataclass(frozen=True, slots=True)
class Recipe:
    """The parameters of training, apart from the data.

    Attributes:
        lsh_version, pair_version: model versions of the embeddings.
        blocks: how the parts of the pair vector are compared.
        target_precision: precision of single pairs at `threshold`, on held-out candidates: the lower end of its 95%
            interval; and the expected precision that the thresholds of larger corpora hold as far as they can
            (docs/adr/0032). The precision of clusters is higher, because the head must agree too.
        head_precision: the same of the head thresholds; lower, because diverse copies of one picture, such as a crop
            and a collage, must match some member and need not match the head as well (docs/adr/0029).
        seed: of folds and networks.
    """

    lsh_version: str
    pair_version: str
    blocks: tuple[Block, ...]
    target_precision: float = 0.98
    head_precision: float = 0.95
    seed: int = 0


@dataclass(frozen=True, slots=True)
class _Examples:
    features: NDArray[np.float32]
    labels: NDArray[np.bool_]


def train(
    labelled: LabelledVectors,
    out: Path,
    recipe: Recipe,
    *,
    altered: LabelledVectors | None = None,
    kinds: KindLabelling | None = None,
) -> Card:
    """Train a classifier and write its card and the files that the card names.

    Args:
        labelled: pictures in groups, and distractors; the only source of calibration, thresholds and metrics.
        out: folder, created if it is missing.
        recipe: versions, blocks, targets, seed.
        altered: additional pictures with altered copies, used only for training.
        kinds: labels of match kinds; without any, the classifier knows none.

    Returns:
        The card. The same arguments give the same network on the same machine.

    Raises:
        SetupError: there are fewer groups of two or more pictures than folds.
    """
    pairs = candidate_pairs(labelled.lsh, labelled.groups, CANDIDATES)
    _check_enough(labelled.groups)
    examples = _examples(labelled, pairs, recipe)
    more = _examples(altered, _altered_pairs(altered), recipe) if altered is not None else None
    fold = _folds(labelled.groups, recipe.seed)
    held_out = _held_out_logits(examples, pairs, fold, more, recipe.seed)
    slope, offset = calibration.fit_platt(held_out, examples.labels)
    probabilities = calibration.sigmoid(slope * held_out + offset)
    network = keras_network.calibrate(_fit(examples, more, recipe.seed), slope, offset)
    second = None
    if any(block.comparison == SKETCH for block in recipe.blocks):
        material = _material(labelled, pairs, probabilities)
        copies = None
        if altered is not None and more is not None:
            first = keras_network.outputs(network, more.features)
            copies = _material(altered, _altered_pairs(altered), first), ALTERED_WEIGHT
        second = train_second_look(material, fold, recipe.blocks, recipe.seed, copies)
    if second is not None:
        probabilities = second.held_out
    curve = calibration.precision_recall(probabilities, examples.labels)
    threshold = calibration.threshold_for_precision(curve, recipe.target_precision)
    head_threshold = min(threshold, calibration.threshold_for_precision(curve, recipe.head_precision))
    table = _threshold_table(labelled, pairs, probabilities, (threshold, head_threshold), second, recipe)
    metrics = _metrics(curve, probabilities, examples.labels, threshold, head_threshold)
    out.mkdir(parents=True, exist_ok=True)
    network.save(out / NETWORK_FILE)
    look = None
    if second is not None:
        told = None
        if kinds is not None:
            found = _kind_pairs(labelled, pairs, altered, second, kinds, network, recipe)
            told, metrics["kinds"] = train_match_kinds(found)
        reference_sha256 = write_reference(second.reference, out / REFERENCE_FILE)
        look = SecondLook(FLOOR, MOST, second.model, reference_sha256, told, MOST_RISE)
    card = Card(
        version=_version(network, recipe, threshold, head_threshold, look, table),
        lsh_version=recipe.lsh_version,
        pair_version=recipe.pair_version,
        lsh_dim=labelled.lsh.shape[1],
        pair_dim=labelled.pair.shape[1],
        blocks=recipe.blocks,
        features=feature_names(recipe.blocks),
        threshold=threshold,
        head_threshold=head_threshold,
        calibration={"slope": slope, "offset": offset},
        training=_summary(labelled.groups, pairs, more, second, recipe),
        metrics=metrics,
        network_sha256=hashlib.sha256((out / NETWORK_FILE).read_bytes()).hexdigest(),
        second_look=look,
        threshold_table=table,
    )
    write_card(card, out)
    card = record_probe(card, out, _probe(out / NETWORK_FILE, len(card.features)))
    return card if second is None else record_evidence(card, out, second.examples)


def _probe(path: Path, n_features: int) -> Probe:
    """What TensorFlow answers with the network as it was saved."""
    return make_probe(read_keras_file(path, n_features), TensorFlowNetwork(path, n_features))


def _threshold_table(
    labelled: LabelledVectors,
    pairs: Pairs,
    scores: NDArray[np.float64],
    thresholds: tuple[float, float],
    second: Trained | None,
    recipe: Recipe,
) -> ThresholdTable | None:
    """Thresholds by distinctiveness and corpus size; without a second look by size alone."""
    groups, (match, head) = group_numbers(labelled.groups), thresholds
    strata: tuple[float | None, NDArray[np.bool_]] = None, np.zeros(len(groups), np.bool_)
    if second is not None:
        both = ImageVectors(labelled.lsh.astype(np.float16), labelled.pair.astype(np.float16))
        strata = find_undistinctive(both, recipe.blocks, second.reference, pairs, scores, head)
    goals = Goal(match, recipe.target_precision, STEP_KEPT), Goal(head, recipe.head_precision, HEAD_STEP_KEPT)
    return fit_table(scores, pairs, groups, strata, *goals, recipe.seed)


def _check_enough(groups: Sequence[str]) -> None:
    _, sizes = np.unique([g for g in groups if g], return_counts=True)
    found = int((sizes > 1).sum())
    if found < FOLDS:
        raise SetupError(f"training needs at least {FOLDS} groups of two or more pictures, the data has {found}")


def _altered_pairs(altered: LabelledVectors) -> Pairs:
    return candidate_pairs(altered.lsh, altered.groups, ALTERED_CANDIDATES)


def _examples(vectors: LabelledVectors, pairs: Pairs, recipe: Recipe) -> _Examples:
    # Computed from float16, because the worker compares what it stores.
    both = ImageVectors(vectors.lsh.astype(np.float16), vectors.pair.astype(np.float16))
    return _Examples(pair_features(both, pairs.a, both, pairs.b, recipe.blocks), pairs.same)


def _material(vectors: LabelledVectors, pairs: Pairs, first: NDArray[np.float64]) -> Material:
    both = ImageVectors(vectors.lsh.astype(np.float16), vectors.pair.astype(np.float16))
    return Material(both, group_numbers(vectors.groups), pairs, first.astype(np.float32))


def _kind_pairs(
    labelled: LabelledVectors,
    pairs: Pairs,
    altered: LabelledVectors | None,
    second: Trained,
    kinds: KindLabelling,
    network: Any,
    recipe: Recipe,
) -> list[KindPairs]:
    """The pairs looked at: of labelled pictures, of some with themselves, of altered copies, of `kinds.more`."""

    def look(vectors: LabelledVectors, labels: Sequence[KindLabels], near: Pairs) -> KindPairs:
        first = keras_network.outputs(network, _examples(vectors, near, recipe).features)
        looked = look_at(_material(vectors, near, first), second.reference, recipe.blocks)
        return kind_pairs(labels, vectors.groups, near, looked)

    found = [kind_pairs(kinds.labels, labelled.groups, pairs, second.looked)]
    found.append(
        look(labelled, (UNCHANGED_LABELS,) * len(labelled.groups), pairs_with_themselves(len(labelled.groups)))
    )
    if altered is not None and second.looked_copies is not None:
        unlabelled = (NO_LABELS,) * len(altered.groups)
        found.append(kind_pairs(unlabelled, altered.groups, _altered_pairs(altered), second.looked_copies))
    if kinds.more is not None:
        more = kinds.more
        found.append(look(more, more.labels, place_pairs(more.labels, more.lsh, more.groups)))
    return found


def _fit(examples: _Examples, more: _Examples | None, seed: int) -> Any:
    if more is None:
        return keras_network.fit_network(examples.features, examples.labels, seed)
    weights = np.repeat(np.array([1.0, ALTERED_WEIGHT], np.float32), [len(examples.labels), len(more.labels)])
    return keras_network.fit_network(
        np.concatenate([examples.features, more.features]),
        np.concatenate([examples.labels, more.labels]),
        seed,
        weights,
    )


def _folds(groups: Sequence[str], seed: int) -> NDArray[np.int64]:
    """Deal groups to folds; return the fold of each picture."""
    _, numbers = np.unique(group_numbers(groups), return_inverse=True)
    return np.random.default_rng(seed).permutation(int(numbers.max()) + 1)[numbers] % FOLDS


def _held_out_logits(
    examples: _Examples, pairs: Pairs, fold: NDArray[np.int64], more: _Examples | None, seed: int
) -> NDArray[np.float64]:
    """Score each pair with a network trained without any pair that touches the fold of its first image."""
    out = np.zeros(len(pairs.a))
    for k in range(FOLDS):
        seen = (fold[pairs.a] != k) & (fold[pairs.b] != k)
        network = _fit(_Examples(examples.features[seen], examples.labels[seen]), more, seed + 1 + k)
        held = fold[pairs.a] == k
        out[held] = keras_network.outputs(network, examples.features[held])
    return out


def _metrics(
    curve: calibration.PrecisionRecall,
    probabilities: NDArray[np.float64],
    labels: NDArray[np.bool_],
    threshold: float,
    head_threshold: float,
) -> dict[str, Any]:
    def at(value: float) -> dict[str, Any]:
        matches = probabilities >= value
        hits = int((matches & labels).sum())
        low, high = calibration.wilson_interval(hits, int(matches.sum()))
        return {
            "precision": hits / max(1, int(matches.sum())),
            "precision_95_low": float(low),
            "precision_95_high": float(high),
            "recall": hits / int(labels.sum()),
            "matches": int(matches.sum()),
        }

    return {
        "held_out_by": f"group, {FOLDS} folds",
        "pair_best_f1": calibration.best_f1(curve),
        "pair_recall_at_p99": calibration.recall_at_precision(curve, 0.99),
        "pair_average_precision": calibration.average_precision(curve),
        "calibration_error": calibration.expected_calibration_error(probabilities, labels),
        "at_threshold": at(threshold),
        "at_head_threshold": at(head_threshold),
    }


def _summary(
    groups: Sequence[str], pairs: Pairs, more: _Examples | None, second: Trained | None, recipe: Recipe
) -> dict[str, Any]:
    return {
        "pictures": len(groups),
        "groups": len({g for g in groups if g}),
        "distractors": sum(not g for g in groups),
        "pairs": len(pairs.a),
        "pairs_true": int(pairs.same.sum()),
        "candidates": CANDIDATES,
        "altered_pairs": 0 if more is None else len(more.labels),
        "altered_pairs_true": 0 if more is None else int(more.labels.sum()),
        "looked_pairs": 0 if second is None else len(second.looked.pairs),
        "looked_pairs_true": 0 if second is None else int(pairs.same[second.looked.pairs].sum()),
        "target_precision": recipe.target_precision,
        "head_precision": recipe.head_precision,
        "seed": recipe.seed,
    }


def _version(
    network: Any,
    recipe: Recipe,
    threshold: float,
    head_threshold: float,
    look: SecondLook | None,
    table: ThresholdTable | None,
) -> str:
    settings: list[Any] = [recipe.lsh_version, recipe.pair_version, recipe.blocks, threshold, head_threshold]
    settings += [asdict(part) for part in (look, table) if part is not None]
    digest = hashlib.sha256(json.dumps(settings).encode())
    for weights in network.get_weights():
        digest.update(np.ascontiguousarray(weights).tobytes())
    return digest.hexdigest()[:12]
