"""Synthetic embeddings for load tests: clustered and anisotropic, with near-duplicates among them.

Images come in families. A family's vector is Gaussian with a decaying spectrum (the variance of dimension d falls as
1/d, roughly like that of the principal components of real embeddings); a copy is its family's vector plus noise at a
cosine of about 0.95. Everything is determined by an image's number, so any process can create any image.
"""

import numpy as np
from numpy.typing import NDArray

from neardup_platform.records import Embedding, Kind, ModelSpec
from neardup_platform.scoring.card import Card
from neardup_platform.scoring.features import SKETCH
from neardup_platform.scoring.vectors import ImageVectors

# Mean cluster size of the original system.
FAMILY_IMAGES = 6
_NOISE = 0.33


def image_id(number: int) -> str:
    """Id of a synthetic image."""
    return f"bench-{number:09d}"


def vectors(numbers: NDArray[np.int64], kind: Kind, dim: int) -> NDArray[np.float32]:
    """Unit vectors, float32 [n, dim], of the images with these numbers."""
    spectrum = (1 / np.sqrt(np.arange(1, dim + 1))).astype(np.float32)
    out = np.empty((len(numbers), dim), np.float32)
    for row, number in enumerate(numbers):
        family = np.random.default_rng([int(number) // FAMILY_IMAGES, kind is Kind.LSH])
        own = np.random.default_rng([int(number), 2 + (kind is Kind.LSH)])
        out[row] = family.standard_normal(dim, np.float32) + _NOISE * own.standard_normal(dim, np.float32)
    out *= spectrum
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    return out


def many_vectors(rng: np.random.Generator, count: int, dim: int) -> NDArray[np.float32]:
    """Like `vectors`, float32 [count, dim], from one generator: for processes that need no particular images."""
    spectrum = (1 / np.sqrt(np.arange(1, dim + 1))).astype(np.float32)
    centres = rng.standard_normal((-(-count // FAMILY_IMAGES), dim), np.float32)
    out = np.repeat(centres, FAMILY_IMAGES, axis=0)[:count] + _NOISE * rng.standard_normal((count, dim), np.float32)
    out *= spectrum
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    return out


def many_images(rng: np.random.Generator, count: int, card: Card) -> ImageVectors:
    """Both vectors of images as the classifier compares them: families, spectra of unit norm, and an empty sketch."""
    read = max(block.stop for block in card.blocks if block.comparison != SKETCH)
    compared = many_vectors(rng, count, read)
    for block in card.blocks:
        if block.comparison in ("dihedral", "apart"):
            spectra = compared[:, block.start : block.stop]
            spectra /= np.linalg.norm(spectra, axis=1, keepdims=True)
    pair = np.zeros((count, card.pair_dim), np.float16)
    pair[:, :read] = compared
    return ImageVectors(many_vectors(rng, count, card.lsh_dim).astype(np.float16), pair)


def embeddings(number: int, models: dict[Kind, ModelSpec], event_time_ms: int) -> list[Embedding]:
    """Both embeddings of one image."""
    one = np.array([number])
    return [
        Embedding(image_id(number), kind, model.version, vectors(one, kind, model.dim)[0], event_time_ms)
        for kind, model in models.items()
    ]
