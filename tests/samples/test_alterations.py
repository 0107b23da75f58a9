"""Altered copies are repeatable, moderate and readable."""

import io
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from samples.alterations import CROP_KEEPS_RATIO, alterations, make_copies

NAMES = sorted(alterations())
PICTURES = Path(__file__).parents[2] / "samples" / "pictures"
SEEDS = range(8)


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return Image.open(PICTURES / "colosseum.jpg").convert("RGB").reduce(2)


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """A folder with five of the pictures: twenty copies, two of each alteration."""
    folder = tmp_path / "few"
    folder.mkdir()
    for path in sorted(PICTURES.iterdir())[:5]:
        shutil.copy(path, folder)
    return folder


def decoded(content: bytes) -> Image.Image:
    return ImageOps.exif_transpose(Image.open(io.BytesIO(content)))


def correlation(one: Image.Image, other: Image.Image) -> float:
    """Of the luminance of the middle, where neither banner nor border reaches, at 16 × 16."""
    middles = []
    for picture in (one, other):
        width, height = picture.size
        middle = picture.crop((width // 5, height // 5, width * 4 // 5, height * 4 // 5))
        middles.append(np.asarray(ImageOps.grayscale(middle).resize((16, 16)), np.float64).ravel())
    return float(np.corrcoef(*middles)[0, 1])


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_bytes(name: str, picture: Image.Image) -> None:
    assert alterations(7)[name](picture) == alterations(7)[name](picture)


@pytest.mark.parametrize("name", NAMES)
def test_another_seed_gives_other_bytes(name: str, picture: Image.Image) -> None:
    assert len({alterations(seed)[name](picture)[0] for seed in SEEDS}) > 1


@pytest.mark.parametrize("name", NAMES)
def test_the_given_picture_is_not_changed(name: str, picture: Image.Image) -> None:
    before = picture.tobytes()
    alterations(1)[name](picture)
    assert picture.tobytes() == before


@pytest.mark.parametrize("name", NAMES)
def test_the_extension_matches_the_format(name: str, picture: Image.Image) -> None:
    content, extension = alterations(1)[name](picture)
    assert Image.open(io.BytesIO(content)).format == {"jpg": "JPEG", "webp": "WEBP"}[extension]


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"crop"}))
def test_an_alteration_leaves_the_picture_recognisable(name: str, picture: Image.Image) -> None:
    for seed in SEEDS:
        content, _ = alterations(seed)[name](picture)
        assert correlation(decoded(content), picture) > 0.75


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK"])
@pytest.mark.parametrize("name", NAMES)
def test_pictures_of_other_modes_are_accepted(name: str, mode: str, picture: Image.Image) -> None:
    content, _ = alterations(1)[name](picture.convert(mode))
    decoded(content).load()


@pytest.mark.parametrize("name", NAMES)
def test_a_tiny_picture_is_accepted(name: str) -> None:
    content, _ = alterations(1)[name](Image.new("RGB", (48, 32), "teal"))
    decoded(content).load()


def test_a_crop_keeps_most_of_the_area(picture: Image.Image) -> None:
    for seed in range(60):
        kept = decoded(alterations(seed)["crop"](picture)[0])
        ratio = kept.width * kept.height / (picture.width * picture.height)
        assert CROP_KEEPS_RATIO <= ratio < 0.95


def test_a_rotated_copy_is_stored_sideways_and_shown_upright(picture: Image.Image) -> None:
    content, _ = alterations(1)["exif-rotated"](picture)
    assert Image.open(io.BytesIO(content)).size == picture.size[::-1]
    assert correlation(decoded(content), picture) > 0.99


def test_copies_are_named_after_their_original_and_alteration(few: Path, tmp_path: Path) -> None:
    for copy in make_copies(few, tmp_path, seed=1):
        assert copy.copy_path.is_file()
        assert copy.image_id.startswith(f"{Path(copy.original_id).stem}--{copy.alteration}.")


def test_copies_are_reproducible(few: Path, tmp_path: Path) -> None:
    first, second = (
        {copy.image_id: copy.copy_path.read_bytes() for copy in make_copies(few, tmp_path, seed=1)} for _ in range(2)
    )
    assert first == second


def test_copies_rotate_evenly_through_the_alterations(few: Path, tmp_path: Path) -> None:
    copies = make_copies(few, tmp_path, seed=1)
    assert len({copy.image_id for copy in copies}) == len(copies)
    assert Counter(copy.alteration for copy in copies) == dict.fromkeys(NAMES, 2)
