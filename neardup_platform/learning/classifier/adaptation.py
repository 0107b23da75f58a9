"""Adapts a classifier to a kind of pictures that it does not know, without training its network again.

Pictures of the kind → reference; labelled pairs of them → curves → **a new version of the classifier**. Twenty
unlabelled pictures tell it that these resemble one another, so that resemblance alone proves nothing. Two hundred
labelled pairs tell it what proves something. What it learned before stays: the pairs it was fitted to are kept beside
it, and the new ones are added (docs/tasks/teach-a-kind-of-pictures.md).
"""

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import BadArtefact, SetupError
from neardup_platform.learning.classifier.candidate_pairs import candidate_pairs, group_numbers
from neardup_platform.learning.classifier.labelled_evidence import (
    LabelledEvidence,
    fit_held_out,
    joined,
    read_evidence,
    record_evidence,
)
from neardup_platform.learning.classifier.second_look import Looked, Material, look_at, reference_images
from neardup_platform.learning.classifier.training import CANDIDATES, FOLDS
from neardup_platform.learning.classifier.training_pictures import read_training_pictures, record_training_pictures
from neardup_platform.learning.classifier.training_set import TrainingSet
from neardup_platform.scoring.additive import AdditiveModel
from neardup_platform.scoring.card import NETWORK_FILE, PROBE_FILE, REFERENCE_FILE, Card, write_card
from neardup_platform.scoring.keras_classifier import PairClassifier
from neardup_platform.scoring.reference import excerpt, parts_of, read_reference, write_reference
from neardup_platform.scoring.second_look import SecondLook, settled, tellable
from neardup_platform.scoring.vectors import Float16, ImageVectors

# Images that one adaptation adds to the reference, and how many it may have.
MOST_ADDED, MOST_REFERENCE = 200, 4_000
# Looked-at pairs of either kind, near-duplicates and others, without which the curves stay as they are.
LEAST_PAIRS = 20
# The weight of a new pair: new pairs are few, so each counts more than an old one.
WEIGHT = 3.0


class Matched(NamedTuple):
    """Shares of labelled pairs that score a match, 0…1.

    Attributes:
        wrong: of the pairs that are no near-duplicates.
        found: of the near-duplicates.
    """

    wrong: float
    found: float


class Lesson(NamedTuple):
    """What labelled pairs taught.

    Attributes:
        model: fitted to old and new pairs; the old one if the new ones are too few.
        examples: what it was fitted to.
        pairs, pairs_true: new pairs looked at, and near-duplicates among them.
        before, after: by the model before, and by models that did not see the pair; None if nothing was fitted.
    """

    model: AdditiveModel
    examples: LabelledEvidence
    pairs: int = 0
    pairs_true: int = 0
    before: Matched | None = None
    after: Matched | None = None


@dataclass(frozen=True, slots=True)
class Adaptation:
    """A new version of a classifier: its card, the images added to its reference, and what labels taught it."""

    card: Card
    added: int
    lesson: Lesson


