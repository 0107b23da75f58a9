"""Claims about the term space."""

from pathlib import Path

import numpy as np
import pytest

from neardup_platform.errors import BadArtefact
from neardup_platform.terms.hyperplanes import (
    fit_term_space,
    load_term_space,
    save_term_space,
    share_probability,
)

RNG = np.random.default_rng(7)
SAMPLE = (RNG.standard_normal((600, 12)) * np.linspace(3, 0.2, 12) + 1).astype(np.float32)


def fit(**changes: object):
    return fit_term_space(
        SAMPLE,
        "m",
        **{"tables": 32, "bits": 6, "whitening": 0.5, "seed": 3} | changes,  # type: ignore[arg-type]
    )


def test_same_seed_and_sample_give_the_same_terms() -> None:
    assert fit().version == fit().version
    assert fit(seed=4).version != fit().version


def test_terms_depend_on_direction_only() -> None:
    space = fit()
    assert (space.terms(SAMPLE) == space.terms(5 * SAMPLE)).all()


def test_terms_use_the_whole_range_of_their_bits() -> None:
    terms = fit().terms(SAMPLE)
    assert terms.dtype == np.uint16
    assert terms.max() < 64
    assert len(np.unique(terms)) == 64


def test_overlap_follows_the_published_probability() -> None:
    space = fit(tables=200, bits=8, whitening=0.0)
    a = RNG.standard_normal((400, 12))
    b = a + 0.4 * RNG.standard_normal((400, 12))
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)  # noqa: E731
    plain = space.__class__("m", 200, 8, np.zeros(12, np.float32), space.directions)
    overlap = (plain.terms(unit(a).astype(np.float32)) == plain.terms(unit(b).astype(np.float32))).mean(1)
    cosines = (unit(a) * unit(b)).sum(1)
    expected = np.array([(1 - np.arccos(c) / np.pi) ** 8 for c in cosines])
    assert abs(overlap.mean() - expected.mean()) < 0.02


def test_share_probability_has_its_known_values() -> None:
    assert share_probability(1.0, 10, 5) == pytest.approx(1.0)
    assert share_probability(0.0, 1, 1) == pytest.approx(0.5)
    assert share_probability(0.0, 2, 1, at_least=2) == pytest.approx(0.25)


def test_saved_space_loads_equal(tmp_path: Path) -> None:
    space = fit()
    save_term_space(space, tmp_path / "s.npz")
    assert load_term_space(tmp_path / "s.npz").version == space.version


def test_damaged_space_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    save_term_space(fit(), path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(BadArtefact, match=r"s\.npz"):
        load_term_space(path)


def test_impossible_tables_are_refused() -> None:
    with pytest.raises(ValueError, match="tables 300"):
        fit(tables=300)
