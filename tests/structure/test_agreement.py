"""Claims about alignment: copies are found where they lie, and what differs is told from what agrees."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from neardup_platform.structure.agreement import COUNT, NAMES, Prepared, compare
from neardup_platform.structure.alignment import align
from neardup_platform.structure.sketch import Sketch
from tests.structure.pictures import SAMPLES, picture, prepared

NUMBERS = range(0, len(SAMPLES), 9)


def named(first: Image.Image, second: Image.Image) -> dict[str, float]:
    return dict(zip(NAMES, compare(prepared(first), prepared(second)).tolist(), strict=True))


def crop(image: Image.Image) -> Image.Image:
    width, height = image.size
    return image.crop((width // 8, height // 10, width - width // 5, height - height // 7))


def overlaid(image: Image.Image) -> Image.Image:
    copy = image.copy()
    size = copy.width // 4, copy.height // 6
    ImageDraw.Draw(copy).rectangle((20, 20, 20 + size[0], 20 + size[1]), fill="yellow")
    return copy


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "equal": lambda image: image.copy(),
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "cropped": crop,
    "mirrored": ImageOps.mirror,
    "a quarter turn": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "upside down": lambda image: image.transpose(Image.Transpose.ROTATE_180),
    "three degrees": lambda image: image.rotate(3, Image.Resampling.BICUBIC),
    "framed": lambda image: ImageOps.expand(image, image.width // 12, "black"),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "overlaid": overlaid,
}


@pytest.mark.parametrize("copy", COPIES)
def test_copies_agree_where_they_overlap(copy: str) -> None:
    found = [named(picture(number), COPIES[copy](picture(number))) for number in NUMBERS]
    assert np.median([each["fine_correlation"] for each in found]) > 0.75
    assert min(each["fine_correlation"] for each in found) > 0.45
    assert max(each["contradicting"] for each in found) < 0.25


def test_different_pictures_do_not() -> None:
    found = [named(picture(number), picture(number + 1)) for number in NUMBERS]
    assert max(each["fine_correlation"] for each in found) < 0.7
    assert np.median([each["contradicting"] for each in found]) > 0.3


@pytest.mark.parametrize("number", NUMBERS)
def test_a_crop_is_found_at_its_place(number: int) -> None:
    whole = picture(number)
    left, top, right, bottom = whole.width // 6, whole.height // 5, whole.width - 10, whole.height - 30
    a, b = prepared(whole), prepared(whole.crop((left, top, right, bottom)))
    found = align(a.view, b.view)
    assert found.swapped is False
    # Corners of the crop, in cells of the whole picture, land in the corners of the crop's sketch.
    height, width = a.view.grey.shape
    corners = np.array([[left, top], [right, bottom]]) * [width / whole.width, height / whole.height] - 0.5
    landed = corners @ found.affine[:, :2].T + found.affine[:, 2]
    other_height, other_width = b.view.grey.shape
    assert np.abs(landed - [[-0.5, -0.5], [other_width - 0.5, other_height - 0.5]]).max() < 1.5


def test_the_placement_is_named() -> None:
    whole = picture(4)
    assert named(whole, ImageOps.mirror(whole))["mirrored"] == 1
    assert named(whole, whole.transpose(Image.Transpose.ROTATE_90))["turned"] == 1
    upright = named(whole, whole.rotate(3, Image.Resampling.BICUBIC))
    assert (upright["mirrored"], upright["turned"]) == (0, 0)
    assert upright["rotation"] == pytest.approx(3.0, abs=0.5)
    assert np.exp(named(whole, crop(whole))["scale"]) == pytest.approx(1.40, abs=0.06)


def test_turned_copies_are_found_only_where_turns_are_tried() -> None:
    whole = picture(4)
    for copy in (whole.transpose(Image.Transpose.ROTATE_90), whole.transpose(Image.Transpose.ROTATE_180)):
        tried, upright_only = (compare(prepared(whole), prepared(copy), turned=turned)[1] for turned in (True, False))
        assert tried > 0.9
        assert upright_only < 0.6
    upright = prepared(whole), prepared(ImageOps.mirror(crop(whole)))
    assert np.array_equal(compare(*upright, turned=False), compare(*upright))


def page(words: int) -> Image.Image:
    """A form: the same lines and labels, and other answers for another seed."""
    image, rng = Image.new("RGB", (400, 400), "white"), np.random.default_rng(words)
    draw = ImageDraw.Draw(image)
    for row in range(10):
        draw.line((20, 40 * row + 35, 380, 40 * row + 35), fill="black", width=2)
        draw.rectangle((20, 40 * row + 10, 80, 40 * row + 28), fill="grey")
        for at in range(120, 380, 12):
            if rng.random() < 0.5:
                draw.rectangle((at, 40 * row + 8, at + 8, 40 * row + 28), fill="black")
    return image


def test_replaced_content_is_told_from_added_content() -> None:
    other_answers, with_overlay = named(page(1), page(2)), named(page(1), overlaid(page(1)))
    assert other_answers["replaced_blocks"] > with_overlay["replaced_blocks"] + 1
    assert other_answers["contradicting"] > 2 * with_overlay["contradicting"]


def test_exchanging_the_pictures_changes_little() -> None:
    for number in NUMBERS:
        one, other = picture(number), crop(picture(number))
        there, back = named(one, other), named(other, one)
        for name in ("fine_correlation", "covered_more", "covered_less", "differing", "scale"):
            assert there[name] == pytest.approx(back[name], abs=0.06), name


def test_equal_pairs_have_equal_features() -> None:
    one, other = picture(3), crop(picture(3))
    assert np.array_equal(compare(prepared(one), prepared(other)), compare(prepared(one), prepared(other)))


@pytest.mark.parametrize("size", [(400, 400), (900, 60), (60, 900), (1, 1), (3, 2_000)])
@pytest.mark.parametrize("fill", ["white", "black", "noise"])
def test_plain_and_odd_pictures_give_finite_features(size: tuple[int, int], fill: str) -> None:
    if fill == "noise":
        pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
        image = Image.fromarray(pixels)
    else:
        image = Image.new("RGB", size, fill)
    for other in (image, image.rotate(90, expand=True), picture(0), Image.new("RGB", (50, 40), (12, 200, 30))):
        found = compare(prepared(image), prepared(other))
        assert found.shape == (COUNT,)
        assert np.isfinite(found).all()


def test_colours_tell_plain_pictures_apart() -> None:
    green, nearly, other = (Image.new("RGB", (90, 90), (12, g, 30)) for g in (200, 201, 206))
    assert np.expm1(named(green, nearly)["colour_most"]) == pytest.approx(1.0, abs=0.01)
    assert np.expm1(named(green, other)["colour_most"]) == pytest.approx(6.0, abs=0.01)
    assert named(green, green)["texture_more"] == 0


def test_a_sketch_too_small_to_align_is_refused() -> None:
    with pytest.raises(ValueError, match="8 along each side"):
        Prepared.of(Sketch(np.zeros((0, 0), np.float32), np.zeros((4, 4, 3), np.float32)))
