"""Which clusters images are in now, according to the worker's store: the API's own corpus does not follow clusters."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from neardup_platform.clusters.decision import Constraint
from neardup_platform.corpus import Corpus, Ordinals, stored_vectors
from neardup_platform.decide import NO_HEAD
from neardup_platform.errors import InvariantBroken
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.serving.followed_overrides import FollowedOverrides
from neardup_platform.serving.rocksdb_follower import StoreFollower
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.view import StoreView


@dataclass(slots=True)
class _Heads:
    """Heads of images, all read at one moment.

    Attributes:
        of: ordinals of the heads by ordinals of the images; images that were forgotten are left out.
        ids: by ordinal of the head.
        sizes: of the clusters, likewise.
        vectors: likewise, and of the images in `merged`.
        merged: ordinals of the images that count as heads of a merged cluster, by ordinal of its head.
        quarantines: ids of the overrides that put clusters into quarantine, likewise.
    """

    of: dict[int, int] = field(default_factory=dict)
    ids: dict[int, str] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    vectors: dict[int, store_pb.VectorRecord] = field(default_factory=dict)
    merged: dict[int, list[int]] = field(default_factory=dict)
    quarantines: dict[int, str] = field(default_factory=dict)


class FollowedClusters:
    """The clusters of one search; see `Clusters`.

    Args:
        follower: reads the store, in which images may have been decided, moved or forgotten since the corpus was read.
        corpus: names the images by ordinal; it does not grow meanwhile.
        overrides: says which clusters are merged or in quarantine.

    Attributes:
        constraint: what merges and quarantines demand of an image that no override names.
    """

    def __init__(self, follower: StoreFollower, corpus: Corpus, overrides: FollowedOverrides) -> None:
        self._follower = follower
        self._corpus = corpus
        self._overrides = overrides
        self.constraint = Constraint(
            merged_heads=lambda head: [each for each in self._heads.merged.get(head, ()) if each != head],
            quarantine=lambda head: self._heads.quarantines.get(head, ""),
        )
        self._heads = _Heads()

    def heads_of(self, ordinals: Ordinals) -> Ordinals:
        """Reads the heads, the sizes of their clusters and their vectors in one moment of the store."""
        names = {ordinal: self._corpus.id_of(ordinal) for ordinal in ordinals.tolist()}
        if names:
            self._heads = self._follower.read(lambda store: self._read(store, names))
        return np.array([self._heads.of.get(ordinal, NO_HEAD) for ordinal in names], np.int64)

    def id_of(self, ordinal: int) -> str:
        """Returns the id of an image of the corpus, or of a head that was read."""
        return self._heads.ids.get(ordinal) or self._corpus.id_of(ordinal)

    def size_of(self, head: int) -> int:
        """Returns the number of members of the cluster of a head that was read."""
        return self._heads.sizes[head]

    def vectors_of(self, ordinal: int) -> ImageVectors:
        """Returns both vectors of a head that was read, or of another one of a merged cluster, one row each."""
        record = self._heads.vectors[ordinal]
        return stored_vectors([(record.lsh, record.pair)])

    def _read(self, store: StoreView, names: dict[int, str]) -> _Heads:
        heads = _read_heads(store, names, len(self._corpus))
        ordinals = {head: ordinal for ordinal, head in heads.ids.items()}
        sizes = {head: heads.sizes[ordinal] for head, ordinal in ordinals.items()}
        standing = self._overrides.of_clusters(store, sizes)
        for head, image_ids in standing.merged.items():
            found = [record.ordinal for record in store.images.find_many(list(image_ids)) if record is not None]
            heads.merged[ordinals[head]] = found
            heads.vectors.update({ordinal: store.vectors.get(ordinal) for ordinal in found})
        heads.quarantines.update({ordinals[head]: by[0].override_id for head, by in standing.quarantines.items()})
        return heads


def _read_heads(store: StoreView, names: dict[int, str], held: int) -> _Heads:
    """Reads where images are now; leaves out those that were forgotten or whose ordinal is another image's.

    Args:
        names: image ids by ordinal, according to the corpus.
        held: ordinals of the corpus; an image that was decided again since has a higher one.
    """
    heads = {
        ordinal: record.head
        for ordinal, record in zip(names, store.images.find_many(list(names.values())), strict=True)
        if record is not None and (record.ordinal == ordinal or record.ordinal >= held)
    }
    distinct = list(dict.fromkeys(heads.values()))
    ordinals = _ordinals(store, distinct)
    return _Heads(
        of={ordinal: ordinals[head] for ordinal, head in heads.items()},
        ids={ordinal: head for head, ordinal in ordinals.items()},
        sizes={ordinal: store.clusters.get(head).size for head, ordinal in ordinals.items()},
        vectors={ordinal: store.vectors.get(ordinal) for ordinal in ordinals.values()},
    )


def _ordinals(store: StoreView, heads: Sequence[str]) -> dict[str, int]:
    ordinals = {}
    for head, record in zip(heads, store.images.find_many(list(heads)) if heads else (), strict=True):
        if record is None:
            raise InvariantBroken(f"{head!r} heads a cluster and is not known to the store")
        ordinals[head] = record.ordinal
    return ordinals
