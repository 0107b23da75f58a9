"""What JPEG compression does to pixels, for a batch on the device: rounding of 8×8 blocks in the frequency domain.

Quantisation tables: ITU-T T.81, annex K. Scaling by quality: the Independent JPEG Group's library. Chroma is not
subsampled and no file is written.
"""

from math import pi, sqrt
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 -- the usual name

_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
# The upper left quarter; the rest is 99.
_CHROMA = ((17, 18, 24, 47), (18, 21, 26, 66), (24, 26, 56, 99), (47, 66, 99, 99))
# RGB to luma and two chromas (JFIF).
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def recompress(views: Any, quality: Any) -> Any:
    """Compress and decompress views.

    Args:
        views: float32 [n, 3, h, w], 0…255, sides multiples of 8.
        quality: float32 [n], 1…100.

    Returns:
        float32 [n, 3, h, w], 0…255.
    """
    to_ycc = torch.tensor(_TO_YCC, device=views.device)
    transform = _cosine_transform(views.device)
    tables = _tables(quality)
    ycc = F.conv2d(views, to_ycc[:, :, None, None])
    ycc[:, 0] -= 128
    rounded = torch.round((_blocks(ycc) @ transform.T).div_(tables)).mul_(tables) @ transform
    ycc = _from_blocks(rounded, views.shape)
    ycc[:, 0] += 128
    return F.conv2d(ycc, torch.linalg.inv(to_ycc)[:, :, None, None]).clamp_(0, 255)


def _tables(quality: Any) -> Any:
    """Divisors of the coefficients, float32 [n, 3, 1, 64]."""
    luma = torch.tensor(_LUMA, device=quality.device, dtype=torch.float32)
    chroma = torch.full((8, 8), 99.0, device=quality.device)
    chroma[:4, :4] = torch.tensor(_CHROMA, device=quality.device, dtype=torch.float32)
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality) / 100
    tables = torch.stack([luma, chroma, chroma])[None] * scale[:, None, None, None]
    return tables.clamp_min(1).reshape(len(quality), 3, 1, 64)


def _cosine_transform(device: Any) -> Any:
    """The transform of a flattened block, float32 [64, 64]: one product is faster than two with 8×8 matrices."""
    k = torch.arange(8, device=device, dtype=torch.float32)
    rows = torch.cos((2 * k[None] + 1) * k[:, None] * pi / 16) * 0.5
    rows[0] /= sqrt(2)
    return torch.kron(rows, rows)


def _blocks(planes: Any) -> Any:
    """[n, 3, h, w] → [n, 3, blocks, 64]."""
    n, channels, height, width = planes.shape
    split = planes.reshape(n, channels, height // 8, 8, width // 8, 8).permute(0, 1, 2, 4, 3, 5)
    return split.reshape(n, channels, -1, 64)


def _from_blocks(blocks: Any, shape: Any) -> Any:
    """[n, 3, blocks, 64] → [n, 3, h, w]."""
    n, channels, height, width = shape
    split = blocks.reshape(n, channels, height // 8, width // 8, 8, 8).permute(0, 1, 2, 4, 3, 5)
    return split.reshape(n, channels, height, width)
