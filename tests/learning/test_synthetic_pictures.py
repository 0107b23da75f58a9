"""Synthetic look-alikes: the seeds decide every pixel, and contents of one template are clearly different pictures."""

import csv
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from neardup_platform.learning.embedder.synthetic_pictures import KINDS, draw, write_synthetic

TEMPLATES, CONTENTS = 6, 3
# Mean absolute differences, 0…255. The least is that of one thin symbol on a wide ground to another.
LEAST_DIFFERENCE, TYPICAL_DIFFERENCE = 1.5, 6.0
LEAST_DEVIATION = 5.0


@pytest.fixture(scope="module", params=sorted(KINDS))
def templates(request: pytest.FixtureRequest) -> list[list[NDArray[np.uint8]]]:
    """Pictures of a kind: one list for each template."""
    return [[draw(request.param, template, content) for content in range(CONTENTS)] for template in range(TEMPLATES)]


def differences(pictures: list[NDArray[np.uint8]]) -> list[float]:
    return [float(np.abs(a.astype(float) - b).mean()) for a, b in combinations(pictures, 2)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seeds_give_the_same_pixels(kind: str) -> None:
    np.testing.assert_array_equal(draw(kind, 3, 4), draw(kind, 3, 4))


def test_contents_of_a_template_are_clearly_different_pictures(templates: list[list[NDArray[np.uint8]]]) -> None:
    of_templates = [differences(pictures) for pictures in templates]
    assert min(map(min, of_templates)) > LEAST_DIFFERENCE
    assert np.median(of_templates) > TYPICAL_DIFFERENCE


def test_contents_of_a_template_share_a_size(templates: list[list[NDArray[np.uint8]]]) -> None:
    assert all(len({picture.shape for picture in pictures}) == 1 for pictures in templates)


def test_sizes_are_in_range_and_no_picture_is_blank(templates: list[list[NDArray[np.uint8]]]) -> None:
    for picture in (picture for pictures in templates for picture in pictures):
        assert picture.dtype == np.uint8
        assert 256 <= min(picture.shape[:2]) <= 384
        assert max(picture.shape[:2]) <= 2.2 * min(picture.shape[:2])
        assert picture.std(axis=(0, 1)).mean() > LEAST_DEVIATION


def test_the_manifest_names_every_picture_with_its_template(tmp_path: Path) -> None:
    write_synthetic(tmp_path, 1, 2)
    with (tmp_path / "manifest.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * len(KINDS)
    assert len({row["template"] for row in rows}) == len(KINDS)
    assert all(Image.open(tmp_path / row["file"]).format == "WEBP" for row in rows)
