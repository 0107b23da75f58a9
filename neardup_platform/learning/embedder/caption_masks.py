"""Masks of short texts to lay over pictures, as captions and watermarks lie over copies on the web."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from neardup_platform.learning.embedder.synthetic_sheet import Rng, font, pick

WIDTH_PX, HEIGHT_PX = 256, 64
_FACES = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif"),
    *("DejaVuSansMono-Bold", "DejaVuSerif-Bold", "STIXGeneral"),
)
_LETTERS = "etaoinshrdlucmfwypvbgkETAOINSRL0123456789.@-!#/:"
_LINES = (1, 1, 2, 3)
_UPPER_SHARE = 0.4


def caption_masks(number: int, rng: Rng) -> NDArray[np.uint8]:
    """Draw texts of one to three lines of random letters.

    Args:
        number: of masks.
        rng: source of every random choice.

    Returns:
        uint8 [number, 1, 64, 256], 255 where the text is.

    Raises:
        SetupError: matplotlib, whose fonts are used, is not installed.
    """
    return np.stack([_mask(rng) for _ in range(number)])[:, None]


def _mask(rng: Rng) -> NDArray[np.uint8]:
    image = Image.new("L", (WIDTH_PX, HEIGHT_PX))
    pen, lines, upper = ImageDraw.Draw(image), pick(rng, _LINES), rng.random() < _UPPER_SHARE
    face = font(pick(rng, _FACES), int(48 / lines))
    for line in range(lines):
        text = _words(rng)
        pen.text((2, line * 62 / lines), text.upper() if upper else text, fill=255, font=face)
    return np.asarray(image)


def _words(rng: Rng) -> str:
    sizes = rng.integers(2, 9, int(rng.integers(1, 5)))
    return " ".join("".join(pick(rng, _LETTERS) for _ in range(size)) for size in sizes)
