"""EfficientNet-Lite0 in PyTorch, every layer trained: batch normalisation as published, folded on export.

Published weights → **network in training** → arrays of the Keras layers → `LshEmbedder`. Geometry, pooling and names
are those of `keras_efficientnet_lite0`; so is the padding, 'same' as TensorFlow understands it.
"""

from math import ceil
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 -- the usual name
from numpy.typing import NDArray
from torch import nn

from neardup_platform.images.keras_efficientnet_lite0 import HEAD_CHANNELS, INNER_BLOCKS, INNER_WEIGHT, STAGES, Weights

DIM = 256
_EPSILON, _MOMENTUM = 1e-3, 0.02
_STATISTICS = ("weight", "bias", "running_mean", "running_var")


class Network(nn.Module):
    """Pixels to vectors: all blocks, pooling, projection.

    Args:
        published: arrays of `efficientnet-lite0.npz`: kernels [height, width, in, out], batch norms [channels].

    Raises:
        KeyError: an array is missing.
    """

    def __init__(self, published: Weights) -> None:
        super().__init__()
        self.stem = _Convolution(published, "conv_stem", "bn0", stride=2)
        shapes = [(s.stride if repeat == 0 else 1, s.expansion) for s in STAGES for repeat in range(s.repeats)]
        self.blocks = nn.ModuleList(
            _Block(published, f"blocks/{i}", stride, expansion) for i, (stride, expansion) in enumerate(shapes)
        )
        self.head = _Convolution(published, "conv_head", "bn1")
        features = HEAD_CHANNELS + 2 * sum(self.blocks[i].channels for i in INNER_BLOCKS)
        self.projection = nn.Parameter(torch.zeros(features, DIM))
        self.bias = nn.Parameter(torch.zeros(DIM))

    def forward(self, pixels: Any) -> Any:
        """float32 [n, 3, h, w], RGB 0…255 → float32 [n, 256] of unit norm."""
        return F.normalize(self.features(pixels) @ self.projection + self.bias, dim=1)

    def features(self, pixels: Any) -> Any:
        """float32 [n, 3, h, w], RGB 0…255 → float32 [n, 2688], as `keras_efficientnet_lite0.pool` defines it."""
        x = self.stem((pixels - 127.0) / 128.0)
        moments = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in INNER_BLOCKS:
                moments.append(INNER_WEIGHT * F.normalize(_moments(x.float()), dim=1))
        return torch.cat([F.normalize(_gem_pool(self.head(x).float()), dim=1), *moments], 1)

    def export(self) -> dict[str, NDArray[np.float16]]:
        """Kernels and biases of every convolution, by Keras layer and position, and the projection."""
        arrays = {"projection": _to_numpy(self.projection), "bias": _to_numpy(self.bias)}
        for module in self.modules():
            if isinstance(module, _Convolution):
                for place, values in enumerate(module.folded()):
                    arrays[f"{module.name}/{place}"] = _to_numpy(values)
        return arrays


class _Convolution(nn.Module):
    """A convolution with its batch normalisation and, if `active`, ReLU6."""

    def __init__(
        self,
        published: Weights,
        convolution: str,
        norm: str,
        *,
        stride: int = 1,
        depthwise: bool = False,
        active: bool = True,
    ) -> None:
        super().__init__()
        # Keras has the channels last; a depthwise kernel is [height, width, channels, 1].
        self._order = (2, 3, 0, 1) if depthwise else (3, 2, 0, 1)
        kernel = published[f"{convolution}/weight"].astype(np.float32).transpose(self._order)
        self.weight = nn.Parameter(torch.from_numpy(kernel.copy()))
        self.name, self._stride, self._active = convolution.replace("/", "."), stride, active
        self._groups = len(kernel) if depthwise else 1
        self.norm = nn.BatchNorm2d(len(kernel), eps=_EPSILON, momentum=_MOMENTUM)
        for statistic in _STATISTICS:
            values = published[f"{norm}/{statistic}"].astype(np.float32)
            getattr(self.norm, statistic).data.copy_(torch.from_numpy(values))

    def forward(self, x: Any) -> Any:
        if self._stride == 1:
            x = F.conv2d(x, self.weight, None, 1, self.weight.shape[-1] // 2, 1, self._groups)
        else:
            x = F.pad(x, [*self._padding(x.shape[3]), *self._padding(x.shape[2])])
            x = F.conv2d(x, self.weight, None, self._stride, 0, 1, self._groups)
        x = self.norm(x)
        return F.relu6(x) if self._active else x

    def _padding(self, side: int) -> tuple[int, int]:
        """Before and after, so that the output has ceil(side / stride) places; the odd one comes after."""
        covered = (ceil(side / self._stride) - 1) * self._stride + self.weight.shape[-1]
        total = max(covered - side, 0)
        return total // 2, total - total // 2

    def folded(self) -> tuple[Any, Any]:
        """Kernel, in Keras order, and bias equal to the convolution followed by its normalisation: float64."""
        weight, bias, mean, variance = (getattr(self.norm, name).detach().double() for name in _STATISTICS)
        scale = weight / torch.sqrt(variance + _EPSILON)
        kernel = self.weight.detach().double() * scale[:, None, None, None]
        return kernel.permute(*np.argsort(self._order).tolist()), bias - mean * scale


class _Block(nn.Module):
    """An inverted residual."""

    def __init__(self, published: Weights, name: str, stride: int, expansion: int) -> None:
        super().__init__()
        widen = [_Convolution(published, f"{name}/expand_conv", f"{name}/bn0")] if expansion != 1 else []
        depthwise = _Convolution(published, f"{name}/depthwise_conv", f"{name}/bn1", stride=stride, depthwise=True)
        project = _Convolution(published, f"{name}/project_conv", f"{name}/bn2", active=False)
        self.path = nn.Sequential(*widen, depthwise, project)
        self.channels = len(project.weight)
        self._stride = stride

    def forward(self, x: Any) -> Any:
        y = self.path(x)
        return x + y if self._stride == 1 and x.shape == y.shape else y


def _gem_pool(feature_map: Any) -> Any:
    """Generalised-mean pooling with exponent 3: [n, c, h, w] → [n, c]."""
    return (feature_map.clamp_min(1e-6) ** 3).mean((2, 3)) ** (1 / 3)


def _moments(feature_map: Any) -> Any:
    """Means and standard deviations of the channels: [n, c, h, w] → [n, 2c]."""
    # The gradient of the root is infinite at 0.
    deviations = (feature_map.var((2, 3), unbiased=False) + 1e-8).sqrt()
    return torch.cat([feature_map.mean((2, 3)), deviations], 1)


def _to_numpy(values: Any) -> NDArray[np.float16]:
    array: NDArray[np.float16] = values.detach().cpu().numpy().astype(np.float16)
    return array
