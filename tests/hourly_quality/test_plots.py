"""Claims about the plots of an hour."""

from io import BytesIO

import numpy as np
from PIL import Image

from neardup_platform.hourly_quality.matplotlib_hour import draw_counts, draw_shares


def colours(png: bytes) -> set[tuple[int, int, int]]:
    pixels = np.asarray(Image.open(BytesIO(png)).convert("RGB")).reshape(-1, 3)
    found, counts = np.unique(pixels, axis=0, return_counts=True)
    return {(int(r), int(g), int(b)) for (r, g, b), count in zip(found, counts, strict=True) if count > 400}


BLUE, ORANGE = (0x24, 0x63, 0xC9), (0xD9, 0x73, 0x1A)


def test_what_should_not_be_has_a_colour_of_its_own() -> None:
    assert {BLUE, ORANGE} <= colours(draw_counts({"decided": 90, "lost": 30}, "images", bad=("lost",)))
    assert ORANGE not in colours(draw_counts({"decided": 90, "lost": 0}, "images", bad=("lost",)))


def test_without_a_reference_the_hour_is_drawn_alone() -> None:
    edges = ["none", "0.0", ""]
    assert {BLUE, ORANGE} <= colours(draw_shares([1, 5, 9], [10, 50, 20], edges, "score"))
    alone = colours(draw_shares([1, 5, 9], [0, 0, 0], edges, "score"))
    assert BLUE in alone
    assert ORANGE not in alone
