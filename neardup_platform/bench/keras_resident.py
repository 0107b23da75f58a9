"""The first score of pairs with the vectors in the memory of a GPU, as one compiled function.

Row numbers → **rows of the resident table → features → network** → probabilities. Only row numbers and probabilities
cross the bus. The network is the classifier's own Keras model. It runs on any backend of Keras.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from neardup_platform.bench.array_features import array_features
from neardup_platform.scoring.compact import Layout, pack, unpack
from neardup_platform.scoring.features import Block, compared_entries
from neardup_platform.scoring.vectors import ImageVectors

_CHUNK = 65_536


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

    layout = Layout(vectors.lsh.shape[1], compared_entries(blocks))
    rows = np.empty((len(vectors.lsh), sum(layout)), np.float32)
    for first in range(0, len(rows), _CHUNK):
        part = slice(first, first + _CHUNK)
        rows[part] = np.hstack(unpack(pack(vectors.lsh[part], vectors.pair[part], layout), layout))
    # Zeros, because the default draws as many random numbers first.
    table = keras.layers.Embedding(*rows.shape, "zeros", dtype="float32", trainable=False)
    table.build()
    table.set_weights([rows])
    entries = [keras.Input((), dtype="int32") for _ in range(2)]
    one, other = map(table, entries)
    dim = vectors.lsh.shape[1]
    sides = [one[:, :dim], other[:, :dim], one[:, dim:], other[:, dim:]]
    return keras.Model(entries, network(array_features(keras.ops, sides, blocks)))
