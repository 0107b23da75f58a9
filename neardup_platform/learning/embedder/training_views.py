"""Views of a picture for learning what a copy preserves: mild, strong and tiny ones.

Picture → **views** → frozen early blocks → fine-tuning. All random choices come from the generator argument.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from neardup_platform.images.decode import Pixels
from neardup_platform.images.keras_lsh_embedder import squeeze
from neardup_platform.learning.embedder.alterations import alter, border, flip, recolour, recompress, tint

# The unlabelled pictures have a shorter side of 160 pixels.
VIEW_PX = 160
# The picture itself and three views with up to two alterations, six with up to five, three of icon size.
MILD, STRONG, TINY = 4, 6, 3
VIEWS = MILD + STRONG + TINY
_MILD_MOST, _STRONG_MOST = 2, 5
_TINY_PX = 32


def make_views(pixels: Pixels, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Make the views of a picture.

    Args:
        pixels: uint8 [height, width, 3].
        rng: source of every random choice.

    Returns:
        uint8 [VIEWS, 160, 160, 3]: the picture itself, the other mild views, the strong ones, the tiny ones.
    """
    altered = [alter(pixels, rng, most=_MILD_MOST)[0] for _ in range(MILD - 1)]
    altered += [alter(pixels, rng, most=_STRONG_MOST)[0] for _ in range(STRONG)]
    return np.stack([squeeze(view, VIEW_PX) for view in [pixels, *altered, *_tiny(pixels, rng)]])


def _tiny(pixels: Pixels, rng: np.random.Generator) -> list[Pixels]:
    """Copies of a picture scaled down to 32 pixels, cropped and recoloured as such pictures usually are."""
    image = Image.fromarray(pixels)
    scale = _TINY_PX / min(image.size)
    keeps_shape = rng.random() < 0.3
    sides = [max(_TINY_PX, round(side * scale)) if keeps_shape else _TINY_PX for side in image.size]
    return [_tiny_copy(image, (sides[0], sides[1]), rng) for _ in range(TINY)]


def _tiny_copy(image: Image.Image, size: tuple[int, int], rng: np.random.Generator) -> Pixels:
    if rng.random() < 0.7:
        image = _cut_edges(image, rng)
    image = image.resize(size, Image.Resampling.BOX)
    for alteration, share in ((recolour, 0.5), (tint, 0.15), (flip, 0.3), (recompress, 0.3), (border, 0.1)):
        if rng.random() < share:
            image = alteration(image, rng)
    return np.asarray(image.convert("RGB"))


def _cut_edges(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    width, height = (int(side * rng.uniform(0.82, 1.0)) for side in image.size)
    left, top = int(rng.integers(0, image.width - width + 1)), int(rng.integers(0, image.height - height + 1))
    return image.crop((left, top, left + width, top + height))
