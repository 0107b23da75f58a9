"""Altered copies are repeatable, moderate and readable."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from samples.alterations import CROP_KEEPS_RATIO, alterations, make_copies

NAMES = sorted(alterations())
PICTURES = Path(__file__).parents[2] / "samples" / "pictures"
SEEDS = range(12)


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return Image.open(PICTURES / "colosseum.jpg").convert("RGB")


def decoded(content: bytes) -> Image.Image:
    return ImageOps.exif_transpose(Image.open(io.BytesIO(content)))


def correlation(one: Image.Image, other: Image.Image) -> float:
    """Of the luminance at 32 × 32."""
    flat = [
        np.asarray(ImageOps.grayscale(each).resize((32, 32)), np.float64).ravel() for each in (one, other)
    ]
    return float(np.corrcoef(*flat)[0, 1])


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_bytes(name: str, picture: Image.Image) -> None:
    assert alterations(7)[name](picture) == alterations(7)[name](picture)


@pytest.mark.parametrize("name", NAMES)
def test_another_seed_gives_other_bytes(name: str, picture: Image.Image) -> None:
    assert len({alterations(seed)[name](picture)[0] for seed in SEEDS}) > 1


@pytest.mark.parametrize("name", NAMES)
def test_the_picture_given_is_left_as_it_was(name: str, picture: Image.Image) -> None:
    before = picture.tobytes()
    alterations(1)[name](picture)
    assert picture.tobytes() == before


@pytest.mark.parametrize("name", NAMES)
def test_the_extension_names_the_format(name: str, picture: Image.Image) -> None:
    content, extension = alterations(1)[name](picture)
    assert Image.open(io.BytesIO(content)).format == {"jpg": "JPEG", "webp": "WEBP"}[extension]


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"crop"}))
def test_an_alteration_leaves_the_picture_recognisable(name: str, picture: Image.Image) -> None:
    for seed in SEEDS:
        content, _ = alterations(seed)[name](picture)
        assert correlation(decoded(content), picture) > 0.75


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK"])
@pytest.mark.parametrize("name", NAMES)
def test_pictures_of_other_modes_are_taken(name: str, mode: str, picture: Image.Image) -> None:
    content, _ = alterations(1)[name](picture.convert(mode))
    decoded(content).load()


@pytest.mark.parametrize("name", NAMES)
def test_a_tiny_picture_is_taken(name: str) -> None:
    content, _ = alterations(1)[name](Image.new("RGB", (48, 32), "teal"))
    decoded(content).load()


def test_a_crop_keeps_most_of_the_area(picture: Image.Image) -> None:
    for seed in range(200):
        kept = decoded(alterations(seed)["crop"](picture)[0])
        ratio = kept.width * kept.height / (picture.width * picture.height)
        assert CROP_KEEPS_RATIO <= ratio < 0.95


def test_a_rotated_copy_is_stored_sideways_and_shown_upright(picture: Image.Image) -> None:
    content, _ = alterations(1)["exif-rotated"](picture)
    assert Image.open(io.BytesIO(content)).size == picture.size[::-1]
    assert correlation(decoded(content), picture) > 0.99


def test_copies_are_named_after_their_original_and_alteration(tmp_path: Path) -> None:
    for copy in make_copies(PICTURES, tmp_path, seed=1):
        assert copy.copy_path.is_file()
        assert copy.image_id.startswith(f"{Path(copy.original_id).stem}--{copy.alteration}.")


def test_copies_are_the_same_again_and_rotate_evenly_through_the_alterations(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    first, second = (make_copies(PICTURES, folder, seed=1) for folder in folders)
    assert [copy.copy_path.read_bytes() for copy in first] == [copy.copy_path.read_bytes() for copy in second]
    assert len({copy.image_id for copy in first}) == len(first) == 4 * len(list(PICTURES.iterdir()))
    counts = [sum(copy.alteration == name for copy in first) for name in NAMES]
    assert max(counts) - min(counts) <= 1
