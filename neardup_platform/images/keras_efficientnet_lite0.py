"""EfficientNet-Lite0 rebuilt in Keras: the network of the built-in `lsh` embedder.

Pixels → early blocks → **late blocks** → features → projection → vector. Built from the shipped ImageNet weights
(Apache-2.0, notice beside them); the weights of the late blocks are then replaced by those tuned for copy detection
(`fine_tune.py`). Batch normalisation is folded into the convolutions: the features are the same up to rounding, and
TensorFlow runs a third fewer operations.

Tan & Le, *EfficientNet* (2019); the Lite variant (Liu, 2020) drops squeeze-excite and swish. GeM pooling: Radenović et
al., *Fine-tuning CNN Image Retrieval with No Human Annotation* (2018).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

INPUT_PX = 224
# The first eight blocks (edges and textures) stay as published; the later ones are tuned.
EARLY_BLOCKS = 8
EARLY_STRIDE, EARLY_CHANNELS = 16, 80
# Blocks whose maps are used in addition to the last one: deep features identify the subject, these distinguish two
# pictures of it, and they cost no computation (best F1 before tuning: 0.864 with them, 0.851 without).
INNER_BLOCKS = (7, 10, 14, 15)
INNER_WEIGHT = 0.7
BATCH_NORM_EPSILON = 1e-3


class _Stage(NamedTuple):
    repeats: int
    kernel: int
    stride: int
    expansion: int


STAGES = (
    _Stage(1, 3, 1, 1),
    _Stage(2, 3, 2, 6),
    _Stage(2, 5, 2, 6),
    _Stage(3, 3, 2, 6),
    _Stage(3, 5, 1, 6),
    _Stage(4, 5, 2, 6),
    _Stage(1, 3, 1, 6),
)
BLOCKS = sum(stage.repeats for stage in STAGES)

Weights = Mapping[str, NDArray[Any]]


def build_early(weights: Weights) -> Any:
    """Build the first blocks.

    Args:
        weights: arrays of `efficientnet-lite0.npz`: kernels [height, width, in, out], batch norms [channels].

    Returns:
        keras.Model from float32 [n, h, w, 3], RGB 0…255, to float32 [n, h/16, w/16, 80].
    """
    import keras

    pixels = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 128, offset=-127 / 128)(pixels)
    x = _convolve(x, weights, "conv_stem", "bn0", stride=2)
    return keras.Model(pixels, _blocks(x, weights, 0, EARLY_BLOCKS)[-1])


def build_late(weights: Weights) -> Any:
    """Build the other blocks; the layers have the names of their convolutions, with dots for slashes.

    Args:
        weights: as for `build_early`.

    Returns:
        keras.Model from float32 [n, h, w, 80] to the maps of `INNER_BLOCKS`, the first being the input itself, and
        finally float32 [n, h/2, w/2, 1280], values 0…6.
    """
    import keras

    entry = keras.Input((None, None, EARLY_CHANNELS))
    maps = [entry, *_blocks(entry, weights, EARLY_BLOCKS, BLOCKS)]
    inner = [maps[block - EARLY_BLOCKS + 1] for block in INNER_BLOCKS]
    return keras.Model(entry, [*inner, _convolve(maps[-1], weights, "conv_head", "bn1")])


def tuned_weights(late: Any) -> dict[str, NDArray[np.float16]]:
    """Kernels and biases of the late blocks, by layer name and position: the input of `set_tuned`."""
    return {
        f"{layer.name}/{place}": values.astype(np.float16)
        for layer in late.layers
        for place, values in enumerate(layer.get_weights())
    }


def set_tuned(late: Any, tuned: Weights) -> None:
    """Put tuned kernels and biases into the late blocks.

    Raises:
        KeyError, ValueError: an array is missing or has another shape.
    """
    for layer in late.layers:
        if layer.get_weights():
            layer.set_weights([tuned[f"{layer.name}/{place}"].astype(np.float32) for place in range(2)])


def _blocks(x: Any, weights: Weights, first: int, end: int) -> list[Any]:
    """The outputs of the blocks first…end−1; the first of them reads `x`."""
    stages = [(stage, stage.stride if repeat == 0 else 1) for stage in STAGES for repeat in range(stage.repeats)]
    outputs = [x]
    for block in range(first, end):
        outputs.append(_inverted_residual(outputs[-1], weights, f"blocks/{block}", *stages[block]))
    return outputs[1:]


def _inverted_residual(x: Any, weights: Weights, name: str, stage: _Stage, stride: int) -> Any:
    import keras

    entering = x
    if stage.expansion != 1:
        x = _convolve(x, weights, f"{name}/expand_conv", f"{name}/bn0")
    x = _convolve(x, weights, f"{name}/depthwise_conv", f"{name}/bn1", stride=stride, depthwise=True)
    x = _convolve(x, weights, f"{name}/project_conv", f"{name}/bn2", activation=None)
    if stride == 1 and entering.shape[-1] == x.shape[-1]:
        return keras.layers.Add()([entering, x])
    return x


def _convolve(
    x: Any,
    weights: Weights,
    convolution: str,
    norm: str,
    *,
    stride: int = 1,
    depthwise: bool = False,
    activation: str | None = "relu6",
) -> Any:
    import keras

    kernel, bias = _fold(weights, convolution, norm, depthwise=depthwise)
    shape = {
        "kernel_size": kernel.shape[:2],
        "strides": stride,
        "padding": "same",
        "activation": activation,
        "name": convolution.replace("/", "."),
    }
    layer = keras.layers.DepthwiseConv2D(**shape) if depthwise else keras.layers.Conv2D(kernel.shape[3], **shape)
    x = layer(x)
    layer.set_weights([kernel, bias])
    return x


def _fold(
    weights: Weights, convolution: str, norm: str, *, depthwise: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Kernel and bias equal to the convolution followed by its batch normalisation."""
    kernel = weights[f"{convolution}/weight"].astype(np.float32)
    scale = weights[f"{norm}/weight"] / np.sqrt(weights[f"{norm}/running_var"] + BATCH_NORM_EPSILON)
    bias = weights[f"{norm}/bias"] - weights[f"{norm}/running_mean"] * scale
    scaled = kernel * (scale[:, None] if depthwise else scale)
    return scaled.astype(np.float32), bias.astype(np.float32)


def pool(maps: Sequence[Any]) -> Any:
    """Pool the maps of one batch into one vector per picture.

    Args:
        maps: float32 tensors [n, h, w, channels], the last one last.

    Returns:
        float32 tensor [n, 2688]: GeM of the last map at unit norm, then for each inner map the means and standard
        deviations of its channels, together of norm `INNER_WEIGHT`.
    """
    import tensorflow as tf

    *inner, last = maps
    parts = [tf.math.l2_normalize(gem_pool(last), axis=1)]
    for feature_map in inner:
        moments = [tf.reduce_mean(feature_map, [1, 2]), tf.math.reduce_std(feature_map, [1, 2])]
        parts.append(INNER_WEIGHT * tf.math.l2_normalize(tf.concat(moments, 1), axis=1))
    return tf.concat(parts, 1)


def gem_pool(feature_map: Any) -> Any:
    """Generalised-mean pooling with exponent 3: tensor [n, h, w, c] → [n, c], (mean max(x, 1e-6)³)^(1/3)."""
    import tensorflow as tf

    return tf.reduce_mean(tf.maximum(feature_map, 1e-6) ** 3, axis=[1, 2]) ** (1 / 3)
