"""Claims about where two pictures agree: outlines, shares, orientation and differences, against copies made here."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw

from neardup_platform.images.picture_sketch import sketch_of
from neardup_platform.structure.overlap import MOST_DIFFERENCES, Overlap, Relation, overlap_of
from neardup_platform.structure.sketch import Sketch, decode_sketch
from tests.structure.pictures import SAMPLES, picture

FLIP, TURN = Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_270
WHOLE = [(0, 0), (1, 0), (1, 1), (0, 1)]
# Alignment is exact to about a cell of 64.
CLOSE = 0.025


def sketched(image: Image.Image) -> Sketch:
    return decode_sketch(sketch_of(np.asarray(image.convert("RGB"))))


def overlap(a: Image.Image, b: Image.Image) -> Overlap:
    found = overlap_of(sketched(a), sketched(b))
    assert found is not None
    return found


def cropped(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    width, height = image.size
    return image.crop((round(left * width), round(top * height), round(right * width), round(bottom * height)))


@pytest.mark.parametrize("number", range(0, len(SAMPLES), 7))
def test_a_crop_lies_inside_the_whole_where_it_was_taken(number: int) -> None:
    whole = picture(number)
    found = overlap(cropped(whole, 0.25, 0.2, 0.9, 1), whole)
    assert found.relation is Relation.A_INSIDE_B
    assert found.a_in_b == pytest.approx(np.array([(0.25, 0.2), (0.9, 0.2), (0.9, 1), (0.25, 1)]), abs=CLOSE)
    assert found.a_covered > 0.97
    assert found.b_covered == pytest.approx(0.65 * 0.8, abs=CLOSE)
    assert found.scale == pytest.approx((0.65 * 0.8) ** 0.5, abs=CLOSE)
    assert not found.mirrored
    assert found.turned == 0
    assert abs(found.rotation) < 1.5


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_mirroring_and_quarter_turns_are_named_and_corners_follow_the_picture(turns: int, *, mirrored: bool) -> None:
    whole = picture(0)
    copy = whole.transpose(FLIP) if mirrored else whole
    corners = [WHOLE[corner] for corner in ([1, 0, 3, 2] if mirrored else [0, 1, 2, 3])]
    for _ in range(turns):
        copy = copy.transpose(TURN)
        corners = [(1 - y, x) for x, y in corners]
    found = overlap(whole, copy)
    assert (found.mirrored, found.turned) == (mirrored, 90 * turns)
    assert found.relation is Relation.EQUAL_EXTENT
    assert found.a_in_b == pytest.approx(np.array(corners), abs=CLOSE)
    assert found.a_aspect == pytest.approx(whole.width / whole.height, rel=0.07)
    assert found.b_aspect == pytest.approx(copy.width / copy.height, rel=0.07)


@pytest.mark.parametrize("degrees", [-5, 4])
def test_a_rotation_is_measured_clockwise(degrees: int) -> None:
    whole = picture(0)
    found = overlap(whole, whole.rotate(-degrees, Image.Resampling.BILINEAR))
    assert found.rotation == pytest.approx(degrees, abs=1)


@pytest.mark.parametrize(
    "copy",
    [
        lambda image: cropped(image, 0.1, 0.3, 0.8, 0.9),
        lambda image: image.transpose(FLIP).transpose(TURN),
        lambda image: cropped(image, 0, 0, 0.8, 1).rotate(5),
    ],
)
def test_exchanging_the_pictures_exchanges_the_sides(copy: Callable[[Image.Image], Image.Image]) -> None:
    a, b = sketched(picture(2)), sketched(copy(picture(2)))
    one, other = overlap_of(a, b), overlap_of(b, a, from_b=True)
    assert one is not None
    assert other is not None
    exchanged = {Relation.A_INSIDE_B: Relation.B_INSIDE_A, Relation.B_INSIDE_A: Relation.A_INSIDE_B}
    assert other.relation is exchanged.get(one.relation, one.relation)
    assert (other.agreement, other.a_covered, other.b_covered) == (one.agreement, one.b_covered, one.a_covered)
    assert (other.a_in_b, other.b_in_a, other.differing) == (one.b_in_a, one.a_in_b, one.differing)
    assert [(each.in_b, each.in_a) for each in other.differences] == [
        (each.in_a, each.in_b) for each in one.differences
    ]
    assert other.scale == pytest.approx(1 / one.scale)
    degrees, back = one.turned + one.rotation, other.turned + other.rotation
    assert (back - (degrees if one.mirrored else -degrees) + 180) % 360 - 180 == pytest.approx(0, abs=0.5)


def test_two_crops_overlap() -> None:
    whole = picture(0)
    found = overlap(cropped(whole, 0, 0, 0.7, 1), cropped(whole, 0.3, 0, 1, 1))
    assert found.relation is Relation.OVERLAP
    assert (found.a_covered, found.b_covered) == pytest.approx((4 / 7, 4 / 7), abs=CLOSE)


def test_a_patch_differs_where_it_was_put_and_little_else() -> None:
    whole = picture(0)
    copy = whole.copy()
    width, height = copy.size
    box = (round(0.5 * width), round(0.6 * height), round(0.75 * width), round(0.9 * height))
    patch = picture(3).resize((box[2] - box[0], box[3] - box[1]))
    copy.paste(patch, box[:2])
    found = overlap(whole, copy)
    assert found.relation is Relation.EQUAL_EXTENT
    marked = Image.new("L", (100, 100))
    for difference in found.differences:
        ImageDraw.Draw(marked).polygon([(100 * x, 100 * y) for x, y in difference.in_b], fill=1)
        assert difference.in_a == pytest.approx(np.array(difference.in_b), abs=CLOSE)
        assert -1 <= difference.agreement < 0.5
    cells = np.asarray(marked)
    assert cells[62:88, 52:73].mean() > 0.6
    assert cells.mean() < 0.2
    assert 0.04 < found.differing < 0.2


def test_a_picture_agrees_with_itself_everywhere() -> None:
    found = overlap(picture(1), picture(1))
    assert found.relation is Relation.EQUAL_EXTENT
    assert found.agreement == pytest.approx(1, abs=0.01)
    assert (found.differing, found.differences) == (0, ())


@pytest.mark.parametrize("number", range(1, 12))
def test_different_pictures_have_no_relation_and_bounded_differences(number: int) -> None:
    found = overlap_of(sketched(picture(0)), sketched(picture(number)))
    assert found is not None
    assert found.relation is Relation.NONE
    assert len(found.differences) <= MOST_DIFFERENCES


def test_noise_gives_no_more_differences_than_are_promised_largest_first() -> None:
    rng = np.random.default_rng(3)
    sketches = [
        Sketch(rng.uniform(0, 255, (64, 64)).astype(np.float32), np.zeros((4, 4, 3), np.float32)) for _ in range(2)
    ]
    found = overlap_of(*sketches)
    assert found is not None
    assert len(found.differences) <= MOST_DIFFERENCES
    areas = [
        abs(each.in_a[0][0] - each.in_a[2][0]) * abs(each.in_a[0][1] - each.in_a[2][1]) for each in found.differences
    ]
    assert areas == pytest.approx(sorted(areas, reverse=True))


@pytest.mark.parametrize("colour", ["white", "black", "#808080"])
def test_a_plain_picture_has_nothing_to_lay_over_another(colour: str) -> None:
    plain = Image.new("RGB", (300, 200), colour)
    assert overlap_of(sketched(plain), sketched(plain)) is None


def test_a_sketch_that_is_absent_or_too_narrow_cannot_be_aligned() -> None:
    whole = sketched(picture(0))
    none = decode_sketch(np.zeros(818, np.float32))
    narrow = Sketch(whole.grey[:, :4].copy(), whole.colours)
    for other in (none, narrow):
        assert overlap_of(whole, other) is None
        assert overlap_of(other, whole) is None
