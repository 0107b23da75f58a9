"""Sample pictures, and copies of them whose place in the original is known."""

from pathlib import Path

import numpy as np
from PIL import Image

from neardup_platform.images.picture_sketch import sketch_of
from neardup_platform.structure.agreement import Prepared
from neardup_platform.structure.sketch import decode_sketch

SAMPLES = sorted((Path(__file__).parents[2] / "samples" / "pictures").glob("*.jpg"))


def picture(number: int) -> Image.Image:
    """A sample picture; all differ."""
    return Image.open(SAMPLES[number]).convert("RGB")


def prepared(image: Image.Image) -> Prepared:
    """The picture as alignment sees it."""
    return Prepared.of(decode_sketch(sketch_of(np.asarray(image))))
