"""The pair classifier in operation: the vectors of two images → the probability that they are near-duplicates.

Candidates → features → **probability** → second look → decision. The network is a small Keras model that includes its
calibration; `networks.py` opens it, compiled or on TensorFlow. Many pairs are split into parts, one thread each, whose
features stay in the processor's cache until the network has read them.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import BadArtefact
from neardup_platform.records import NEAR_DUPLICATES, Kind, ModelSpec
from neardup_platform.scoring.card import REFERENCE_FILE, SHIPPED_FOLDER, Card, read_card
from neardup_platform.scoring.distinctiveness import plain_pictures, undistinctive
from neardup_platform.scoring.features import pair_features, with_compact
from neardup_platform.scoring.match_kinds import Judged
from neardup_platform.scoring.networks import Probabilities, open_network
from neardup_platform.scoring.reference import Reference, parts_of, read_reference
from neardup_platform.scoring.second_look import (
    EVIDENCE,
    LIMIT,
    evidence,
    first_logits,
    sketch_slice,
    split_by_row,
    structure_of,
    tellable,
)
from neardup_platform.scoring.threshold_table import ThresholdTable
from neardup_platform.scoring.vectors import ImageVectors, Ordinals, VectorRows
from neardup_platform.settings import ScoringSettings

PART_PAIRS = 8_192
# From about this size on, two threads are faster than one, for features and network alike.
MIN_PART_PAIRS = 2_048


class PairClassifier:
    """A trained classifier, read from a folder that `training.train` wrote.

    Args:
        folder: of the classifier.
        threads: share a micro-batch of pairs.
        clustering: kinds that cluster; a score is the probability of one of them.

    Attributes:
        card: identity, thresholds and measured quality.
        folder: of the classifier.
        network: from features, float32 [n, features], to probabilities, float32 [n]; of each row the same in any batch.

    Raises:
        BadArtefact: the folder is incomplete, damaged or of another format, or the classifier does not know a kind.
    """

    def __init__(
        self,
        folder: Path = SHIPPED_FOLDER,
        threads: int = ScoringSettings().threads,
        clustering: tuple[str, ...] = NEAR_DUPLICATES,
    ) -> None:
        self.card: Card = read_card(folder)
        _check_kinds(self.card, clustering)
        self._clustering = clustering
        self.folder = folder
        self.network: Probabilities = open_network(self.card, folder, threads)
        self._reference = _read_reference(folder, self.card)
        self._sketch = sketch_slice(self.card.blocks)
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, "pair-score")
        # Compiles now, not at the first image.
        one = ImageVectors(*(np.zeros((1, dim), np.float16) for dim in (self.card.lsh_dim, self.card.pair_dim)))
        first = np.zeros(1, np.int64)
        self.score(one, first, one, first)
        self.undistinctive(one)
        if self.card.second_look is not None:
            self.card.second_look.model.logits(np.zeros((1, len(EVIDENCE))))

    @property
    def version(self) -> str:
        """12 hex digits that name this classifier in every decision."""
        return self.card.version

    @property
    def threshold(self) -> float:
        """Probability from which a pair is a match."""
        return self.card.threshold

    @property
    def head_threshold(self) -> float:
        """Lower probability that an image must reach against the head of the cluster it joins."""
        return self.card.head_threshold

    @property
    def threshold_table(self) -> ThresholdTable | None:
        """Thresholds by distinctiveness and corpus size; None if those two hold everywhere."""
        return self.card.threshold_table

    @property
    def passed_over(self) -> float | None:
        """Score of pairs that the second look passes over; None without a second look."""
        return self.card.passed_over

    @property
    def sketch(self) -> slice:
        """Which entries of the pair vector are the sketch; an empty slice if none are."""
        return self._sketch

    @property
    def required_models(self) -> dict[Kind, ModelSpec]:
        """The embeddings it was trained on."""
        return self.card.required_models

    def score(self, a: VectorRows, rows_a: Ordinals, b: VectorRows, rows_b: Ordinals) -> NDArray[np.float32]:
        """Scores pairs of images; arguments and errors as of `judge`."""
        return self.judge(a, rows_a, b, rows_b).scores

    def judge(self, a: VectorRows, rows_a: Ordinals, b: VectorRows, rows_b: Ordinals) -> Judged:
        """Scores pairs of images by row number, and names their kinds; symmetric, equal to the last bit in any batch.

        With a second look, of the pairs of one row of `a` only the best are looked at again, and the rest score its
        floor at most: so a call holds all candidates of a row, or the one pair in question.

        Args:
            a: vectors of finite values, such as those of a batch.
            rows_a: int64 [n], n from 0, each pair's row in `a`; fastest if equal rows are adjacent.
            b: vectors, such as those of the corpus.
            rows_b: int64 [n], each pair's row in `b`.

        Returns:
            Of each pair the calibrated probability that it is of a kind that clusters, and its kind; none where the
            pair was not looked at again, a picture has no sketch, or the classifier was trained without kinds.

        Raises:
            BadArtefact: the dimensions are not those the classifier was trained on.
            IndexError: a row does not exist.
        """
        first = self.first_scores(a, rows_a, b, rows_b)
        look = self.card.second_look
        kinds = np.zeros(len(first), np.uint8)
        if look is None:
            return Judged(first, kinds)
        equal = np.zeros(len(first), np.bool_)

        def see(pairs: Ordinals) -> NDArray[np.float64]:
            one, which_one = a.read(rows_a[pairs])
            other, which_other = b.read(rows_b[pairs])
            equal[pairs] = (one.pair[which_one] == other.pair[which_other]).all(axis=1)
            return self._evidence(first[pairs], one, which_one, other, which_other)

        scores, looked, seen = look.scores(first, rows_a, rows_b, see)
        if look.kinds is not None and (told := tellable(seen)).any():
            pairs = looked[told]
            judged = look.kinds.judge(
                scores[pairs], seen[told], equal[pairs], self.card.head_threshold, self._clustering
            )
            scores[pairs], kinds[pairs] = judged
        return Judged(scores, kinds)

    def first_scores(self, a: VectorRows, rows_a: Ordinals, b: VectorRows, rows_b: Ordinals) -> NDArray[np.float32]:
        """Returns the network's scores, without the second look; arguments and errors as of `score`."""
        self._check_dims(a)
        self._check_dims(b)
        a, rows_a = with_compact(a, rows_a, self.card.blocks)
        b, rows_b = with_compact(b, rows_b, self.card.blocks)
        scores = np.empty(len(rows_a), np.float32)

        def score_part(part: slice) -> None:
            features = pair_features(a, rows_a[part], b, rows_b[part], self.card.blocks)
            scores[part] = self.network(features)

        self._run(score_part, split_pairs(len(rows_a), self._threads))
        return scores

    def evidence(
        self, first: NDArray[np.float32], a: VectorRows, rows_a: Ordinals, b: VectorRows, rows_b: Ordinals
    ) -> NDArray[np.float64]:
        """Returns what the second look sees of pairs, float64 [n, len(EVIDENCE)]; NaN where a picture has no sketch.

        Args:
            first: float32 [n], their first scores; the other arguments as of `score`.

        Raises:
            BadArtefact: the classifier has no second look.
        """
        return self._evidence(first, *a.read(rows_a), *b.read(rows_b))

    def _evidence(
        self, first: NDArray[np.float32], a: ImageVectors, rows_a: Ordinals, b: ImageVectors, rows_b: Ordinals
    ) -> NDArray[np.float64]:
        if self._reference is None:
            raise BadArtefact(f"classifier {self.version} has no second look: train one on pictures with sketches")
        reference, sketch = self._reference, self._sketch
        found = np.full((len(rows_a), len(EVIDENCE)), np.nan)

        def look(part: slice) -> None:
            one, other = rows_a[part], rows_b[part]
            structure = structure_of(a.pair[:, sketch], one, b.pair[:, sketch], other)
            told = np.isfinite(structure).all(axis=1)
            found[part][told] = evidence(
                first[part][told],
                _crowding(reference, a, one[told]),
                _crowding(reference, b, other[told]),
                structure[told],
            )

        self._run(look, list(split_by_row(rows_a, self._threads)))
        return found

    def undistinctive(self, vectors: ImageVectors) -> NDArray[np.bool_]:
        """Returns which images are undistinctive, bool [n]; none without a table of thresholds or a second look."""
        table = self.card.threshold_table
        if table is None or self._reference is None:
            return np.zeros(len(vectors.lsh), np.bool_)
        self._check_dims(vectors)
        plain = plain_pictures(vectors.pair[:, self._sketch])
        return undistinctive(self._reference.nearest(vectors), plain, table.crowding)

    def explain(self, a: VectorRows, row_a: int, b: VectorRows, row_b: int) -> tuple[float, dict[str, float]]:
        """Returns the first score of a pair, and the terms of the second look's logit, by evidence.

        There are no terms without a second look, where a picture has no sketch, or where the first score is below the
        floor: then the first score stands.
        """
        one, other = np.array([row_a]), np.array([row_b])
        first, look = self.first_scores(a, one, b, other), self.card.second_look
        if look is None or first[0] < np.float32(look.floor):
            return float(first[0]), {}
        seen = self.evidence(first, a, one, b, other)
        terms = dict(zip(EVIDENCE, look.model.terms(seen)[0].tolist(), strict=True)) if np.isfinite(seen).all() else {}
        if terms and look.most_rise is not None:
            over = float(look.model.logits(seen)[0] - (first_logits(first)[0] + look.most_rise))
            terms |= {LIMIT: -over} if over > 0 else {}
        return float(first[0]), terms

    def _run(self, work: Callable[[slice], None], parts: Sequence[slice]) -> None:
        for _ in self._pool.map(work, parts) if len(parts) > 1 else map(work, parts):
            pass

    def _check_dims(self, vectors: VectorRows) -> None:
        expected = self.card.lsh_dim, self.card.pair_dim
        found = vectors.lsh.shape[1], vectors.pair_dim
        if found != expected:
            raise BadArtefact(
                f"classifier {self.version} scores vectors of {expected[0]} and {expected[1]} dimensions (lsh, pair), "
                f"got {found[0]} and {found[1]}: train one for these embeddings and set scoring.model"
            )


