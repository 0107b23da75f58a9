"""The pair vector has the documented layout and norms, and stays similar under cropping and mirroring."""

import numpy as np
from PIL import Image

from neardup_platform.images.pair_descriptor import BLOCKS, DIM, PairDescriptor
from neardup_platform.images.picture_sketch import sketch_of

RNG = np.random.default_rng(5)


def picture(width: int = 240, height: int = 160, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (10, 15, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def block(vectors: np.ndarray, name: str) -> np.ndarray:
    start, stop = next((start, stop) for found, start, stop, _ in BLOCKS if found == name)
    return vectors[:, start:stop]


def test_blocks_cover_the_vector_without_gap_or_overlap() -> None:
    assert [start for _, start, _, _ in BLOCKS] == [0, *(stop for _, _, stop, _ in BLOCKS[:-1])]
    assert BLOCKS[-1][2] == DIM == PairDescriptor.dim


def test_spectra_and_histogram_have_unit_norm() -> None:
    vectors = PairDescriptor().embed([picture(seed=s) for s in range(4)])
    for name in ("full_dct", "square_dct", "trimmed_dct", "soft_dct", "blue_dct", "red_dct", "colour_histogram"):
        assert np.allclose(np.linalg.norm(block(vectors, name), axis=1), 1, atol=1e-5)


def test_a_square_thumbnail_has_the_square_spectrum_of_its_picture() -> None:
    whole = picture()
    thumbnail = np.asarray(Image.fromarray(whole[:, 40:200]).resize((75, 75), Image.Resampling.BOX))
    a, b = (block(PairDescriptor().embed([p]), "square_dct")[0] for p in (whole, thumbnail))
    other = block(PairDescriptor().embed([picture(seed=9)]), "square_dct")[0]
    assert a @ b > 0.99
    assert abs(a @ other) < 0.6


def test_a_framed_copy_has_the_trimmed_spectrum_of_its_picture() -> None:
    framed = np.pad(picture(), ((20, 20), (20, 20), (0, 0)), constant_values=255)
    a, b = PairDescriptor().embed([picture(), framed])
    assert block(a[None], "trimmed_dct")[0] @ block(b[None], "trimmed_dct")[0] > 0.98
    assert block(a[None], "full_dct")[0] @ block(b[None], "full_dct")[0] < 0.9


def test_the_shorter_side_counts_up_to_what_decoding_keeps() -> None:
    shapes = {(32, 40): 5, (200, 64): 6, (128, 300): 7, (900, 700): 7}
    vectors = PairDescriptor().embed([np.zeros((*shape, 3), np.uint8) for shape in shapes])
    assert block(vectors, "levels")[:, -1].tolist() == list(shapes.values())


def test_mirroring_negates_odd_horizontal_frequencies_only() -> None:
    a, b = (block(PairDescriptor().embed([p]), "full_dct").reshape(2, 2, 36) for p in (picture(), picture()[:, ::-1]))
    assert np.allclose(a[:, 0], b[:, 0], atol=0.02)
    assert np.allclose(a[:, 1], -b[:, 1], atol=0.02)


def test_a_flat_picture_has_no_shape_rather_than_amplified_noise() -> None:
    flat = np.full((100, 100, 3), 120, np.uint8)
    flat[RNG.integers(0, 100, 20), RNG.integers(0, 100, 20)] += 1
    vectors = PairDescriptor().embed([flat])
    assert np.isfinite(vectors).all()
    assert np.linalg.norm(block(vectors, "full_dct")) < 0.5


def test_one_pixel_and_extreme_shapes_are_embedded() -> None:
    shapes = [(1, 1), (1, 500), (500, 1), (3, 2)]
    vectors = PairDescriptor().embed([np.zeros((*shape, 3), np.uint8) for shape in shapes])
    assert vectors.shape == (4, DIM)
    assert np.isfinite(vectors).all()


def test_no_pictures_give_no_rows() -> None:
    assert PairDescriptor().embed([]).shape == (0, DIM)


def test_every_value_survives_float16() -> None:
    vectors = PairDescriptor().embed([picture(seed=s) for s in range(4)])
    assert np.abs(vectors.astype(np.float16).astype(np.float32) - vectors).max() < 2e-3


def test_the_sketch_survives_the_way_through_float16() -> None:
    one = picture(seed=3)
    vectors = PairDescriptor().embed([one, picture(seed=4)])
    entries = block(vectors, "sketch")
    assert np.array_equal(entries.astype(np.float16).astype(np.float32), entries)
    assert np.array_equal(entries[0], sketch_of(one))
