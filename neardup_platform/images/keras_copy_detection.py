"""Training the network to tell copies from look-alikes: late blocks, projection, loss and one step.

Two views of each picture of a batch → **loss** → new weights. The loss is that of SSCD (Pizzi et al., *A
Self-Supervised Descriptor for Image Copy Detection*, 2022): InfoNCE over the batch, and the entropy term of
Sablayrolles et al. (*Spreading vectors for similarity search*, 2019), which pushes each picture away from its nearest
neighbour, so that one threshold on the cosine has the same meaning everywhere.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neardup_platform.images.keras_efficientnet_lite0 import Weights, build_late, pool, tuned_weights
from neardup_platform.images.keras_lsh_embedder import project
from neardup_platform.images.lsh_projection import fit_projection

_BATCH = 128
# Factor of the learning rate at the end of its cosine decay; the rate at the start of its warm-up.
_LAST_SHARE, _FIRST_RATE = 0.02, 1e-6


@dataclass(frozen=True, slots=True)
class Recipe:
    """The parameters of fine-tuning, apart from the pictures.

    Attributes:
        steps: total number of batches.
        pictures: number of pictures in a batch, two views each.
        learning_rate: highest rate of Adam, reached after `warm_up` steps.
        temperature: of InfoNCE.
        entropy_weight: of the entropy term.
        hard_share: share of batches made of pictures and their nearest neighbours.
        seed: of every random choice.
    """

    steps: int = 450
    pictures: int = 192
    learning_rate: float = 3e-4
    warm_up: int = 50
    temperature: float = 0.05
    entropy_weight: float = 5.0
    hard_share: float = 0.8
    seed: int = 0


class CopyDetector:
    """Late blocks and projection in training; starts as the published network, whitened.

    Args:
        published: arrays of `efficientnet-lite0.npz`.
        unaltered: float16 [n, h, w, 80], early maps of the unaltered pictures, for whitening.
        recipe: rates and weights.
    """

    def __init__(self, published: Weights, unaltered: NDArray[np.float16], recipe: Recipe) -> None:
        import keras
        import tensorflow as tf

        keras.utils.set_random_seed(recipe.seed)
        self._late = build_late(published)
        features = _in_batches(lambda maps: pool(self._late(maps)), unaltered)
        mean, matrix = (part.astype(np.float32) for part in fit_projection(features))
        # Scaled to suit the step size of Adam: vectors have about unit norm before they are normalised.
        matrix /= np.linalg.norm((features - mean) @ matrix, axis=1).mean()
        self._projection, self._bias = tf.Variable(matrix), tf.Variable(-(mean @ matrix))
        self._trained = [*self._late.trainable_variables, self._projection, self._bias]
        decay = recipe.steps - recipe.warm_up
        rate = keras.optimizers.schedules.CosineDecay(
            _FIRST_RATE, decay, _LAST_SHARE, warmup_target=recipe.learning_rate, warmup_steps=recipe.warm_up
        )
        self._optimizer = keras.optimizers.Adam(rate, clipnorm=1.0)
        self._optimizer.build(self._trained)
        self._recipe = recipe
        self._step = tf.function(self._descend, reduce_retracing=True)
        self._vectors = tf.function(self._embed, reduce_retracing=True)

    def step(self, first: NDArray[np.float16], second: NDArray[np.float16]) -> tuple[float, float]:
        """Learn from one batch: early maps float16 [n, h, w, 80] of two views of each picture.

        Returns:
            InfoNCE, and the mean log distance of each view to its nearest other picture, negated.
        """
        contrast, entropy = self._step(first, second)
        return float(contrast), float(entropy)

    def embed(self, maps: NDArray[np.float16]) -> NDArray[np.float32]:
        """Vectors of early maps with the current weights: float16 [n, h, w, 80] → float32 [n, dim] of unit norm."""
        return _in_batches(self._vectors, maps)

    def weights(self) -> dict[str, NDArray[np.float16]]:
        """The arrays that `LshEmbedder` reads from `copy-detection.npz`."""
        ends = {"projection": self._projection, "bias": self._bias}
        return {**tuned_weights(self._late), **{n: v.numpy().astype(np.float16) for n, v in ends.items()}}

    def _embed(self, maps: Any) -> Any:
        return project(pool(self._late(maps)), self._projection, self._bias)

    def _descend(self, first: Any, second: Any) -> tuple[Any, Any]:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            vectors = self._embed(tf.cast(tf.concat([first, second], 0), tf.float32))
            contrast, entropy = losses(vectors, self._recipe.temperature)
            loss = contrast + self._recipe.entropy_weight * entropy
        self._optimizer.apply_gradients(zip(tape.gradient(loss, self._trained), self._trained, strict=True))
        return contrast, entropy


def losses(vectors: Any, temperature: float) -> tuple[Any, Any]:
    """InfoNCE and entropy loss of one batch.

    Args:
        vectors: tensor [2n, dim] of unit norm; rows i and n + i are two views of one picture.
        temperature: divides the cosines.

    Returns:
        Mean cross-entropy of picking the other view among all others, and minus the mean log Euclidean distance to the
        nearest view of another picture.
    """
    import tensorflow as tf

    n = tf.shape(vectors)[0] // 2
    cosines, itself = tf.matmul(vectors, vectors, transpose_b=True), tf.eye(2 * n)
    other_view = tf.concat([tf.range(n, 2 * n), tf.range(n)], 0)
    logits = cosines / temperature - 1e9 * itself
    contrast = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(other_view, logits))
    nearest = tf.reduce_max(cosines - 9.0 * (itself + tf.roll(itself, n, axis=1)), axis=1)
    distances = tf.sqrt(tf.maximum(2.0 - 2.0 * nearest, 0.0) + 1e-6)
    return contrast, -tf.reduce_mean(tf.math.log(distances))


def _in_batches(function: Any, maps: NDArray[np.float16]) -> NDArray[np.float32]:
    parts = [function(maps[start : start + _BATCH].astype(np.float32)).numpy() for start in range(0, len(maps), _BATCH)]
    return np.concatenate(parts)
