"""The network of the pair classifier: built, fitted and calibrated.

Features and labels → **Keras model** → `model.keras`. It averages the logits of several small networks that differ only
in their random start: far from the training pairs the mean is wrong less often than any one of them.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

MEMBERS = 4
HIDDEN = (32, 16)
EPOCHS = 24
BATCH = 2048
LEARNING_RATE = 4e-3
WEIGHT_DECAY = 2e-3
_SCORED_AT_ONCE = 65_536

Features = NDArray[np.float32]


def fit_network(
    features: Features, labels: NDArray[np.bool_], seed: int, weights: NDArray[np.float32] | None = None
) -> Any:
    """Trains a network whose output is an uncalibrated logit.

    Args:
        features: float32 [n, n_features].
        labels: bool [n].
        seed: of the start and the order of pairs; the same seed gives the same network on the same machine.
        weights: float32 [n], the weight of each pair; None weights all equally.

    Returns:
        keras.Model from float32 [n, n_features] to logits [n, 1].
    """
    import keras

    keras.utils.set_random_seed(seed)
    entry = keras.Input((features.shape[1],))
    scaled = keras.layers.Normalization(mean=features.mean(axis=0), variance=features.var(axis=0) + 1e-6)(entry)
    logit = keras.layers.Average()([_member(scaled, member) for member in range(MEMBERS)])
    model = keras.Model(entry, logit)
    steps = EPOCHS * -(-len(features) // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    model.compile(
        optimizer=keras.optimizers.AdamW(rate, weight_decay=WEIGHT_DECAY),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
    )
    # Otherwise TensorFlow traces the training step a second time, after it has created the optimizer's variables.
    model.optimizer.build(model.trainable_variables)
    model.fit(features, labels.astype(np.float32), sample_weight=weights, batch_size=BATCH, epochs=EPOCHS, verbose=0)
    return model


def _member(scaled: Any, member: int) -> Any:
    import keras

    # Explicit names: Keras numbers layers over the life of the process, and sums follow the order of names.
    x = scaled
    for layer, units in enumerate(HIDDEN):
        x = keras.layers.Dense(units, activation="relu", name=f"member_{member}_{layer}")(x)
    return keras.layers.Dense(1, name=f"member_{member}_logit")(x)


def outputs(model: Any, features: Features) -> NDArray[np.float64]:
    """Returns the outputs of a network for many pairs, float64 [n]: logits, or probabilities if it is calibrated."""
    parts = [
        np.asarray(model(features[i : i + _SCORED_AT_ONCE]))[:, 0] for i in range(0, len(features), _SCORED_AT_ONCE)
    ]
    return np.concatenate(parts).astype(np.float64) if parts else np.zeros(0)


def calibrate(model: Any, slope: float, offset: float) -> Any:
    """Appends calibration; returns the keras.Model from features to sigmoid(slope · logit + offset), [n, 1]."""
    import keras

    layer = keras.layers.Dense(1, activation="sigmoid", name="calibration")
    calibrated = keras.Model(model.input, layer(model.output))
    layer.set_weights([np.array([[slope]], np.float32), np.array([offset], np.float32)])
    return calibrated
