"""Small labelled vectors that a classifier can be trained on within seconds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neardup_platform.learning.classifier.training import Recipe
from neardup_platform.scoring.features import Block

BLOCKS = (
    Block("shape", 0, 16, "dihedral"),
    Block("crop", 16, 32, "dihedral"),
    Block("colour", 32, 44, "cosine"),
    Block("statistics", 44, 46, "difference"),
)
RECIPE = Recipe("lsh-test", "pair-test", BLOCKS, target_precision=0.95, head_precision=0.9, seed=3)


@dataclass(frozen=True)
class Labelled:
    groups: list[str]
    lsh: NDArray[np.float16]
    pair: NDArray[np.float16]


def labelled(groups: int = 40, distractors: int = 80, seed: int = 0) -> Labelled:
    """Groups of three around a centre, and single pictures: unit vectors with noise."""
    rng = np.random.default_rng(seed)
    names = [f"g{g}" for g in range(groups) for _ in range(3)] + [""] * distractors
    centres = np.concatenate([np.repeat(rng.normal(size=(groups, 78)), 3, axis=0), rng.normal(size=(distractors, 78))])
    vectors = centres + rng.normal(scale=0.35, size=centres.shape)
    lsh, pair = vectors[:, :32], vectors[:, 32:]
    for start, stop in ((0, 16), (16, 32), (32, 44)):
        pair[:, start:stop] /= np.linalg.norm(pair[:, start:stop], axis=1, keepdims=True)
    return Labelled(names, lsh.astype(np.float16), pair.astype(np.float16))
