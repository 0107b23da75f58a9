"""Recorded decisions as columns, so that a million of them can be decided again within seconds. Pure.

Decisions log → **columns** → replay. Images and clusters are *nodes*: the N images that the records decide come first,
in the order of their decisions, then images and heads that are only mentioned, in order of id.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Nodes = NDArray[np.int32]
Scores = NDArray[np.float32]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Edges:
    """The recorded candidates of all images, those of one image together, best first.

    Attributes:
        starts: int64 [N + 1], the candidates of image i are `starts[i]` up to `starts[i + 1]`.
        candidate: int32 [E], nodes.
        score: float32 [E], pair scores, 0…1.
        copy: bool [E], whether all terms are equal.
    """

    starts: NDArray[np.int64]
    candidate: Nodes
    score: Scores
    copy: Flags

    @property
    def image(self) -> Nodes:
        """The image of each candidate, int32 [E]."""
        return np.repeat(np.arange(len(self.starts) - 1, dtype=np.int32), np.diff(self.starts))

    def rescored(self, score: Scores) -> "Edges":
        """Returns the same candidates with other scores, best first; among equal ones the earlier stays first."""
        order = np.lexsort((-score, self.image))
        return Edges(self.starts, self.candidate[order], score[order], self.copy[order])


class Handovers(NamedTuple):
    """Clusters whose head left: the previous and the next head, nodes, and the sequence, ascending; all [n]."""

    old: Nodes
    new: Nodes
    sequence: NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Recorded:
    """One decision of each image: its last one that compared candidates.

    Attributes:
        ids: string [M], the id of each node.
        forgotten: bool [M], images that were forgotten since; only mentioned ones.
        sequence: uint64 [N], ascending.
        decided_ms: int64 [N], Unix milliseconds.
        head: int32 [N], node of the cluster it was put in.
        head_score: float32 [N], pair score with that head.
        match, least_head: float32 [N], thresholds that applied.
        pinned: bool [N], whether an override put it there.
        held: bool [N], whether the guard held it apart from a cluster.
        undistinctive: bool [N].
        corpus_images: int64 [N], images before it.
        outside_head: int32 [M − N], node of the cluster of each mentioned image, as mentioned last.
        edges: recorded candidates of the images that could match.
        handovers: of clusters to other heads.
        classifiers: decisions by version of the classifier.
    """

    ids: pa.StringArray
    forgotten: Flags
    sequence: NDArray[np.uint64]
    decided_ms: NDArray[np.int64]
    head: Nodes
    head_score: Scores
    match: Scores
    least_head: Scores
    pinned: Flags
    held: Flags
    undistinctive: Flags
    corpus_images: NDArray[np.int64]
    outside_head: Nodes
    edges: Edges
    handovers: Handovers
    classifiers: Mapping[str, int]

    def __len__(self) -> int:
        """Returns N, the number of images decided."""
        return len(self.head)

    @property
    def homes(self) -> Nodes:
        """The recorded cluster of every node, int32 [M]."""
        return np.concatenate([self.head, self.outside_head])

    def names(self, nodes: Sequence[int] | Nodes) -> list[str]:
        """Returns the ids of nodes."""
        return list(self.ids.take(pa.array(nodes, pa.int32())).to_pylist())

    def nodes(self, ids: Iterable[str]) -> dict[str, int]:
        """Returns the nodes of those ids that are known."""
        wanted = pa.array(list(dict.fromkeys(ids)), pa.string())
        found = pc.index_in(wanted, value_set=self.ids)
        return {one: node for one, node in zip(wanted.to_pylist(), found.to_pylist(), strict=True) if node is not None}
