"""The first score of pairs with the vectors in the memory of a GPU, as one compiled function.

Row numbers → **rows of the resident table → features → network** → probabilities. Only row numbers and probabilities
cross the bus. The network is the classifier's own Keras model. It runs on any backend of Keras.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from neardup_platform.bench.array_features import array_features
from neardup_platform.scoring.features import SKETCH, Block
from neardup_platform.scoring.vectors import ImageVectors


def resident_scores(network: Any, vectors: ImageVectors, blocks: Sequence[Block]) -> Any:
    """Moves vectors to the device that Keras uses; a sketch stays behind.

    Args:
        network: keras.Model from features to probabilities.
        vectors: of all images.
        blocks: parts of the pair vector.

    Returns:
        keras.Model from two int32 [n], the rows of each pair, to probabilities [n, 1].
    """
    import keras

    read = max((block.stop for block in blocks if block.comparison != SKETCH), default=0)
    rows = np.concatenate([vectors.lsh, vectors.pair[:, :read]], axis=1)
    # Zeros, because the default draws as many random numbers first.
    table = keras.layers.Embedding(*rows.shape, "zeros", dtype="float16", trainable=False)
    table.build()
    table.set_weights([rows])
    entries = [keras.Input((), dtype="int32") for _ in range(2)]
    one, other = (keras.ops.cast(table(entry), "float32") for entry in entries)
    dim = vectors.lsh.shape[1]
    sides = [one[:, :dim], other[:, :dim], one[:, dim:], other[:, dim:]]
    return keras.Model(entries, network(array_features(keras.ops, sides, blocks)))
