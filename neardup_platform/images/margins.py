"""Finds and removes plain margins around a picture, as frames, padded thumbnails and shop pages have them.

Pixels → **picture without margins** → `pair` descriptor.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Margins are detected in a copy of at most this many pixels per side: finer ones do not change the descriptor.
_DETECTION_PX = 128
# Grey levels by which recompression changes a plain colour, and the share of a line that may differ by more.
_TOLERANCE, _SPECKS = 10, 0.02
# A picture that would lose more than this share of a side is mostly margin (a logo, a drawing) and stays whole.
_MOST_CUT = 0.75


def without_margins(image: Image.Image) -> Image.Image:
    """Remove, at each edge, the lines that have the single colour of the outermost line.

    Args:
        image: RGB.

    Returns:
        The inner picture; `image` itself if there is no margin, or little but margin.
    """
    small = image.copy()
    small.thumbnail((_DETECTION_PX, _DETECTION_PX), Image.Resampling.BOX)
    lines = np.asarray(small, dtype=np.int16)
    top, bottom = _margin(lines), _margin(lines[::-1])
    if top + bottom >= _MOST_CUT * len(lines):
        return image
    columns = lines[top : len(lines) - bottom].transpose(1, 0, 2)
    left, right = _margin(columns), _margin(columns[::-1])
    if left + right >= _MOST_CUT * len(columns) or not (top or bottom or left or right):
        return image
    across, down = image.width / small.width, image.height / small.height
    right_end, bottom_end = (small.width - right) * across, (small.height - bottom) * down
    return image.crop((round(left * across), round(top * down), round(right_end), round(bottom_end)))


def _margin(lines: NDArray[np.int16]) -> int:
    """The number of leading lines, of [lines, pixels, 3], that have the median colour of the first line."""
    far = np.abs(lines - np.median(lines[0], axis=0)).max(axis=2) > _TOLERANCE
    plain = far.mean(axis=1) <= _SPECKS
    return len(lines) if plain.all() else int(plain.argmin())
