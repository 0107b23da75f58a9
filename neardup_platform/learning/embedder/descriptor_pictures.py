"""The pictures that the built-in descriptor learns from: unlabelled photographs and synthetic look-alikes.

CSV of photographs and drawn look-alikes → **squares with their aspect ratios** → views on the device. A sixth of the
photographs is kept back: the pair classifier must not learn from distances of pictures that the descriptor has
memorised.
"""

import hashlib
import io
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice, product
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from neardup_platform.errors import BadPicture, SetupError
from neardup_platform.images.decode import decode
from neardup_platform.learning.embedder.labelled_pictures import read_manifest
from neardup_platform.learning.embedder.synthetic_pictures import KINDS, distinct
from neardup_platform.settings import ImageSettings

SQUARE_PX = 256
_KEPT_BACK_OF = 6

Square = tuple[NDArray[np.uint8], float]


@dataclass(frozen=True, slots=True)
class TrainingPictures:
    """Row-aligned pictures, photographs first.

    Attributes:
        squares: uint8 [n, 256, 256, 3], squeezed to a square.
        aspects: float32 [n], width divided by height before that.
        photographs: number of rows that are photographs; the others are synthetic.
    """

    squares: NDArray[np.uint8]
    aspects: NDArray[np.float32]
    photographs: int


def kept_back(name: str) -> bool:
    """Whether the descriptor never sees a picture, by its name in the column `file`: one in six."""
    return int(hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest(), 16) % _KEPT_BACK_OF == 0


def read_photographs(manifest: Path) -> list[Square]:
    """Read the photographs of a CSV with the column `file`, relative to it, except those kept back.

    Raises:
        SetupError: the CSV is missing or lacks the column, or a picture of it cannot be read.
        BadPicture: a picture is refused.
    """
    names = [row["file"] for row in read_manifest(manifest, ("file",))]
    paths = [manifest.parent / name for name in names if not kept_back(name)]
    with _processes() as pool:
        return list(pool.map(partial(_read, limits=ImageSettings()), paths, chunksize=64))


def draw_look_alikes(templates: int, contents: int) -> list[Square]:
    """Draw `contents` different pictures with each of `templates` templates of every kind; half were JPEG files."""
    jobs = list(product(KINDS, range(templates)))
    with _processes() as pool:
        drawn = pool.map(partial(_draw, contents=contents), *zip(*jobs, strict=True), chunksize=4)
        return list(chain.from_iterable(drawn))


def join(photographs: list[Square], look_alikes: list[Square]) -> TrainingPictures:
    """Put photographs and look-alikes into arrays."""
    squares, aspects = zip(*photographs, *look_alikes, strict=True)
    return TrainingPictures(np.stack(squares), np.array(aspects, np.float32), len(photographs))


def _read(path: Path, limits: ImageSettings) -> Square:
    try:
        data = path.read_bytes()
        pixels = decode(data, max_pixels=limits.max_pixels, max_bytes=limits.max_bytes, enough_px=SQUARE_PX)
    except OSError as error:
        raise SetupError(f"{path} cannot be read ({error}): correct the manifest that lists it") from error
    except BadPicture as error:
        raise BadPicture(f"{path}: {error}") from error
    return _square(Image.fromarray(pixels), Image.Resampling.BILINEAR)


def _draw(kind: str, template: int, contents: int) -> list[Square]:
    pictures: Iterable[tuple[int, NDArray[np.uint8]]] = islice(distinct(kind, template), contents)
    return [_saved(Image.fromarray(pixels), template, content) for content, pixels in pictures]


def _saved(image: Image.Image, template: int, content: int) -> Square:
    if content % 2:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=60 + (template * 7 + content * 13) % 35)
        image = Image.open(file).convert("RGB")
    return _square(image, Image.Resampling.BOX)


def _square(image: Image.Image, filtering: Image.Resampling) -> Square:
    return np.asarray(image.resize((SQUARE_PX, SQUARE_PX), filtering)), image.width / image.height


@contextmanager
def _processes() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), get_context("spawn")) as pool:
        yield pool
