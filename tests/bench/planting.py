"""Vectors to plant in tests of the search benchmark: diverse, some with near copies; and a small term space."""

import numpy as np

from neardup_platform.bench.image_tree import unit_rows
from neardup_platform.bench.planted_corpus import Planted
from neardup_platform.learning.terms.fitting import fit_term_space
from neardup_platform.terms.hyperplanes import TermSpace


def planted(groups: int, copies: int, distractors: int, dim: int, seed: int = 3) -> Planted:
    """Groups of a vector and `copies` of it at a cosine of about 0.95, then vectors that resemble no other."""
    rng = np.random.default_rng(seed)
    originals = unit_rows(rng.standard_normal((groups + distractors, dim), np.float32))
    noise = unit_rows(rng.standard_normal((groups, copies, dim), np.float32).reshape(-1, dim))
    copied = unit_rows(np.repeat(originals[:groups], copies, axis=0) + np.float32(0.33) * noise)
    return Planted(
        np.concatenate([originals[:groups], copied, originals[groups:]]),
        np.concatenate(
            [np.arange(groups), np.repeat(np.arange(groups), copies), np.full(distractors, -1)],
        ),
    )


def small_space(dim: int = 32) -> TermSpace:
    sample = np.random.default_rng(1).standard_normal((400, dim)).astype(np.float32)
    return fit_term_space(sample, "test", tables=64, bits=8, whitening=0.0, seed=1, cells=16)
