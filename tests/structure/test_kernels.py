"""Claims about the compiled kernels: each computes what plain NumPy or SciPy computes from the definition."""

from collections.abc import Iterator

import numpy as np
import pytest
from scipy import ndimage

from neardup_platform.structure.affines import after, between_sizes, inverse
from neardup_platform.structure.filter_kernels import blurred, local_contrast, resized
from neardup_platform.structure.layering_kernels import eroded, laid_over
from neardup_platform.structure.placement_kernels import judge_placement
from neardup_platform.structure.refinement_kernels import _normal_equations, _solve, correlation, refine
from neardup_platform.structure.search_kernels import LEVELS, placement, pyramid, search, undo_orientation
from neardup_platform.structure.shift_kernels import (
    correlations,
    energies,
    least_overlap,
    most_significant,
    oriented,
)

SHAPES = [((20, 13), (20, 13)), ((20, 13), (9, 6)), ((7, 10), (21, 20)), ((5, 30), (12, 16)), ((30, 5), (10, 20))]
ORIENTATIONS = np.arange(8)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def smooth(*shape: int, seed: int = 0) -> np.ndarray:
    return (3 * ndimage.gaussian_filter(noise(*shape, seed=seed), 1.5)).astype(np.float32)


def shifts(a: np.ndarray, b: np.ndarray, overlap: tuple[int, int]) -> Iterator[tuple[tuple[int, int], tuple, tuple]]:
    """Each place in an array by shift, and the slices of both pictures that overlap there."""
    (rows, columns), (height_a, width_a), (height_b, width_b) = overlap, a.shape, b.shape
    for down in range(rows - height_b, height_a - rows + 1):
        for right in range(columns - width_b, width_a - columns + 1):
            top, bottom = max(down, 0), min(down + height_b, height_a)
            left, end = max(right, 0), min(right + width_b, width_a)
            of_b = (slice(top - down, bottom - down), slice(left - right, end - right))
            yield (down + height_b - rows, right + width_b - columns), (slice(top, bottom), slice(left, end)), of_b


@pytest.mark.parametrize(("shape_a", "shape_b"), SHAPES)
def test_shifts_are_compared_as_defined(shape_a: tuple[int, int], shape_b: tuple[int, int]) -> None:
    a, b = noise(*shape_a), noise(*shape_b, seed=1)
    overlap = least_overlap(shape_a, shape_b)
    products, energy_a = correlations(a, b, overlap), energies(a, shape_b, overlap)
    energy_b = oriented(energies(b, shape_a, overlap), 3)
    expected = {place: (a[of_a], b[of_b]) for place, of_a, of_b in shifts(a, b, overlap)}
    assert products.shape == energy_a.shape == energy_b.shape
    assert products.size == len(expected)
    scores = {}
    for place, (one, other) in expected.items():
        assert products[place] == pytest.approx((one * other).sum(), abs=1e-3)
        assert energy_a[place] == pytest.approx((one**2).sum(), abs=1e-3)
        assert energy_b[place] == pytest.approx((other**2).sum(), abs=1e-3)
        if one.size >= 0.3 * min(a.size, b.size):
            floor = 1e-3 * one.size + 1
            energy = max((one**2).sum(), floor) * max((other**2).sum(), floor)
            scores[place] = (one * other).sum() / np.sqrt(energy) * np.sqrt(one.size / 1024)
    significance, *place = most_significant(products, energy_a, energy_b, shape_a, shape_b)
    assert tuple(place) == max(scores, key=scores.__getitem__)
    assert significance == pytest.approx(max(scores.values()), rel=1e-4)