def split_pairs(pairs: int, threads: int) -> list[slice]:
    """Splits pairs into near-equal parts, the same number for each thread; a few pairs stay whole."""
    count = max(min(threads, pairs // MIN_PART_PAIRS), -(-pairs // PART_PAIRS), min(1, pairs))
    if count > 1:
        count += -count % threads
    return [slice(pairs * n // count, pairs * (n + 1) // count) for n in range(count)]


def load_classifier(
    folder: Path | None, threads: int = ScoringSettings().threads, clustering: tuple[str, ...] = NEAR_DUPLICATES
) -> PairClassifier:
    """Loads the classifier of a folder; None loads the one shipped for the built-in embedders.

    Args:
        folder: written by `training.train`.
        threads: share a micro-batch of pairs.
        clustering: kinds that cluster.

    Raises:
        BadArtefact: the folder is incomplete, damaged or of another format, or the classifier does not know a kind.
    """
    return PairClassifier(folder or SHIPPED_FOLDER, threads, clustering)


def _check_kinds(card: Card, clustering: tuple[str, ...]) -> None:
    kinds = None if card.second_look is None else card.second_look.kinds
    missing = [kind for kind in clustering if kind not in (NEAR_DUPLICATES if kinds is None else kinds.known)]
    if missing or (kinds is None and set(clustering) != set(NEAR_DUPLICATES)):
        known = "no match kinds" if kinds is None else f"only the kinds {', '.join(kinds.known)}"
        raise BadArtefact(
            f"classifier {card.version} knows {known}, scoring.kinds has {', '.join(clustering)}: train one on labels "
            "of these kinds (`neardup train --kinds`), or leave scoring.kinds out"
        )


def _crowding(reference: Reference, vectors: ImageVectors, rows: Ordinals) -> NDArray[np.float32]:
    own, which = np.unique(rows, return_inverse=True)
    return reference.crowding(vectors, own)[which]


def _read_reference(folder: Path, card: Card) -> Reference | None:
    if card.second_look is None:
        return None
    path = folder / REFERENCE_FILE
    try:
        return Reference(read_reference(path), parts_of(card.lsh_dim, card.blocks))
    except ValueError as error:
        raise BadArtefact(f"{path} does not fit its card ({error}): train again") from error
