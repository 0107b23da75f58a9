"""The pair classifier's network on TensorFlow: the reference of the compiled loop, and its stand-in.

`model.keras` → **Keras model** → traced function. Importing TensorFlow takes seconds, so only what needs it does.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import BadArtefact
from neardup_platform.settings import ScoringSettings

# Batches are padded to a multiple of this. The last rows of a matrix product, and a single row, go through other loops
# than the rest and round differently, so the last bit of a score would depend on the other pairs of the batch; 24 is a
# multiple of the step of the loops for every instruction set up to AVX-512.
BATCH_MULTIPLE = 24

F32 = NDArray[np.float32]


class TensorFlowNetwork:
    """Computes probabilities; one object may be called by several threads at once.

    Args:
        path: of a Keras model from features to probabilities.
        n_features: of a pair.
        threads: that call it at once.

    Raises:
        BadArtefact: it is damaged, or of other features.
    """

    def __init__(self, path: Path, n_features: int, threads: int = ScoringSettings().threads) -> None:
        limit_tensorflow_threads(threads)
        # The traced function refers to the model's variables but does not keep them alive.
        self._model = read_network(path, n_features)
        self._traced = traced(self._model)

    def __call__(self, features: F32) -> F32:
        """Returns the probability of each pair, float32 [n]; takes float32 [n, features]. No row affects another."""
        import tensorflow as tf

        count = len(features)
        filled = np.pad(features, ((0, -count % BATCH_MULTIPLE), (0, 0)))
        return np.asarray(self._traced(tf.constant(filled)).numpy()[:count, 0], np.float32)


def traced(model: Any) -> Any:
    """Returns a Keras model as a function of float32 [n, features] tensors, traced once for any number of rows."""
    import tensorflow as tf

    function = tf.function(model, input_signature=[tf.TensorSpec([None, model.input_shape[1]], tf.float32)])
    # A concrete function is never traced again, and its calls cost less: 0.24 ms instead of 0.37.
    return function.get_concrete_function()


def read_network(path: Path, n_features: int) -> Any:
    """Reads a Keras model from features to probabilities.

    Raises:
        BadArtefact: it is damaged, or of other features.
    """
    import keras

    try:
        # safe_mode rejects Lambda layers: an artefact must not run its own code.
        network = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise BadArtefact(f"{path} is no Keras model ({reason}): restore it or train again") from error
    if network.input_shape != (None, n_features) or network.output_shape != (None, 1):
        raise BadArtefact(
            f"{path} maps {network.input_shape} to {network.output_shape}, its card says {n_features} features to "
            "one probability: restore it or train again"
        )
    return network


def limit_tensorflow_threads(calls: int) -> None:
    """Limits TensorFlow to one thread per operation and `calls` concurrent calls; call it before its first use.

    The network is so small that more threads per operation only add hand-overs. Once TensorFlow has started the limit
    cannot be changed, and this does nothing.
    """
    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(calls)
    except RuntimeError:
        return
