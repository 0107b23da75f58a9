"""Pictures to sketches, which alignment lays over each other.

Pixels → **sketch** → alignment.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from neardup_platform.images.decode import Pixels
from neardup_platform.structure.sketch import BLOCK_PX, COLOUR_GRID, encode_sketch, sketch_size

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def sketch_of(pixels: Pixels) -> NDArray[np.float32]:
    """Returns the sketch of a picture, uint8 [height, width, 3]; layout as of `encode_sketch`."""
    image = Image.fromarray(pixels)
    columns, rows = sketch_size(image.width, image.height)
    size = columns * BLOCK_PX, rows * BLOCK_PX
    shrinks = image.width >= size[0] and image.height >= size[1]
    # Averaging shrinks without aliasing; it would enlarge to squares.
    small = image.resize(size, Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR, reducing_gap=3.0)
    colours = image.resize((COLOUR_GRID, COLOUR_GRID), Image.Resampling.BOX)
    return encode_sketch(np.asarray(small, np.float32) @ _LUMA, np.asarray(colours, np.float32))
