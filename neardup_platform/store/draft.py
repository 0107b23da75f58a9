"""The tables of the clusters as they will be: changes held in memory over a store that stands still.

Reading sees what was changed so far; nothing reaches the store before `write`. `membership.py` checks a draft,
`rearrangement.py` fills one.
"""

from collections.abc import Iterator, Mapping

from google.protobuf.message import Message

from neardup_platform.errors import InvariantBroken
from neardup_platform.store import layout
from neardup_platform.store.layout import Table
from neardup_platform.store.view import StoreView, listed_under
from neardup_platform.store.writer import Batch
from neardup_platform.wire import neardup_pb2 as pb

_TOTALS = ("images", "clusters", "sequence", "ordinals", "forgotten", "redirects")


class Draft:
    """Changes to be written together; None in a table stands for a record that goes.

    Attributes:
        store: as it is.
        before: its totals.
        state: the totals as they will be, but for the digest, which follows from the edges.
        images: records by id that were read or changed.
        clusters: records by head that were read or changed.
        listed: edges that come, head and sequence as stored → image id.
        unlisted: edges that go.
        recent: sequence by key in the list of recently changed clusters.
        vectors: by ordinal.
        redirects: by the head that was.
        forgotten: by image id.
        counted: heads whose every edge was read, with their number.
    """

    def __init__(self, store: StoreView) -> None:
        self.store = store
        self.before = store.state()
        self.state = store.state()
        self.images: dict[str, pb.ImageRecord | None] = {}
        self.clusters: dict[str, pb.ClusterRecord | None] = {}
        self.listed: dict[bytes, str] = {}
        self.unlisted: dict[bytes, str] = {}
        self.recent: dict[bytes, int | None] = {}
        self.vectors: dict[int, pb.VectorRecord | None] = {}
        self.redirects: dict[str, pb.Redirect | None] = {}
        self.forgotten: dict[str, pb.Forgotten] = {}
        self.counted: dict[str, int] = {}

    def find_image(self, image_id: str) -> pb.ImageRecord | None:
        """The record of an image, or None where there is none, or none any more."""
        if image_id not in self.images:
            self.images[image_id] = self.store.image(image_id)
        return self.images[image_id]

    def image(self, image_id: str) -> pb.ImageRecord:
        """The record of an image.

        Raises:
            InvariantBroken: there is none.
        """
        found = self.find_image(image_id)
        if found is None:
            raise InvariantBroken(f"image {image_id!r} is to be rearranged and has no record")
        return found

    def find_cluster(self, head: str) -> pb.ClusterRecord | None:
        """The record of a cluster, or None where there is none, or none any more."""
        if head not in self.clusters:
            self.clusters[head] = self.store.find_cluster(head)
        return self.clusters[head]

    def cluster(self, head: str) -> pb.ClusterRecord:
        """The record of a cluster.

        Raises:
            InvariantBroken: there is none.
        """
        found = self.find_cluster(head)
        if found is None:
            raise InvariantBroken(f"{head!r} is to be rearranged and heads no cluster")
        return found

    def member_at(self, key: bytes) -> str | None:
        """The image that an edge lists; None where there is no such edge."""
        listed = self.listed.get(key)
        return self.store.member_at(key) if listed is None and key not in self.unlisted else listed

    def members(self, head: str) -> Iterator[tuple[int, str]]:
        """Every member of a cluster with its sequence: those that stay in order, then those that come."""
        for sequence, member in self.store.all_members(head):
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
        """Remove the edge of an image, which is the one its record names.

        Raises:
            InvariantBroken: the store has no such edge, or another image's.
        """
        record = self.image(image_id)
        key = layout.sequence_key(record.head, listed_under(record))
        found = self.member_at(key)
        if found != image_id:
            raise InvariantBroken(
                f"image {image_id!r} is not among the members of its head {record.head!r}"
                f"{f', {found!r} has its place' if found else ''}: `neardup doctor` shows what is damaged"
            )
        if self.listed.pop(key, None) is None:
            self.unlisted[key] = image_id

    def write(self, batch: Batch, state: pb.StoreState) -> None:
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
    """What edges contribute to the state digest."""
    return sum(layout.assignment_digest(member, layout.id_of(key)) for key, member in edges.items())


def _put_or_delete(batch: Batch, table: Table, key: bytes, value: bytes | None) -> None:
    if value is None:
        batch.delete(table, key)
    else:
        batch.put(table, key, value)
