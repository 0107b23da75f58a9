"""The sample pictures are small, attributed and freely licensed."""

from pathlib import Path

import pytest
from PIL import Image

SAMPLES = Path(__file__).parents[2] / "samples"
PICTURES = sorted((SAMPLES / "pictures").iterdir())
FREE_LICENCES = {"Public domain", "CC0 1.0", "CC BY 2.0", "CC BY 4.0", "CC BY-SA 3.0", "CC BY-SA 4.0"}


def attribution_rows() -> list[list[str]]:
    lines = (SAMPLES / "ATTRIBUTION.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return rows[2:]


def test_every_picture_is_attributed_once_and_nothing_else_is() -> None:
    assert [row[0] for row in attribution_rows()] == [path.name for path in PICTURES]


def test_every_picture_names_author_package_and_a_licence_that_allows_redistribution() -> None:
    for _file, title, author, licence, package in attribution_rows():
        assert title
        assert author
        assert package
        assert licence in FREE_LICENCES


def test_the_folder_has_the_documented_size() -> None:
    assert 40 <= len(PICTURES) <= 80
    assert sum(path.stat().st_size for path in PICTURES) < 6_000_000


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_pictures_are_small_colour_jpegs_without_metadata(path: Path) -> None:
    assert "--" not in path.stem  # the demo separates original and alteration by it
    with Image.open(path) as picture:
        assert (picture.format, picture.mode) == ("JPEG", "RGB")
        assert max(picture.size) <= 640
        assert not picture.getexif()
