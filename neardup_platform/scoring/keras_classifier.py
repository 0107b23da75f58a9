"""The pair classifier in operation: two images' vectors to the probability that they are near-duplicates.

Candidates → features → **probability** → decision. The network is a small Keras model whose calibration is part
of it; it is traced once for any number of pairs, so no batch size costs a retrace or padding.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import BadArtefact
from neardup_platform.records import Kind, ModelSpec
from neardup_platform.scoring.card import NETWORK_FILE, SHIPPED_FOLDER, Card, read_card
from neardup_platform.scoring.features import Rows, pair_features


class PairClassifier:
    """A trained classifier, read from a folder written by `training.train`.

    Attributes:
        card: identity, thresholds and measured quality.

    Raises:
        BadArtefact: the folder is incomplete, damaged or of another format.
    """

    def __init__(self, folder: Path = SHIPPED_FOLDER) -> None:
        self.card: Card = read_card(folder)
        self._probability = _load(folder / NETWORK_FILE, len(self.card.features))
        self._probability(np.zeros((1, len(self.card.features)), np.float32))  # trace now, not at the first image

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

    def score(self, lsh_a: Rows, lsh_b: Rows, pair_a: Rows, pair_b: Rows) -> NDArray[np.float32]:
        """Scores row-aligned pairs; symmetric in a and b.

        Args:
            lsh_a, lsh_b: float16 or float32 [n, lsh_dim], n from 0.
            pair_a, pair_b: float16 or float32 [n, pair_dim].

        Returns:
            float32 [n], calibrated probability, 0…1, that the two are near-duplicates.

        Raises:
            BadArtefact: the dimensions are not those the classifier was trained on.
        """
        for name, rows, dim in (
            ("lsh", lsh_a, self.card.lsh_dim),
            ("lsh", lsh_b, self.card.lsh_dim),
            ("pair", pair_a, self.card.pair_dim),
            ("pair", pair_b, self.card.pair_dim),
        ):
            if rows.shape != (len(lsh_a), dim):
                raise BadArtefact(
                    f"classifier {self.version} scores {name} vectors [{len(lsh_a)}, {dim}], got "
                    f"{list(rows.shape)}: train one for these embeddings and set scoring.model"
                )
        if not len(lsh_a):
            return np.zeros(0, np.float32)
        features = pair_features(lsh_a, lsh_b, pair_a, pair_b, self.card.blocks)
        return np.asarray(self._probability(features).numpy()[:, 0], dtype=np.float32)


def load_classifier(folder: Path | None) -> PairClassifier:
    """The classifier of a folder; None is the one shipped for the built-in embedders.

    Raises:
        BadArtefact: the folder is incomplete, damaged or of another format.
    """
    return PairClassifier(folder or SHIPPED_FOLDER)


def limit_tensorflow_threads(threads: int) -> None:
    """Keeps TensorFlow to `threads` for one operation and one for running several; call before its first use.

    The worker shares its cores with Kafka; the network is so small that more threads only cost hand-overs.
    Does nothing once TensorFlow has started, because it cannot be changed then.
    """
    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        return


def _load(path: Path, n_features: int) -> Any:
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
    return tf.function(network, input_signature=[tf.TensorSpec([None, n_features], tf.float32)])
