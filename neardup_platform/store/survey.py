"""Finds contradictions among the cluster tables. Reads only, and keeps in memory only what is wrong.

The record of an image says which cluster it is in, and is trusted: every answer was read from it, and it matches what
was last published about the image. Everything else follows from the records and is compared with them, table by table
in order of key. That takes memory for a few thousand records and one byte per image, and two key lookups per image.
Each finding takes about a kilobyte.

| trusted | derived |
|---|---|
| IMAGES: image → head | MEMBERS: one edge per image, under the sequence that its record names |
| | CLUSTERS: one per head; its size; representatives that are members |
| | RECENT: the clusters of two or more; REDIRECTS: none from a head; totals and digest |

The only error in a record itself is a head that heads no cluster. Its images go where a redirect from that head leads.
Without one they become a cluster of their own, headed by the oldest image in the term index, or else by the oldest.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from typing import TypeVar

from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table, listed_under
from neardup_platform.store.view import StoreView

_CHUNK = 2_048

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Finding:
    """One contradiction: its kind, and in words what it is and how it is repaired."""

    kind: str
    what: str


class Survey:
    """Checks every cluster table of a store that does not change meanwhile.

    Attributes:
        findings: what is wrong.
        moved: images whose head heads no cluster, with their new head.
        redirects: previous heads, with the head that each leads to from now on.
        unlisted: images whose edge is missing.
        stray: keys of edges that list an image in the wrong place.
        suspect: heads of clusters whose record must be rebuilt.
        empty: heads of cluster records without images.
        recent: keys in RECENT that are wrong.
        redirecting: keys of redirects from heads.
        images, clusters: the correct totals.
        ordinals, sequence: the least that these totals may be.
        digest: the correct digest.
        beyond_repair: contradictions that cannot be repaired.
    """

    def __init__(self, store: StoreView) -> None:
        self._store = store
        self.findings: list[Finding] = []
        self.moved: dict[str, str] = {}
        self.redirects: dict[str, str] = {}
        self.unlisted: list[str] = []
        self.stray: list[bytes] = []
        self.suspect: set[str] = set()
        self.empty: list[str] = []
        self.recent: list[bytes] = []
        self.redirecting: list[bytes] = []
        self.images = self.clusters = self.ordinals = self.sequence = 0
        self.beyond_repair: list[str] = []
        self._listed = self._digest = 0
        self._rehome(self._check_images())
        self._check_members()
        if self._listed != self.images:
            self._find_unlisted()
        self._check_clusters()
        self._check_recent()
        self.digest = layout.digest_after(bytes(16), self._digest)
        self._check_totals()

    def head_of(self, image_id: str, record: store_pb.ImageRecord) -> str:
        """Return the head that an image should have."""
        return self.moved.get(image_id, record.head)

    def is_correct(self, head: str, sequence: int, image_id: str, record: store_pb.ImageRecord | None) -> bool:
        """Return whether an edge is the one that its image should have."""
        return record is not None and (self.head_of(image_id, record), listed_under(record)) == (head, sequence)

    def _find(self, kind: str, what: str) -> None:
        self.findings.append(Finding(kind, what))

    def _check_images(self) -> dict[str, list[str]]:
        """Count the images, and return those whose head heads no cluster, by that head."""
        lost: dict[str, list[str]] = {}
        given = bytearray(self._store.state().ordinals)
        for part in _chunks(self._store.images.all()):
            named = list({record.head for image_id, record in part if record.head != image_id})
            records = zip(named, self._store.images.find_many(named) if named else [], strict=True)
            heads = {head for head, record in records if record is not None and record.head == head}
            for image_id, record in part:
                self.images += 1
                self.clusters += record.head == image_id
                self.ordinals = max(self.ordinals, record.ordinal + 1)
                given.extend(bytes(max(0, self.ordinals - len(given))))
                if given[record.ordinal]:
                    self.beyond_repair.append(f"image {image_id!r} has the ordinal {record.ordinal} of another")
                given[record.ordinal] = 1
                self.sequence = max(self.sequence, record.sequence, record.member_sequence)
                self._digest += layout.assignment_digest(image_id, record.head)
                if record.head != image_id and record.head not in heads:
                    lost.setdefault(record.head, []).append(image_id)
        return lost

    def _rehome(self, lost: dict[str, list[str]]) -> None:
        """Give another head to images whose head heads no cluster."""
        for named, images in sorted(lost.items()):
            new = self._redirect_target(named)
            if new is None and self._is_head(named):
                continue
            if new is None:
                new = self._oldest(images)
                self.clusters += 1
                self.redirects[named] = new
            for image_id in images:
                self.moved[image_id] = new
                self._digest += layout.assignment_digest(image_id, new) - layout.assignment_digest(image_id, named)
                self._find(
                    "orphan", f"image {image_id!r} is under {named!r}, which heads no cluster: it moves to {new!r}"
                )
        self.redirects = {old: new for old, new in self.redirects.items() if not self._is_head(old)}

    def _redirect_target(self, head: str) -> str | None:
        """Return the head that redirects lead to, or None."""
        seen: set[str] = set()
        while head not in seen:
            seen.add(head)
            found = self._store.redirects.find(head)
            if found is None:
                return None
            head = found.head
            if self._is_head(head):
                return head
        return None

    def _is_head(self, image_id: str) -> bool:
        record = self._store.images.find(image_id)
        return record is not None and self.head_of(image_id, record) == image_id

    def _oldest(self, images: list[str]) -> str:
        def age(image_id: str) -> tuple[bool, int, str]:
            record = self._store.images.find(image_id)
            vectors = None if record is None else self._store.vectors.find(record.ordinal)
            return vectors is None or vectors.retired, 0 if record is None else listed_under(record), image_id

        return min(images, key=age)

    def _check_members(self) -> None:
        """Compare edges with image records, and cluster records with both."""
        sizes: list[tuple[str, int]] = []
        for prefix, edges in groupby(self._store.scan(Table.MEMBERS), lambda row: row[0][:-8]):
            head, size = layout.id_of(prefix + bytes(8)), 0
            for part in _chunks(edges):
                ids = [member.decode() for _, member in part]
                for (key, _), image_id, record in zip(part, ids, self._store.images.find_many(ids), strict=True):
                    if self.is_correct(head, layout.number_of(key), image_id, record):
                        size += 1
                    else:
                        self._find_stray(head, key, image_id, record)
            self._listed += size
            sizes += [(head, size)] if size else []
            if len(sizes) >= _CHUNK:
                self._compare_clusters(sizes)
                sizes = []
        self._compare_clusters(sizes)

    def _find_stray(self, head: str, key: bytes, image_id: str, record: store_pb.ImageRecord | None) -> None:
        self.stray.append(key)
        self.suspect.add(head)
        if image_id in self.moved:
            return
        where = "is unknown" if record is None else f"is in that of {self.head_of(image_id, record)!r}"
        if record is not None and self.head_of(image_id, record) == head:
            where = "is listed there a second time"
        self._find("stray", f"the cluster of {head!r} lists image {image_id!r}, which {where}: the entry is removed")

    def _compare_clusters(self, sizes: list[tuple[str, int]]) -> None:
        clusters = [self._store.clusters.find(head) for head, _ in sizes]
        searched = list({i for cluster in clusters if cluster is not None for i in cluster.representatives})
        records = dict(zip(searched, self._store.images.find_many(searched) if searched else [], strict=True))
        for (head, size), cluster in zip(sizes, clusters, strict=True):
            if cluster is None:
                self._find_in(
                    head, "no-cluster", f"{head!r} heads {size} images without a cluster record: it is created"
                )
                continue
            if cluster.size != size:
                self._find_in(
                    head,
                    "size",
                    f"the cluster of {head!r} says it has {cluster.size} members and has {size}: corrected",
                )
            strangers = [i for i in cluster.representatives if not self._is_in(head, i, records[i])]
            twice = len(set(cluster.representatives)) != len(cluster.representatives)
            for stranger in strangers:
                if (record := records[stranger]) is not None:
                    self.suspect.add(self.head_of(stranger, record))
            if strangers or twice or head not in cluster.representatives:
                self._find_in(head, "searched", f"the cluster of {head!r} has wrong representatives: corrected")
            listed = self._store.clusters.recent_at(layout.recent_key(head, cluster.updated_sequence))
            if listed != cluster.updated_sequence and size > 1:
                self._find_in(
                    head, "recent", f"the cluster of {head!r} is missing among the recent changes: it is added"
                )

    def _is_in(self, head: str, image_id: str, record: store_pb.ImageRecord | None) -> bool:
        return record is not None and self.head_of(image_id, record) == head

    def _find_in(self, head: str, kind: str, what: str) -> None:
        self.suspect.add(head)
        self._find(kind, what)

    def _find_unlisted(self) -> None:
        for part in _chunks(self._store.images.all()):
            keys = [layout.sequence_key(self.head_of(i, record), listed_under(record)) for i, record in part]
            for (image_id, record), listed in zip(part, self._store.members.at_many(keys), strict=True):
                if listed != image_id:
                    head = self.head_of(image_id, record)
                    self.unlisted.append(image_id)
                    self.suspect.add(head)
                    if image_id not in self.moved:
                        self._find("unlisted", f"the cluster of {head!r} does not list image {image_id!r}: it is added")

    def _check_clusters(self) -> None:
        for part in _chunks(self._store.clusters.all()):
            heads = [head for head, _ in part]
            redirects = self._store.redirects.find_many(heads)
            for head, record, led in zip(heads, self._store.images.find_many(heads), redirects, strict=True):
                if record is None or self.head_of(head, record) != head:
                    self.empty.append(head)
                    self._find("empty", f"{head!r} heads no cluster and has a cluster record: it is removed")
                elif led:
                    self.redirecting.append(layout.hash_key(head))
                    self._find("redirect", f"{head!r} heads a cluster and redirects to another: removed")

    def _check_recent(self) -> None:
        empty = set(self.empty)
        for part in _chunks(self._store.scan(Table.RECENT)):
            for key, value in part:
                head, sequence = layout.recent_head(key), layout.number_of(value)
                cluster = None if head in empty else self._store.clusters.find(head)
                listed = None if cluster is None or cluster.size < 2 else cluster.updated_sequence
                if sequence != listed or key != layout.recent_key(head, sequence):
                    self.recent.append(key)
                    self._find(
                        "recent",
                        f"the recent changes list an outdated change of the cluster of {head!r}: removed",
                    )

    def _check_totals(self) -> None:
        state = self._store.state()
        for name, found, right in (
            ("images", state.images, state.images == self.images),
            ("clusters", state.clusters, state.clusters == self.clusters),
            ("ordinals", state.ordinals, state.ordinals >= self.ordinals),
            ("sequence", state.sequence, state.sequence >= self.sequence),
        ):
            if not right:
                self._find("totals", f"the store counts {found} {name}: there are {getattr(self, name)}")
        if state.digest != self.digest:
            self._find("digest", f"the digest {state.digest.hex()} is not that of the clusters, {self.digest.hex()}")


def _chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    rest = iter(items)
    while part := list(islice(rest, _CHUNK)):
        yield part
