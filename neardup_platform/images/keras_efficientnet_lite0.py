"""EfficientNet-Lite0 rebuilt in Keras: the network under the built-in `lsh` embedder.

Pixels → **GeM features** → projection → vector. Built from the shipped ImageNet weights (Apache-2.0, notice
beside them). Batch normalisation is folded into the convolutions: the features are the same to rounding and
TensorFlow runs a third fewer operations.

Tan & Le, *EfficientNet* (2019); the Lite variant (Liu, 2020) drops squeeze-excite and swish. GeM pooling:
Radenović et al., *Fine-tuning CNN Image Retrieval with No Human Annotation* (2018).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

INPUT_PX = 224
FEATURES = 1280
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

Weights = Mapping[str, NDArray[Any]]


def build_feature_map_network(weights: Weights) -> Any:
    """Builds the network up to its last feature map.

    Args:
        weights: arrays of `efficientnet-lite0.npz`: kernels [height, width, in, out], batch norms [channels].

    Returns:
        keras.Model from float32 [n, 224, 224, 3], RGB 0…255, to float32 [n, 7, 7, 1280], values 0…6.
    """
    import keras

    pixels = keras.Input((INPUT_PX, INPUT_PX, 3))
    x = keras.layers.Rescaling(1 / 128, offset=-127 / 128)(pixels)
    x = _convolve(x, weights, "conv_stem", "bn0", stride=2)
    block = 0
    for stage in STAGES:
        for repeat in range(stage.repeats):
            x = _inverted_residual(x, weights, f"blocks/{block}", stage, stage.stride if repeat == 0 else 1)
            block += 1
    return keras.Model(pixels, _convolve(x, weights, "conv_head", "bn1"))


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
    shape = {"kernel_size": kernel.shape[:2], "strides": stride, "padding": "same", "activation": activation}
    layer = (
        keras.layers.DepthwiseConv2D(**shape) if depthwise else keras.layers.Conv2D(kernel.shape[3], **shape)
    )
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
    return kernel * (scale[:, None] if depthwise else scale), bias.astype(np.float32)


def gem_pool(feature_map: Any) -> Any:
    """Generalised-mean pooling with exponent 3: tensor [n, h, w, c] → [n, c], (mean max(x, 1e-6)³)^(1/3)."""
    import tensorflow as tf

    return tf.reduce_mean(tf.maximum(feature_map, 1e-6) ** 3, axis=[1, 2]) ** (1 / 3)
