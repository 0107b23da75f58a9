"""Claims about the term space: fitting, hashing, saving and loading."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neardup_platform.errors import BadArtefact
from neardup_platform.learning.terms.fitting import fit_term_space
from neardup_platform.terms.error_maths import (
    agree_probability,
    expected_postings,
    share_probability,
    within_probability,
)
from neardup_platform.terms.hyperplanes import TermSpace, hamming, load_term_space, save_term_space

RNG = np.random.default_rng(7)
SAMPLE = (RNG.standard_normal((600, 12)) * np.linspace(3, 0.2, 12) + 1).astype(np.float32)


def fit(**changes: object) -> TermSpace:
    return fit_term_space(
        SAMPLE,
        "m",
        **{"tables": 32, "bits": 6, "whitening": 0.5, "seed": 3} | changes,  # type: ignore[arg-type]
    )


def plain(space: TermSpace) -> TermSpace:
    """The same hyperplanes without centring, so that the cosines of the inputs are those of the hashed vectors."""
    return replace(space, mean=np.zeros_like(space.mean))


def pairs_at_distance() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    a = RNG.standard_normal((400, 12))
    b = a + 0.4 * RNG.standard_normal((400, 12))
    cosines = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return a.astype(np.float32), b.astype(np.float32), cosines


def test_the_same_seed_and_sample_give_the_same_terms_and_cells() -> None:
    assert fit().version == fit().version
    assert fit(seed=4).version != fit().version


def test_signatures_depend_on_the_direction_alone() -> None:
    space = fit()
    assert (space.hash(SAMPLE).signatures == space.hash(5 * SAMPLE).signatures).all()


@pytest.mark.parametrize("rows", [1, 2, 7, 64])
def test_signatures_do_not_depend_on_the_batch(rows: int) -> None:
    space = fit(tables=128, bits=9)
    whole = space.hash(SAMPLE)
    part = space.hash(SAMPLE[100 : 100 + rows])
    assert (part.signatures == whole.signatures[100 : 100 + rows]).all()
    assert (part.cells == whole.cells[100 : 100 + rows]).all()


@pytest.mark.parametrize(("tables", "words"), [(32, 6), (64, 6), (65, 12), (128, 12)])
def test_planes_are_padded_to_whole_words(tables: int, words: int) -> None:
    space = fit(tables=tables)
    signatures = space.hash(SAMPLE).signatures
    assert signatures.shape == (600, words)
    assert signatures.dtype == np.uint64
    assert (space.overlap(signatures, signatures) == tables).all()
    bits = np.unpackbits(signatures.view(np.uint8).reshape(600, space.bits, -1), axis=2, bitorder="little")
    assert bits[:, :, :tables].any()
    assert not bits[:, :, tables:].any()


def test_overlap_counts_the_terms_whose_bits_are_all_equal() -> None:
    space = fit(tables=70, bits=5)
    a, b, _ = pairs_at_distance()
    one, two = space.hash(a), space.hash(b)
    signs = [(h.unit @ space.directions > 0).reshape(len(a), 5, 70) for h in (one, two)]
    assert (space.overlap(one.signatures, two.signatures) == (signs[0] == signs[1]).all(axis=1).sum(axis=1)).all()
    assert (hamming(one.signatures, two.signatures) == (signs[0] != signs[1]).sum(axis=(1, 2))).all()


def test_overlap_follows_the_published_probability() -> None:
    space = plain(fit(tables=200, bits=8, whitening=0.0))
    a, b, cosines = pairs_at_distance()
    overlaps = space.overlap(space.hash(a).signatures, space.hash(b).signatures)
    assert abs(overlaps.mean() - expected_postings(cosines, 200, 8)) < 2
    found = (overlaps >= 60).mean()
    assert abs(found - np.mean([share_probability(c, 200, 8, 60) for c in cosines])) < 0.08


def test_hamming_distance_follows_the_published_probability() -> None:
    space = plain(fit(tables=128, bits=8, whitening=0.0))
    a, b, cosines = pairs_at_distance()
    found = (hamming(space.hash(a).signatures, space.hash(b).signatures) <= 128).mean()
    assert abs(found - np.mean([within_probability(c, 1024, 128) for c in cosines])) < 0.08


def test_error_maths_has_its_known_values() -> None:
    assert agree_probability(0.0) == pytest.approx(0.5)
    assert share_probability(1.0, 10, 5) == pytest.approx(1.0)
    assert share_probability(0.0, 1, 1) == pytest.approx(0.5)
    assert share_probability(0.0, 2, 1, at_least=2) == pytest.approx(0.25)
    assert expected_postings(np.zeros(3), 128, 10) == pytest.approx(0.125)
    assert within_probability(0.0, 2, 1) == pytest.approx(0.75)


def test_cells_are_filled_evenly_enough() -> None:
    space = fit(cells=16)
    sizes = np.bincount(space.hash(SAMPLE).cells, minlength=16)
    assert (sizes > 0).all()
    assert sizes.max() < 200


def test_a_saved_space_loads_equal(tmp_path: Path) -> None:
    space = fit()
    save_term_space(space, tmp_path / "s.npz")
    assert load_term_space(tmp_path / "s.npz").version == space.version


def test_a_damaged_space_is_rejected_by_name(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    save_term_space(fit(), path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(BadArtefact, match=r"s\.npz"):
        load_term_space(path)


def test_a_space_whose_parts_do_not_fit_is_rejected(tmp_path: Path) -> None:
    space = fit()
    save_term_space(replace(space, directions=space.directions[:, 1:]), tmp_path / "s.npz")
    with pytest.raises(BadArtefact, match="32×6"):
        load_term_space(tmp_path / "s.npz")


@pytest.mark.parametrize("wrong", [{"tables": 300}, {"bits": 1}, {"bits": 3}, {"bits": 17}, {"cells": 0}])
def test_an_impossible_shape_is_rejected(wrong: dict[str, int]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name} {value}"):
        fit(**wrong)
