"""Planned changes to the cluster tables, held in memory over a store that does not change meanwhile.

Reads show the planned state; nothing reaches the store before `write`. `clusters/rearrangement.py` fills a draft and
`clusters/membership.py` checks it.
"""

from collections.abc import Iterator, Mapping

from google.protobuf.message import Message

from neardup_platform.errors import InvariantBroken
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.view import StoreView
from neardup_platform.store.writer import Batch

_TOTALS = ("images", "clusters", "sequence", "ordinals", "forgotten", "redirects")


class Draft:
    """Changes that are written together. In a table, None stands for a deleted record.

    Attributes:
        store: the store before the changes.
        before: its totals.
        state: the totals after the changes, except the digest, which follows from the edges.
        images: records by id that were read or changed.
        clusters: records by head that were read or changed.
        listed: added edges: key in table MEMBERS → image id.
        unlisted: removed edges.
        recent: sequences by key in table RECENT.
        vectors: records by ordinal.
        redirects: redirects by previous head.
        forgotten: records by image id.
        counted: number of edges by head, for clusters whose every edge was read.
    """

    def __init__(self, store: StoreView) -> None:
        self.store = store
        self.before = store.state()
        self.state = store.state()
        self.images: dict[str, store_pb.ImageRecord | None] = {}
        self.clusters: dict[str, store_pb.ClusterRecord | None] = {}
        self.listed: dict[bytes, str] = {}
        self.unlisted: dict[bytes, str] = {}
        self.recent: dict[bytes, int | None] = {}
        self.vectors: dict[int, store_pb.VectorRecord | None] = {}
        self.redirects: dict[str, store_pb.Redirect | None] = {}
        self.forgotten: dict[str, store_pb.Forgotten] = {}
        self.counted: dict[str, int] = {}

    def find_image(self, image_id: str) -> store_pb.ImageRecord | None:
        """Return the record of an image; None if there is none or it is deleted."""
        if image_id not in self.images:
            self.images[image_id] = self.store.images.find(image_id)
        return self.images[image_id]

    def image(self, image_id: str) -> store_pb.ImageRecord:
        """Return the record of an image.

        Raises:
            InvariantBroken: there is none.
        """
        found = self.find_image(image_id)
        if found is None:
            raise InvariantBroken(f"image {image_id!r} cannot be moved: it has no record")
        return found

    def find_cluster(self, head: str) -> store_pb.ClusterRecord | None:
        """Return the record of a cluster; None if there is none or it is deleted."""
        if head not in self.clusters:
            self.clusters[head] = self.store.clusters.find(head)
        return self.clusters[head]

    def cluster(self, head: str) -> store_pb.ClusterRecord:
        """Return the record of a cluster.

        Raises:
            InvariantBroken: there is none.
        """
        found = self.find_cluster(head)
        if found is None:
            raise InvariantBroken(f"{head!r} cannot be changed: it heads no cluster")
        return found

    def member_at(self, key: bytes) -> str | None:
        """Return the image that an edge lists; None if there is no such edge."""
        listed = self.listed.get(key)
        return self.store.members.at(key) if listed is None and key not in self.unlisted else listed

    def members(self, head: str) -> Iterator[tuple[int, str]]:
        """Yield every member of a cluster with its sequence: unchanged members in order, then added ones."""
        for sequence, member in self.store.members.all(head):
            key = layout.sequence_key(head, sequence)
            if key not in self.unlisted and key not in self.listed:
                yield sequence, member
        prefix = layout.id_prefix(head)
        for key, member in list(self.listed.items()):
            if key[:-8] == prefix:
                yield layout.number_of(key), member

    def list_member(self, head: str, sequence: int, image_id: str) -> None:
        """Add an edge."""
        self.listed[layout.sequence_key(head, sequence)] = image_id

    def unlist_member(self, image_id: str) -> None:
        """Remove the edge that the record of an image names.

        Raises:
            InvariantBroken: there is no such edge, or it lists another image.
        """
        record = self.image(image_id)
        key = layout.member_key(record)
        found = self.member_at(key)
        if found != image_id:
            raise InvariantBroken(
                f"image {image_id!r} is not among the members of its head {record.head!r}"
                f"{f', {found!r} has its place' if found else ''}: `neardup doctor` shows what is damaged"
            )
        if self.listed.pop(key, None) is None:
            self.unlisted[key] = image_id

    def write(self, batch: Batch, state: store_pb.StoreState) -> None:
        """Put everything into a write."""
        for key in self.unlisted:
            batch.delete(Table.MEMBERS, key)
        for key, member in self.listed.items():
            batch.put(Table.MEMBERS, key, member.encode())
        for key, sequence in self.recent.items():
            _put_or_delete(batch, Table.RECENT, key, None if sequence is None else layout.number_key(sequence))
        tables: list[tuple[Table, Mapping[bytes, Message | None]]] = [
            (Table.IMAGES, {image_id.encode(): record for image_id, record in self.images.items()}),
            (Table.CLUSTERS, {head.encode(): record for head, record in self.clusters.items()}),
            (Table.VECTORS, {layout.number_key(ordinal): record for ordinal, record in self.vectors.items()}),
            (Table.REDIRECTS, {layout.hash_key(head): record for head, record in self.redirects.items()}),
            (Table.FORGOTTEN, {layout.hash_key(image_id): record for image_id, record in self.forgotten.items()}),
        ]
        for table, records in tables:
            for key, record in records.items():
                _put_or_delete(batch, table, key, None if record is None else record.SerializeToString())
        for name in _TOTALS:
            change = getattr(self.state, name) - getattr(self.before, name)
            setattr(state, name, getattr(state, name) + change)
        state.digest = layout.digest_after(state.digest, _shares(self.listed), _shares(self.unlisted))


def _shares(edges: Mapping[bytes, str]) -> int:
    """Return the contribution of edges to the state digest."""
    return sum(layout.assignment_digest(member, layout.id_of(key)) for key, member in edges.items())


def _put_or_delete(batch: Batch, table: Table, key: bytes, value: bytes | None) -> None:
    if value is None:
        batch.delete(table, key)
    else:
        batch.put(table, key, value)