def adapt(base: Path, pictures: TrainingSet, out: Path, *, labelled: bool, seed: int = 0) -> Adaptation:
    """Writes a classifier adapted to pictures. Its thresholds stay.

    Args:
        base: folder of the classifier to begin with.
        pictures: of the kind.
        out: folder, created if it is missing; not `base`.
        labelled: whether their groups are known, where one without a group resembles no other. Without labels, none of
            them may be a copy of another.
        seed: of the choice of images for the reference.

    Raises:
        BadArtefact: the classifier has no second look, or is of a release that kept no evidence.
        SetupError: there is no room in the reference, or `out` is `base`.
    """
    if out.resolve() == base.resolve():
        raise SetupError(f"{out} is the classifier to begin with: name another folder")
    classifier = PairClassifier(base)
    card, look = classifier.card, classifier.card.second_look
    known = read_evidence(card, base)
    if look is None or known is None:
        raise BadArtefact(
            f"classifier {card.version} keeps no training evidence to add to: adapt the shipped one, or one that this "
            "release trained (`neardup train`)"
        )
    vectors = ImageVectors(pictures.pictures.lsh, pictures.pictures.pair)
    names = pictures.pictures.groups if labelled else ("",) * len(vectors.lsh)
    groups, before = group_numbers(names), read_reference(base / REFERENCE_FILE)
    members = reference_images(groups, seed, max(0, min(MOST_ADDED, MOST_REFERENCE - len(before))))
    if not len(members):
        raise SetupError(
            f"the reference of classifier {card.version} has {len(before)} images, at most {MOST_REFERENCE}: adapt an "
            "earlier version, or train on all your pictures (`neardup train`)"
        )
    reference = np.concatenate([before, excerpt(vectors, members, parts_of(card.lsh_dim, card.blocks))])
    lesson = Lesson(look.model, known)
    if labelled:
        pairs = candidate_pairs(vectors.lsh, names, CANDIDATES)
        material = Material(vectors, groups, pairs, classifier.first_scores(vectors, pairs.a, vectors, pairs.b))
        # Copies of a picture are no surroundings of it.
        others = np.ones((len(groups), len(reference)), np.bool_)
        others[:, len(before) :] = groups[:, None] != groups[members]
        lesson = _learn(lesson, material, card, look, before, look_at(material, reference, card.blocks, others), seed)
    look = replace(look, model=lesson.model)
    return Adaptation(_write(base, out, card, look, lesson, reference, pictures.fingerprints), len(members), lesson)


def _learn(
    known: Lesson, material: Material, card: Card, look: SecondLook, before: Float16, looked: Looked, seed: int
) -> Lesson:
    """Adds the pairs looked at to what is known; `before` is the reference without the pictures."""
    told = tellable(looked.evidence)
    at, evidence, pairs = looked.pairs[told], looked.evidence[told], material.pairs
    same = pairs.same[at]
    counts = len(same), int(same.sum())
    if np.bincount(same, minlength=2).min() < LEAST_PAIRS:
        return Lesson(known.model, known.examples, *counts)
    _, numbers = np.unique(material.groups, return_inverse=True)
    fold = np.random.default_rng(seed).permutation(int(numbers.max()) + 1)[numbers] % FOLDS
    folds = np.stack([fold[pairs.a[at]], fold[pairs.b[at]]], axis=1)
    examples = joined([known.examples, LabelledEvidence.of(evidence, same, WEIGHT, folds)])
    fitted = fit_held_out(examples)
    seen_before = look_at(material, before, card.blocks).evidence[told]
    found = ((known.model.probabilities(seen_before), seen_before), (fitted.held_out[-len(same) :], evidence))
    scores = tuple(settled(*each, look.floor, look.most_rise) for each in found)
    return Lesson(fitted.model, examples, *counts, *(_matched(each >= card.threshold, same) for each in scores))


def _matched(matches: NDArray[np.bool_], same: NDArray[np.bool_]) -> Matched:
    return Matched(float(matches[~same].mean()), float(matches[same].mean()))


def _write(
    base: Path,
    out: Path,
    card: Card,
    look: SecondLook,
    lesson: Lesson,
    reference: Float16,
    fingerprints: NDArray[np.uint64],
) -> Card:
    out.mkdir(parents=True, exist_ok=True)
    for name in (NETWORK_FILE, PROBE_FILE):
        if (base / name).exists():
            shutil.copyfile(base / name, out / name)
    look = replace(look, reference_sha256=write_reference(reference, out / REFERENCE_FILE))
    about = {
        "from": card.version,
        "pictures": len(fingerprints),
        "pairs": lesson.pairs,
        "pairs_true": lesson.pairs_true,
    }
    earlier = card.training.get("adaptations", [])
    version = hashlib.sha256(json.dumps([card.version, asdict(look)]).encode()).hexdigest()[:12]
    training = {**card.training, "adaptations": [*earlier, about]}
    adapted = replace(card, version=version, second_look=look, training=training)
    write_card(adapted, out)
    adapted = record_evidence(adapted, out, lesson.examples)
    seen = read_training_pictures(card, base)
    return adapted if seen is None else record_training_pictures(adapted, out, np.append(seen, fingerprints))
