"""Where two pictures agree: the part of each that the other shows, its placement, and the differences.

Two sketches → alignment → **overlap** → `neardup compare`, `POST /v1/pairs`, explanations, explorer, evaluation report.
Places are fractions of a picture's width and height, from its upper left corner. They do not depend on the size in
pixels, which stored vectors do not tell.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from neardup_platform.structure.affines import Affine, after, determinant, inverse
from neardup_platform.structure.agreement import LEAST_SIDE, Prepared
from neardup_platform.structure.alignment import Alignment, align
from neardup_platform.structure.block_kernels import DIFFERING, TILE_CELLS, agreement_of_tiles
from neardup_platform.structure.sketch import Sketch

Point = tuple[float, float]
# Upper left, upper right, lower right, lower left corner of what is outlined, wherever they come to lie.
Outline = tuple[Point, Point, Point, Point]

# Shares are measured at so many points a side.
_POINTS = 128


class Relation(StrEnum):
    """How the extents of two pictures, a and b, are related."""

    EQUAL_EXTENT = "equal extent"
    A_INSIDE_B = "a inside b"
    B_INSIDE_A = "b inside a"
    OVERLAP = "overlap"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Difference:
    """A rectangle of one picture in which the other shows something else.

    Attributes:
        in_a, in_b: its outline in each picture.
        agreement: correlation of luma there, −1…1; below 0.5.
    """

    in_a: Outline
    in_b: Outline
    agreement: float


@dataclass(frozen=True, slots=True)
class Overlap:
    """How two pictures, a and b, lie over each other.

    Attributes:
        relation: `none` where they do not agree; then the other fields describe the best placement of chance.
        agreement: correlation of local contrast where they overlap, 0…1.
        a_covered, b_covered: share of each picture that the other shows, 0…1.
        a_in_b, b_in_a: outline of each picture in the other; points beyond 0…1 lie outside of it.
        mirrored: whether a has to be mirrored, left to right, before it is turned.
        turned: quarter turns clockwise that lay a over b, as degrees: 0, 90, 180 or 270.
        rotation: degrees clockwise beyond them, −45…45.
        scale: side of a, laid over b, as a multiple of the side of b; the geometric mean of both sides.
        differing: share of what was compared that differs, 0…1.
        differences: rectangles that differ, largest first, at most `MOST_DIFFERENCES`.
        a_aspect, b_aspect: width over height of each picture, to about 6%; 1/8…8.
    """

    relation: Relation
    agreement: float
    a_covered: float
    b_covered: float
    a_in_b: Outline
    b_in_a: Outline
    mirrored: bool
    turned: int
    rotation: float
    scale: float
    differing: float
    differences: tuple[Difference, ...]
    a_aspect: float
    b_aspect: float


MOST_DIFFERENCES = 64
# Significance of an alignment from which two pictures agree at all: 99% of copies of photographs reach it, and 94% of
# copies of documents, codes and logos; of other pairs 0.4% and 4% of the same kind.
_LEAST_SIGNIFICANCE = 0.4
# From this share on a picture is shown whole: alignment is exact to about a cell of 64.
_WHOLE = 0.95


def overlap_of(a: Sketch, b: Sketch, *, from_b: bool = False) -> Overlap | None:
    """Returns where two pictures agree; None where a picture has no sketch, or there is no texture to compare.

    Args:
        a, b: the pictures.
        from_b: whether the alignment begins from b, which may round differently.
    """
    if min(*a.grey.shape, *b.grey.shape) < LEAST_SIDE:
        return None
    one, other = Prepared.of(a), Prepared.of(b)
    if from_b:
        found = align(other.view, one.view)
        return describe(one, other, found._replace(swapped=not found.swapped))
    return describe(one, other, align(one.view, other.view))


def describe(a: Prepared, b: Prepared, found: Alignment) -> Overlap | None:
    """Returns what an alignment of two pictures says; None where there is no texture to compare."""
    frame, over = (b, a) if found.swapped else (a, b)
    tiles = agreement_of_tiles(frame.view.grey, found.other, found.covered)
    judged = np.isfinite(tiles)
    if not judged.any():
        return None
    to_over = between_fractions(found, frame, over)
    to_frame = inverse(to_over)
    a_to_b, b_to_a = (to_frame, to_over) if found.swapped else (to_over, to_frame)
    a_covered, b_covered = _covered(a_to_b), _covered(b_to_a)
    mirrored, degrees = _orientation(a_to_b, a, b)
    turned = round(degrees / 90) % 4 * 90
    agrees = found.significance >= _LEAST_SIGNIFICANCE
    return Overlap(
        _relation(a_covered, b_covered) if agrees else Relation.NONE,
        float(found.fine),
        a_covered,
        b_covered,
        outline(a_to_b),
        outline(b_to_a),
        mirrored,
        turned,
        (degrees - turned + 180) % 360 - 180,
        float(abs(determinant(a_to_b)) ** 0.5),
        float((tiles[judged] < DIFFERING).mean()),
        tuple(_differences(tiles, frame, to_over, swapped=found.swapped)),
        _aspect(a),
        _aspect(b),
    )


def between_fractions(found: Alignment, frame: Prepared, over: Prepared) -> Affine:
    """Returns the transform of an alignment between fractions of the frame and of the other picture."""
    (height, width), (over_height, over_width) = frame.view.grey.shape, over.view.grey.shape
    to_cells = np.array([[width, 0, -0.5], [0, height, -0.5]])
    to_fractions = np.array([[1 / over_width, 0, 0.5 / over_width], [0, 1 / over_height, 0.5 / over_height]])
    placed: Affine = after(to_fractions, after(found.affine, to_cells))
    return placed


def outline(affine: Affine, left: float = 0, top: float = 0, right: float = 1, bottom: float = 1) -> Outline:
    """Returns where the corners of a rectangle come to lie; by default, those of the whole picture."""
    corners = np.array([[left, top, 1], [right, top, 1], [right, bottom, 1], [left, bottom, 1]])
    first, second, third, fourth = ((float(x), float(y)) for x, y in corners @ affine.T)
    return first, second, third, fourth


def _covered(affine: Affine) -> float:
    """The share of a picture that lies within the other, given the transform to it."""
    middles = (np.arange(_POINTS) + 0.5) / _POINTS
    x, y = np.meshgrid(middles, middles)
    at = affine[:, :2] @ np.stack([x.ravel(), y.ravel()]) + affine[:, 2:]
    return float(((at >= 0) & (at <= 1)).all(axis=0).mean())


def _orientation(affine: Affine, a: Prepared, b: Prepared) -> tuple[bool, float]:
    """Whether a is mirrored, and the degrees clockwise, −180…180, of the rotation nearest to its placement."""
    (a_height, a_width), (b_height, b_width) = a.view.grey.shape, b.view.grey.shape
    p, q = affine[0, 0] * b_width / a_width, affine[0, 1] * b_width / a_height
    r, s = affine[1, 0] * b_height / a_width, affine[1, 1] * b_height / a_height
    mirrored = bool(p * s < q * r)
    if mirrored:
        p, r = -p, -r
    return mirrored, float(np.degrees(np.arctan2(r - q, p + s)))


def _relation(a_covered: float, b_covered: float) -> Relation:
    whole = {
        (True, True): Relation.EQUAL_EXTENT,
        (True, False): Relation.A_INSIDE_B,
        (False, True): Relation.B_INSIDE_A,
    }
    return whole.get((a_covered >= _WHOLE, b_covered >= _WHOLE), Relation.OVERLAP)


def _differences(tiles: NDArray[np.float64], frame: Prepared, to_over: Affine, *, swapped: bool) -> list[Difference]:
    """The rectangles that differ, largest first; the affine leads from the frame, which is b if swapped."""
    height, width = frame.view.grey.shape
    still = np.eye(2, 3)
    to_a, to_b = (to_over, still) if swapped else (still, to_over)
    found = []
    rectangles = sorted(_rectangles(tiles < DIFFERING), key=lambda r: -(r[1] - r[0]) * (r[3] - r[2]))
    for top, bottom, left, right in rectangles[:MOST_DIFFERENCES]:
        edges = [each * TILE_CELLS / size for each, size in ((left, width), (top, height), (right, width))]
        edges = [min(1.0, each) for each in (*edges, bottom * TILE_CELLS / height)]
        agreement = float(np.mean(tiles[top:bottom, left:right]))
        found.append(Difference(outline(to_a, *edges), outline(to_b, *edges), agreement))
    return found


def _rectangles(marked: NDArray[np.bool_]) -> Iterator[tuple[int, int, int, int]]:
    """Splits marked tiles into rectangles: top, bottom, left, right of each, ends excluded."""
    left_over = marked.copy()
    while left_over.any():
        top, left = (int(each) for each in np.argwhere(left_over)[0])
        row = left_over[top, left:]
        right = left + (len(row) if row.all() else int(np.argmin(row)))
        bottom = top + 1
        while bottom < len(marked) and left_over[bottom, left:right].all():
            bottom += 1
        left_over[top:bottom, left:right] = False
        yield top, bottom, left, right


def _aspect(picture: Prepared) -> float:
    height, width = picture.view.grey.shape
    return float(width / height)