def test_no_overlap_is_left_out_that_is_large_enough() -> None:
    for shape_a, shape_b in SHAPES:
        a, b = noise(*shape_a), noise(*shape_b)
        least = 0.3 * min(a.size, b.size)
        large = [a[of_a].size >= least for _, of_a, _ in shifts(a, b, (1, 1))]
        kept = [a[of_a].size >= least for _, of_a, _ in shifts(a, b, least_overlap(shape_a, shape_b))]
        assert sum(kept) == sum(large) > 0
    assert least_overlap((40, 5), (5, 40)) == (0, 0)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_energies_of_a_mirrored_picture_are_the_mirrored_energies(orientation: int) -> None:
    a, b = noise(14, 14), noise(9, 9, seed=1)
    overlap = least_overlap(a.shape, b.shape)
    upright = energies(oriented(b, orientation & 4), a.shape, overlap)
    turned = energies(oriented(b, orientation), a.shape, overlap)
    assert np.allclose(oriented(upright, orientation & 3), turned, atol=1e-4)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_orientations_are_undone_cell_by_cell(orientation: int) -> None:
    grid = noise(5, 8)
    turned, back = oriented(grid, orientation), undo_orientation(orientation, *grid.shape)
    for (y, x), value in np.ndenumerate(turned):
        column, row = back @ [x, y, 1.0]
        assert grid[int(row), int(column)] == value
    assert len({oriented(grid, each).tobytes() for each in ORIENTATIONS}) == len(ORIENTATIONS)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_search_finds_a_turned_crop(orientation: int) -> None:
    grey = 128 + 40 * smooth(64, 56, seed=2)
    crop = oriented(grey, orientation)[8:56, 6:50].copy()
    a, b = pyramid(grey, 22, 19, 1.5), pyramid(crop, 22, 20, 1.5)
    found = search(*a, *b, ORIENTATIONS)
    assert len(found) == len(ORIENTATIONS) * (2 * LEVELS - 1)
    best = found[found[:, 0].argmax()]
    affine = placement(best, a[1], grey.shape, b[1], crop.shape)
    # The middle of the crop comes from where it was cut out.
    y, x = (8 + 56 - 1) / 2, (6 + 50 - 1) / 2
    source = undo_orientation(orientation, *grey.shape) @ [x, y, 1.0]
    landed = affine @ [*source, 1.0]
    assert np.abs(landed - [(crop.shape[1] - 1) / 2, (crop.shape[0] - 1) / 2]).max() < 3.0


@pytest.mark.parametrize("shape", [(9, 3), (64, 64), (5, 51)])
@pytest.mark.parametrize("sigma", [1.5, 3.0])
def test_blurs_equal_those_of_scipy(shape: tuple[int, int], sigma: float) -> None:
    grey = 128 + 40 * noise(*shape)
    expected = ndimage.gaussian_filter(grey, sigma, mode="nearest", truncate=3.0)
    assert np.allclose(blurred(grey, sigma), expected, atol=1e-2)
    detail = grey - expected
    spread = ndimage.gaussian_filter(detail**2, 1.5 * sigma, mode="nearest", truncate=3.0)
    assert np.allclose(local_contrast(grey, sigma), detail / (np.sqrt(spread) + 6.0), atol=1e-3)


def test_resizing_averages_by_area() -> None:
    grey = noise(12, 18)
    assert np.allclose(resized(grey, 4, 6), grey.reshape(4, 3, 6, 3).mean((1, 3)), atol=1e-5)
    odd = resized(grey, 5, 7)
    assert odd.mean() == pytest.approx(grey.mean(), abs=1e-5)
    # The first of five rows covers the first two of twelve and 0.4 of the third.
    rows = (grey[0] + grey[1] + 0.4 * grey[2]) / 2.4
    assert odd[0, 0] == pytest.approx((rows[0] + rows[1] + 4 / 7 * rows[2]) / (18 / 7), abs=1e-5)


def test_erosion_equals_that_of_scipy() -> None:
    covered = ndimage.binary_opening(noise(30, 21) > -0.8, iterations=2)
    assert 0 < covered.sum() < covered.size
    expected = ndimage.binary_erosion(covered, iterations=3, border_value=1)
    assert np.array_equal(eroded(covered, 3), expected)


def test_laying_a_picture_over_its_copy_interpolates_bilinearly() -> None:
    b, affine = smooth(24, 31), np.array([[0.9, 0.1, 1.317], [-0.05, 1.1, 0.413]])
    y, x = np.mgrid[:20, :28]
    at = np.stack([row @ [x.ravel(), y.ravel(), np.ones(x.size)] for row in affine[::-1]]).reshape(2, *x.shape)
    laid, covered = laid_over(b, affine, 20, 28, 1)
    assert np.allclose(laid, ndimage.map_coordinates(b, at, order=1, mode="nearest"), atol=1e-4)
    inside = (at > -0.5).all(0) & (at[0] < 23.5) & (at[1] < 30.5)
    assert np.array_equal(covered, inside)


