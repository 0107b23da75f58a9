"""A store filled with synthetic images, with the stream's own commit, without Kafka."""

import numpy as np
from numpy.typing import NDArray

from neardup_platform.bench.synthetic import FAMILY_IMAGES, image_id, vectors
from neardup_platform.matching import Scored
from neardup_platform.pipeline import Decided
from neardup_platform.records import Candidate, Decision, Embedding, FloatVector, JoinedImage, Kind, ModelSpec
from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.settings import Settings
from neardup_platform.store.writer import Store
from neardup_platform.stream.commit import commit
from neardup_platform.stream.steps import StreamStep
from neardup_platform.terms.equal_terms import NoTerms
from neardup_platform.terms.hyperplanes import TermSpace, load_term_space

BATCH_IMAGES = 4_096
LEAST_SCORE = 0.9
_DECIDED_MS = 1
# Coprime to 1,000, so that the scores of consecutive images are spread evenly.
_STRIDE = 7_919


def seed_store(settings: Settings, images: int, unscored: int = 0, crowd: range = range(0)) -> None:
    """Put images 0…n−1 into an empty store, each in the cluster of the first image of its family.

    Their decisions record the earlier images of the family as candidates, at scores from `LEAST_SCORE` to 1.

    Args:
        unscored: so many of the last images were decided by another classifier than the active one.
        crowd: images that are all in the cluster of the first of them, whole families.
    """
    space = load_term_space(settings.terms.space)
    card = read_card(settings.scoring.model or SHIPPED_FOLDER)
    models = card.required_models
    store = Store(settings.store_path)
    state = store.state()
    for first in range(0, images, BATCH_IMAGES):
        numbers = np.arange(first, min(first + BATCH_IMAGES, images))
        decided = _decided(numbers, space, models, crowd)
        decided.decisions = [
            _decision(
                n,
                crowd.start if n in crowd else n - n % FAMILY_IMAGES,
                space.version,
                card.version if n < images - unscored else "bench",
            )
            for n in numbers.tolist()
        ]
        commit(store, state, StreamStep(decided=[decided]), _DECIDED_MS, publish=False)
    store.close()


def _decided(numbers: NDArray[np.int64], space: TermSpace, models: dict[Kind, ModelSpec], crowd: range) -> Decided:
    lsh = vectors(numbers, Kind.LSH, space.dim)
    pair = vectors(numbers, Kind.PAIR, models[Kind.PAIR].dim)
    none = Scored(
        np.empty((len(numbers), 0), np.int64),
        NoTerms(),
        np.empty((len(numbers), 0), np.float32),
        np.zeros(len(numbers), np.int64),
        np.zeros(len(numbers), np.bool_),
        np.empty((len(numbers), 0), np.uint8),
    )
    retired = np.isin(numbers, crowd[FAMILY_IMAGES:])
    stored = ImageVectors(lsh.astype(np.float16), pair.astype(np.float16))
    batch = Decided([], numbers, stored, none, retired)
    batch.images = [_joined(int(n), models, lsh[0]) for n in numbers]
    return batch


def _joined(number: int, models: dict[Kind, ModelSpec], vector: FloatVector) -> JoinedImage:
    """An image whose vectors are not read: the commit takes them from the batch."""
    lsh, pair = (Embedding(image_id(number), kind, models[kind].version, vector, 1) for kind in Kind)
    return JoinedImage(lsh, pair)


def _decision(number: int, head: int, terms_version: str, classifier_version: str) -> Decision:
    score = 1 - (1 - LEAST_SCORE) * (number * _STRIDE % 1_000) / 1_000
    earlier = range(max(head, number - FAMILY_IMAGES + 1), number)
    return Decision(
        sequence=number + 1,
        image_id=image_id(number),
        head=image_id(head),
        score=0.0 if head == number else score,
        head_score=1.0 if head == number else score,
        candidates=tuple(Candidate(image_id(each), 0, score, image_id(head)) for each in earlier),
        candidates_found=len(earlier),
        bridges=(),
        threshold=1.0,
        head_threshold=1.0,
        terms_version=terms_version,
        classifier_version=classifier_version,
        event_time_ms=1,
        decided_ms=_DECIDED_MS,
    )
