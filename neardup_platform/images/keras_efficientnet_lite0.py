"""EfficientNet-Lite0 in Keras: the network of the built-in `lsh` embedder.

Pixels → **blocks** → maps → features → projection → vector. Batch normalisation is folded into the convolutions when
the weights are written: TensorFlow runs a third fewer operations.

Tan & Le, *EfficientNet* (2019); the Lite variant (Liu, 2020) drops squeeze-excite and swish. GeM pooling: Radenović et
al., *Fine-tuning CNN Image Retrieval with No Human Annotation* (2018).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

INPUT_PX = 224
# Blocks whose maps are used in addition to the last one: deep features identify the subject, these distinguish two
# pictures of it, and they cost no computation (best F1 before tuning: 0.864 with them, 0.851 without).
INNER_BLOCKS = (7, 10, 14, 15)
INNER_WEIGHT = 0.7


class _Stage(NamedTuple):
    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
STEM_CHANNELS, HEAD_CHANNELS = 32, 1280

Weights = Mapping[str, NDArray[Any]]


def build_network(weights: Weights) -> Any:
    """Build the network.

    Args:
        weights: float16 or float32 arrays by name of the convolution, with dots for slashes, and position: `NAME/0` is
            the kernel [height, width, in, out], of a depthwise one [height, width, channels, 1], `NAME/1` the bias.

    Returns:
        keras.Model from float32 [n, h, w, 3], RGB 0…255, to the maps of `INNER_BLOCKS` and finally float32
        [n, h/32, w/32, 1280], values 0…6.

    Raises:
        KeyError, ValueError: an array is missing or has another shape.
    """
    import keras

    stages = [(stage, stage.stride if repeat == 0 else 1) for stage in STAGES for repeat in range(stage.repeats)]
    pixels = keras.Input((None, None, 3))
    scaled = keras.layers.Rescaling(1 / 128, offset=-127 / 128)(pixels)
    maps = [_convolve(scaled, weights, "conv_stem", 3, STEM_CHANNELS, stride=2)]
    for block, (stage, stride) in enumerate(stages):
        maps.append(_inverted_residual(maps[-1], weights, f"blocks.{block}", stage, stride))
    inner = [maps[1 + block] for block in INNER_BLOCKS]
    return keras.Model(pixels, [*inner, _convolve(maps[-1], weights, "conv_head", 1, HEAD_CHANNELS)])


def _inverted_residual(x: Any, weights: Weights, name: str, stage: _Stage, stride: int) -> Any:
    import keras

    entering = x
    if stage.expansion != 1:
        x = _convolve(x, weights, f"{name}.expand_conv", 1, stage.expansion * x.shape[-1])
    x = _depthwise(x, weights, f"{name}.depthwise_conv", stage.kernel, stride)
    x = _convolve(x, weights, f"{name}.project_conv", 1, stage.channels, activation=None)
    if stride == 1 and entering.shape[-1] == x.shape[-1]:
        return keras.layers.Add()([entering, x])
    return x


def _convolve(
    x: Any,
    weights: Weights,
    name: str,
    kernel: int,
    channels: int,
    *,
    stride: int = 1,
    activation: str | None = "relu6",
) -> Any:
    import keras

    layer = keras.layers.Conv2D(channels, kernel, strides=stride, padding="same", activation=activation, name=name)
    return _apply(layer, x, weights)


def _depthwise(x: Any, weights: Weights, name: str, kernel: int, stride: int) -> Any:
    import keras

    layer = keras.layers.DepthwiseConv2D(kernel, strides=stride, padding="same", activation="relu6", name=name)
    return _apply(layer, x, weights)


def _apply(layer: Any, x: Any, weights: Weights) -> Any:
    x = layer(x)
    layer.set_weights([weights[f"{layer.name}/{place}"].astype(np.float32) for place in range(2)])
    return x


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