def test_normal_equations_are_sums_over_cells() -> None:
    a, b, affine = smooth(11, 17), smooth(13, 15, seed=3), np.array([[0.8, 0.05, 0.713], [0.02, 1.05, 0.317]])
    counts = noise(11, 17, seed=4) > -0.5
    normal, gradient, expected, right, cells = np.empty((6, 6)), np.empty(6), np.zeros((6, 6)), np.zeros(6), 0
    for (y, x), value in np.ndenumerate(a):
        (to_x, to_y), (u, v) = affine @ [x, y, 1.0], np.array([x - 8, y - 5]) * 2 / 17
        if not counts[y, x] or not (0 <= to_x < 14 and 0 <= to_y < 12):
            continue
        column, row = int(to_x), int(to_y)
        across, down = to_x - column, to_y - row
        (p, q), (r, s) = b[row : row + 2, column : column + 2].astype(float)
        slope_x, slope_y = (1 - down) * (q - p) + down * (s - r), (1 - across) * (r - p) + across * (s - q)
        difference = value - (1 - down) * (p + across * (q - p)) - down * (r + across * (s - r))
        slopes = np.array([slope_x * u, slope_x * v, slope_x, slope_y * u, slope_y * v, slope_y])
        weight = min(1.0, 0.7 / max(abs(difference), 1e-9))
        expected += weight * np.outer(slopes, slopes)
        right += weight * slopes * difference
        cells += 1
    expected += (1e-3 * np.trace(expected) / 6 + 1e-6) * np.eye(6)
    assert _normal_equations(a, b, counts, affine, normal, gradient) == cells
    assert np.allclose(np.triu(normal), np.triu(expected), rtol=1e-4, atol=1e-4)
    assert np.allclose(gradient, right, rtol=1e-4, atol=1e-4)
    _solve(normal, gradient)
    assert np.allclose(gradient, np.linalg.solve(expected, right), rtol=1e-3, atol=1e-4)


def test_refinement_finds_the_affine_between_two_pictures() -> None:
    b, truth = smooth(40, 44), np.array([[0.95, 0.03, 2.0], [-0.02, 1.04, 1.0]])
    a, covered = laid_over(b, truth, 36, 40, 1)
    affine = truth + np.array([[0.02, -0.02, 0.8], [0.02, -0.02, -0.9]])
    before, _ = correlation(a, b, covered, affine)
    refine(a, b, covered, affine, 10)
    corners = np.array([[0, 0, 1], [39, 0, 1], [0, 35, 1], [39, 35, 1]])
    assert before < 0.9
    assert np.abs(corners @ (affine - truth).T).max() < 0.05
    assert correlation(a, b, covered, affine)[0] > 0.995


def test_affines_compose_and_invert() -> None:
    one, other = np.array([[0.9, 0.2, 3.0], [-0.1, 1.2, -2.0]]), between_sizes(10, 20, 5, 7)
    point = np.array([4.0, 3.0, 1.0])
    assert np.allclose(after(other, one) @ point, other @ [*(one @ point), 1.0])
    assert np.allclose(after(inverse(one), one), np.eye(2, 3))
    # Edges of the pictures lie on each other: half a cell before the first and behind the last middle.
    assert np.allclose(other @ [19.5, 9.5, 1.0], [6.5, 4.5])


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_placement_is_judged_as_by_a_singular_value_decomposition(mirrored: bool) -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        affine = rng.normal(size=(2, 3))
        if (np.linalg.det(affine[:, :2]) < 0) != mirrored:
            affine[0] *= -1
        left, stretch, right = np.linalg.svd(affine[:, :2])
        turn, out = left @ right, np.zeros(35, np.float32)
        judge_placement(affine, out)
        degrees = np.degrees(np.arctan2(turn[1, 0], -turn[0, 0] if mirrored else turn[0, 0]))
        scale = abs(np.log(np.prod(stretch))) / 2
        expected = [scale, abs((degrees + 45) % 90 - 45), np.log(stretch[0] / stretch[1]), mirrored, abs(degrees) > 45]
        assert np.allclose(out[23:28], expected, rtol=1e-3, atol=1e-3)
