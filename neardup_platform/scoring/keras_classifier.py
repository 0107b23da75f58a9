"""The pair classifier in operation: two images' vectors to the probability that they are near-duplicates.

Candidates → features → **probability** → decision. The network is a small Keras model whose calibration is part
of it; it is traced once for any number of pairs, so no batch size costs a retrace or padding. Many pairs are cut
into parts whose features stay in the processor's cache until the network has read them; threads take parts.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import BadArtefact
from neardup_platform.records import Kind, ModelSpec
from neardup_platform.scoring.card import NETWORK_FILE, SHIPPED_FOLDER, Card, read_card
from neardup_platform.scoring.features import pair_features
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.settings import ScoringSettings

# A call of the network costs 0.3 ms however few the pairs, the features of as many as 700.
PART_PAIRS = 8_192
# Two threads are faster than one from about here on for both.
MIN_PART_PAIRS = 2_048
# Parts are filled up to a multiple of so many pairs. The last rows of a matrix product, and a single row, go through
# other loops than the rest and round differently, so a score would depend on its company in the last bit; 24 is a
# multiple of what the loops for every instruction set up to AVX-512 take at a time.
PART_MULTIPLE = 24

Ordinals = NDArray[np.int64]


class PairClassifier:
    """A trained classifier, read from a folder written by `training.train`.

    Attributes:
        card: identity, thresholds and measured quality.
        network: the traced function, float32 [n, features] tensors to [n, 1].

    Raises:
        BadArtefact: the folder is incomplete, damaged or of another format.
    """

    def __init__(self, folder: Path = SHIPPED_FOLDER, threads: int = ScoringSettings().threads) -> None:
        self.card: Card = read_card(folder)
        # The traced function knows the model's variables but does not keep them.
        self._model, self.network = _load(folder / NETWORK_FILE, len(self.card.features))
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, "pair-score")
        # Compile and trace now, not at the first image.
        one = ImageVectors(*(np.zeros((1, dim), np.float16) for dim in (self.card.lsh_dim, self.card.pair_dim)))
        first = np.zeros(1, np.int64)
        self.score(one, first, one, first)

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
        """Lower probability that an image must reach against the head it joins."""
        return self.card.head_threshold

    @property
    def expects(self) -> dict[Kind, ModelSpec]:
        """The embeddings it was trained on."""
        return self.card.expects

    def score(self, a: ImageVectors, rows_a: Ordinals, b: ImageVectors, rows_b: Ordinals) -> NDArray[np.float32]:
        """Scores pairs of images by row number; symmetric in a and b, each as if alone, to the last bit.

        Args:
            a: vectors of finite values, as of a batch.
            rows_a: int64 [n], n from 0, each pair's row in `a`; fastest where equal rows follow one another.
            b: vectors, as of the corpus.
            rows_b: int64 [n], each pair's row in `b`.

        Returns:
            float32 [n], calibrated probability, 0…1, that the two are near-duplicates.

        Raises:
            BadArtefact: the dimensions are not those the classifier was trained on.
            IndexError: a row that is not there.
        """
        import tensorflow as tf

        self._check_dims(a)
        self._check_dims(b)
        scores = np.empty(len(rows_a), np.float32)

        def score_part(part: slice) -> None:
            pairs = part.stop - part.start
            filled = np.minimum(np.arange(part.start, part.stop + -pairs % PART_MULTIPLE), part.stop - 1)
            features = pair_features(a, rows_a[filled], b, rows_b[filled], self.card.blocks)
            scores[part] = self.network(tf.constant(features)).numpy()[:pairs, 0]

        parts = cut(len(rows_a), self._threads)
        for _ in self._pool.map(score_part, parts) if len(parts) > 1 else map(score_part, parts):
            pass
        return scores

    def _check_dims(self, vectors: ImageVectors) -> None:
        expected = self.card.lsh_dim, self.card.pair_dim
        found = vectors.lsh.shape[1], vectors.pair.shape[1]
        if found != expected:
            raise BadArtefact(
                f"classifier {self.version} scores vectors of {expected[0]} and {expected[1]} dimensions (lsh, pair), "
                f"got {found[0]} and {found[1]}: train one for these embeddings and set scoring.model"
            )


def cut(pairs: int, threads: int) -> list[slice]:
    """Parts of so many pairs, equal but for one, and as many for each thread, or one where they are few."""
    count = max(min(threads, pairs // MIN_PART_PAIRS), -(-pairs // PART_PAIRS), min(1, pairs))
    if count > 1:
        count += -count % threads
    return [slice(pairs * n // count, pairs * (n + 1) // count) for n in range(count)]


def load_classifier(folder: Path | None, threads: int = ScoringSettings().threads) -> PairClassifier:
    """The classifier of a folder; None is the one shipped for the built-in embedders.

    Args:
        folder: written by `training.train`.
        threads: that share a micro-batch of pairs.

    Raises:
        BadArtefact: the folder is incomplete, damaged or of another format.
    """
    return PairClassifier(folder or SHIPPED_FOLDER, threads)


def limit_tensorflow_threads(calls: int) -> None:
    """Keeps TensorFlow to one thread for an operation and `calls` for calls at a time; call before its first use.

    The network is so small that more threads for an operation only cost hand-overs. Does nothing once TensorFlow has
    started, because it cannot be changed then.
    """
    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(calls)
    except RuntimeError:
        return


def _load(path: Path, n_features: int) -> tuple[Any, Any]:
    """The Keras model, and it traced for any number of pairs."""
    import keras
    import tensorflow as tf

    try:
        # safe_mode refuses Lambda layers: an artefact must not run code of its own.
        network = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise BadArtefact(f"{path} is no Keras model ({reason}): restore it or train again") from error
    if network.input_shape != (None, n_features) or network.output_shape != (None, 1):
        raise BadArtefact(
            f"{path} maps {network.input_shape} to {network.output_shape}, its card says {n_features} features to "
            "one probability: restore it or train again"
        )
    traced = tf.function(network, input_signature=[tf.TensorSpec([None, n_features], tf.float32)])
    # A concrete function is never traced again, and called with less ado: 0.24 ms instead of 0.37.
    return network, traced.get_concrete_function()
