"""The source of synthetic images: a tree of topics, subtopics, groups and families with the measured tail of cosines.

Real pictures cluster: most pairs are unrelated, a few show the same kind of thing, fewer the same thing. The cosine
between two of 8,489 diverse unlabelled pictures (36 million pairs, built-in embedder, centred) exceeds the values of
`MEASURED_TAIL`. The tree reproduces that: two images whose deepest common ancestor is a topic, a subtopic, a group or a
family have the cosines and probabilities of `_COSINES` and `_TOPIC`, `_SUBTOPIC`, `_GROUP`; the cosines of unrelated
ones have the spread of the noise. A real vector is part of the tree like any other image: its ancestors are drawn
backwards from it, so that it has as many near and half-near neighbours as a picture among ten million really has.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neardup_platform.records import FloatVector

Vectors = NDArray[np.float32]
Draw = Callable[[int], Vectors]

# Share of pairs: the cosine that this share exceeds.
MEASURED_TAIL = {1e-2: 0.181, 1e-3: 0.378, 1e-4: 0.603, 1e-5: 0.796}
# Cosine of two images under one topic, subtopic, group, family; for the first three, the probability of such a pair.
_COSINES = (0.38, 0.60, 0.80, 0.92)
_TOPIC, _SUBTOPIC, _GROUP = 2e-3, 2e-4, 2e-5
# Spread of the cosines of unrelated images; with the tree's own contribution it puts 1% of all pairs above 0.181.
_UNRELATED_STD = 0.072
_LEAST_TOPICS = 1_400
_CHILDREN = 12
_BLOCK = 128

# The weight of the parent in a node: child = a · parent + √(1 − a²) · noise, from topic downwards.
_KEPT = tuple(float(np.sqrt(of / at)) for of, at in zip(_COSINES, (*_COSINES[1:], 1.0), strict=True))
KEPT_OF_FAMILY = _KEPT[3]


@dataclass(frozen=True)
class ImageTree:
    """The tree down to its groups.

    Attributes:
        root: float32 [dim, dim]; standard normals multiplied by it are noise vectors of length about 1.
        groups: float16 [groups, dim], the groups' vectors.
        cumulated: float64 [groups], cumulated share of the images under each group.
        families: float32 [chains, dim], the vector of the family that each planted vector belongs to.
    """

    root: Vectors
    groups: NDArray[np.float16]
    cumulated: NDArray[np.float64]
    families: Vectors

    def noise(self, rng: np.random.Generator, count: int) -> Vectors:
        """Unrelated vectors, float32 [count, dim]."""
        return np.asarray(rng.standard_normal((count, len(self.root)), np.float32) @ self.root)

    def new_families(self, rng: np.random.Generator, count: int) -> Vectors:
        """Vectors of families, float32 [count, dim], each under a group drawn by its share of the images."""
        chosen = np.searchsorted(self.cumulated, rng.random(count) * self.cumulated[-1], side="right")
        return child(self.groups[chosen].astype(np.float32), _KEPT[2], self.noise(rng, count))


def child(parents: Vectors, kept: float, noise: Vectors) -> Vectors:
    """Overwrite the noise with kept · parents + √(1 − kept²) · noise.

    For Gaussian vectors, drawing children from parents and drawing parents from children gives the same distribution.
    """
    noise *= np.float32(np.sqrt(1 - kept**2))
    noise += np.float32(kept) * parents
    return noise


def grow_tree(chains: Vectors, spread: Vectors, rng: np.random.Generator) -> ImageTree:
    """Grow the tree that contains real vectors; it is the same for a corpus of any size.

    Args:
        chains: float32 [n, dim], unit: vectors to place in it, each in its own topic; the most important ones first.
        spread: float32 [m, dim], unit: vectors of diverse pictures, whose covariance the noise has.
        rng: source of every random choice.
    """
    root = _noise_root(spread)

    def draw(count: int) -> Vectors:
        return np.asarray(rng.standard_normal((count, len(root)), np.float32) @ root)

    families, groups, subtopics, topics = _ancestors(chains, draw)
    shares = _shares(rng, max(_LEAST_TOPICS, len(chains)))
    places = _places(rng, shares, len(chains))
    topic_nodes = draw(len(shares))
    topic_nodes[places[:, 0]] = topics
    subtopic_nodes = _children(topic_nodes, _KEPT[0], draw)
    subtopic_nodes[places[:, 0] * _CHILDREN + places[:, 1]] = subtopics
    group_nodes = _children(subtopic_nodes, _KEPT[1], draw)
    group_nodes[(places[:, 0] * _CHILDREN + places[:, 1]) * _CHILDREN + places[:, 2]] = groups
    return ImageTree(root, group_nodes.astype(np.float16), np.cumsum(shares.ravel()), families)


def _noise_root(spread: Vectors) -> Vectors:
    """Symmetric square root of the covariance, evened out as far as the measured spread of cosines requires.

    Two independent Gaussian vectors of covariance C and trace 1 have inner products of variance tr C². The planted
    pictures are fewer and more alike than pictures in general, so their tr C² is too large.
    """
    dim = spread.shape[1]
    covariance = np.asarray(spread.T @ spread, np.float64) / len(spread)
    covariance /= np.trace(covariance)
    excess = (covariance**2).sum() - 1 / dim
    kept = np.sqrt(min(1.0, max(0.0, _UNRELATED_STD**2 - 1 / dim) / excess))
    variances, axes = np.linalg.eigh(kept * covariance + (1 - kept) * np.eye(dim) / dim)
    return np.asarray((axes * np.sqrt(np.maximum(variances, 0))) @ axes.T, np.float32)


def _ancestors(chains: Vectors, draw: Draw) -> tuple[Vectors, Vectors, Vectors, Vectors]:
    """Families, groups, subtopics and topics from which the vectors could have been drawn."""
    family = child(chains, _KEPT[3], draw(len(chains)))
    group = child(family, _KEPT[2], draw(len(chains)))
    subtopic = child(group, _KEPT[1], draw(len(chains)))
    return family, group, subtopic, child(subtopic, _KEPT[0], draw(len(chains)))


def _children(parents: Vectors, kept: float, draw: Draw) -> Vectors:
    children = np.empty((len(parents) * _CHILDREN, parents.shape[1]), np.float32)
    for first in range(0, len(parents), _BLOCK):
        repeated = np.repeat(parents[first : first + _BLOCK], _CHILDREN, axis=0)
        children[first * _CHILDREN : first * _CHILDREN + len(repeated)] = child(repeated, kept, draw(len(repeated)))
    return children


def _shares(rng: np.random.Generator, topics: int) -> NDArray[np.float64]:
    """Share of all images under each group, float64 [topics, children, children], log-normal at each level."""
    topic = _lognormal(rng.standard_normal(topics), np.ones(()), _TOPIC)
    subtopic = _lognormal(rng.standard_normal((topics, _CHILDREN)), topic[:, None], _SUBTOPIC)
    return _lognormal(rng.standard_normal((topics, _CHILDREN, _CHILDREN)), subtopic[:, :, None], _GROUP)


def _lognormal(normals: NDArray[np.float64], of: NDArray[np.float64], meet: float) -> NDArray[np.float64]:
    """Shares along the last axis that sum to `of`, so uneven that two images coincide with probability `meet`."""
    low, high = 0.0, 5.0
    for _ in range(40):
        sigma = (low + high) / 2
        weights = np.exp(sigma * normals)
        shares = of * weights / weights.sum(axis=-1, keepdims=True)
        low, high = (sigma, high) if (shares**2).sum() < meet else (low, sigma)
    return np.asarray(shares)


def _places(rng: np.random.Generator, shares: NDArray[np.float64], chains: int) -> NDArray[np.int64]:
    """Topic, subtopic and group of each chain, int64 [chains, 3]: drawn like those of an image, no topic twice."""
    by_subtopic = shares.sum(axis=2)
    by_topic = by_subtopic.sum(axis=1)
    topic = rng.choice(len(by_topic), chains, replace=False, p=by_topic / by_topic.sum())
    subtopic = _draw_each(rng, by_subtopic[topic])
    return np.stack([topic, subtopic, _draw_each(rng, shares[topic, subtopic])], axis=1)


def _draw_each(rng: np.random.Generator, shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """One column per row, drawn by the row's shares."""
    cumulated = np.cumsum(shares, axis=1)
    return np.asarray((rng.random((len(shares), 1)) * cumulated[:, -1:] >= cumulated).sum(axis=1))


def unit_rows(vectors: Vectors) -> Vectors:
    """Scale the vectors to length 1, in place."""
    vectors /= np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    return vectors


def centred_to_embeddings(unit: Vectors, mean: FloatVector) -> Vectors:
    """Unit embeddings that centring and scaling turn into these unit vectors.

    They are mean + t · unit with |mean + t · unit| = 1 and t > 0; |mean| is below 1.
    """
    along = unit @ mean
    length = np.sqrt(along**2 + 1 - mean @ mean) - along
    return np.asarray(mean + length[:, None] * unit, np.float32)
