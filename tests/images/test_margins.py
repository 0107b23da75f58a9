"""Plain margins are removed, and nothing else."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from neardup_platform.images.margins import without_margins
from neardup_platform.learning.embedder.alterations import recompress


def picture(width: int = 240, height: int = 180) -> Image.Image:
    coarse = np.random.default_rng(3).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def test_a_picture_without_margins_is_unchanged() -> None:
    image = picture()
    assert without_margins(image) is image


@pytest.mark.parametrize("margins", [(30, 0, 30, 0), (0, 20, 0, 60), (40, 10, 5, 25)])
@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (200, 30, 90)])
def test_a_frame_is_removed_after_recompression_too(
    margins: tuple[int, int, int, int], colour: tuple[int, int, int]
) -> None:
    framed = recompress(ImageOps.expand(picture(), margins, fill=colour), np.random.default_rng(1))
    inner = without_margins(framed)
    assert abs(inner.width - 240) <= 18
    assert abs(inner.height - 180) <= 18


def test_a_plain_or_nearly_plain_picture_is_kept_whole() -> None:
    plain = Image.new("RGB", (100, 80), (250, 250, 250))
    assert without_margins(plain) is plain
    logo = plain.copy()
    logo.paste(picture(10, 8), (45, 36))
    assert without_margins(logo) is logo


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 2)])
def test_pictures_of_any_shape_are_accepted(size: tuple[int, int]) -> None:
    assert without_margins(picture(*size)).size <= size
