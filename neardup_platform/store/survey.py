"""What contradicts itself among the tables of the clusters. Pure: it reads, and holds in memory only what is wrong.

An image's record says which cluster it is in, and is believed: it is what every answer was read from, and what was last
published of the image. Everything else follows from the records and is compared with them, table by table, in order of
key, with a few thousand records and a byte for each image in memory, and two key lookups for each image. What is wrong
takes about a kilobyte each.

| believed | follows |
|---|---|
| IMAGES: image → head | MEMBERS: one edge for each image, under the sequence that its record names |
| | CLUSTERS: one for each head; its size, and members only among those that are searched |
| | RECENT: the clusters of two or more; REDIRECTS: none of a head; totals and digest |

The one thing wrong with a record itself is a head that is none. Its images go where a redirect of that head leads; if
there is none, they are a cluster of their own, headed by the oldest that is searched, or else the oldest.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from typing import TypeVar

from neardup_platform.store import layout
from neardup_platform.store.layout import Table
from neardup_platform.store.view import StoreView, listed_under
from neardup_platform.wire import neardup_pb2 as pb

_CHUNK = 2_048

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: its kind, and in words what and how it is mended."""

    kind: str
    what: str


class Survey:
    """Goes through a store that stands still.

    Attributes:
        findings: what is wrong.
        moved: images under no head, with the head that they are to have.
        redirects: heads that were, with the ones they lead to from now on.
        unlisted: images whose edge is missing.
        stray: keys of edges that list an image where it is not.
        suspect: heads of clusters whose record has to be made again.
        empty: heads of cluster records that no image is under.
        recent: keys of the list of recent changes that name no such change.
        redirecting: keys of redirects of heads.
        images, clusters, ordinals, sequence: totals as they must be, the last two at least.
        digest: as it must be.
        beyond: what cannot be mended.
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
        self.beyond: list[str] = []
        self._listed = self._digest = 0
        self._house(self._go_through_images())
        self._go_through_members()
        if self._listed != self.images:
            self._find_unlisted()
        self._go_through_clusters()
        self._go_through_recent()
        self.digest = layout.digest_after(bytes(16), self._digest)
        self._compare_totals()

    def head_of(self, image_id: str, record: pb.ImageRecord) -> str:
        """The head that an image is to have."""
        return self.moved.get(image_id, record.head)

    def is_right(self, head: str, sequence: int, image_id: str, record: pb.ImageRecord | None) -> bool:
        """Whether an edge is the one that its image is to have."""
        return record is not None and (self.head_of(image_id, record), listed_under(record)) == (head, sequence)

    def _find(self, kind: str, what: str) -> None:
        self.findings.append(Finding(kind, what))

    def _go_through_images(self) -> dict[str, list[str]]:
        """Count, and return the images that are under no head, by what they name as such."""
        lost: dict[str, list[str]] = {}
        given = bytearray(self._store.state().ordinals)
        for part in _parts(self._store.all_images()):
            named = list({record.head for image_id, record in part if record.head != image_id})
            records = zip(named, self._store.images(named) if named else [], strict=True)
            heads = {head for head, record in records if record is not None and record.head == head}
            for image_id, record in part:
                self.images += 1
                self.clusters += record.head == image_id
                self.ordinals = max(self.ordinals, record.ordinal + 1)
                given.extend(bytes(max(0, self.ordinals - len(given))))
                if given[record.ordinal]:
                    self.beyond.append(f"image {image_id!r} has the ordinal {record.ordinal} of another")
                given[record.ordinal] = 1
                self.sequence = max(self.sequence, record.sequence, record.member_sequence)
                self._digest += layout.assignment_digest(image_id, record.head)
                if record.head != image_id and record.head not in heads:
                    lost.setdefault(record.head, []).append(image_id)
        return lost

    def _house(self, lost: dict[str, list[str]]) -> None:
        """Give the images that are under no head one."""
        for named, images in sorted(lost.items()):
            new = self._led_to(named)
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
                    "orphan", f"image {image_id!r} is under {named!r}, which heads no cluster: it goes to {new!r}"
                )
        self.redirects = {old: new for old, new in self.redirects.items() if not self._is_head(old)}

    def _led_to(self, head: str) -> str | None:
        """The head that redirects lead to from what was one; None where they lead to none."""
        seen: set[str] = set()
        while head not in seen:
            seen.add(head)
            found = self._store.redirect(head)
            if found is None:
                return None
            head = found.head
            if self._is_head(head):
                return head
        return None

    def _is_head(self, image_id: str) -> bool:
        record = self._store.image(image_id)
        return record is not None and self.head_of(image_id, record) == image_id

    def _oldest(self, images: list[str]) -> str:
        def age(image_id: str) -> tuple[bool, int, str]:
            record = self._store.image(image_id)
            vectors = None if record is None else self._store.find_vector(record.ordinal)
            return vectors is None or vectors.retired, 0 if record is None else listed_under(record), image_id

        return min(images, key=age)

    def _go_through_members(self) -> None:
        """Compare the edges with the records, and with these the clusters that have members."""
        sizes: list[tuple[str, int]] = []
        for prefix, edges in groupby(self._store.scan(Table.MEMBERS), lambda row: row[0][:-8]):
            head, size = layout.id_of(prefix + bytes(8)), 0
            for part in _parts(edges):
                ids = [member.decode() for _, member in part]
                for (key, _), image_id, record in zip(part, ids, self._store.images(ids), strict=True):
                    if self.is_right(head, layout.number_of(key), image_id, record):
                        size += 1
                    else:
                        self._find_stray(head, key, image_id, record)
            self._listed += size
            sizes += [(head, size)] if size else []
            if len(sizes) >= _CHUNK:
                self._compare_clusters(sizes)
                sizes = []
        self._compare_clusters(sizes)

    def _find_stray(self, head: str, key: bytes, image_id: str, record: pb.ImageRecord | None) -> None:
        self.stray.append(key)
        self.suspect.add(head)
        if image_id in self.moved:
            return
        where = "is not known" if record is None else f"is in that of {self.head_of(image_id, record)!r}"
        if record is not None and self.head_of(image_id, record) == head:
            where = "is listed there a second time"
        self._find("stray", f"the cluster of {head!r} lists image {image_id!r}, which {where}: it is taken off")

    def _compare_clusters(self, sizes: list[tuple[str, int]]) -> None:
        clusters = [self._store.find_cluster(head) for head, _ in sizes]
        searched = list({i for cluster in clusters if cluster is not None for i in cluster.representatives})
        records = dict(zip(searched, self._store.images(searched) if searched else [], strict=True))
        for (head, size), cluster in zip(sizes, clusters, strict=True):
            if cluster is None:
                self._suspect(head, "no-cluster", f"{head!r} heads {size} images and has no cluster: it is made")
                continue
            if cluster.size != size:
                self._suspect(
                    head, "size", f"the cluster of {head!r} says it has {cluster.size} members, and has {size}"
                )
            strangers = [i for i in cluster.representatives if not self._is_in(head, i, records[i])]
            twice = len(set(cluster.representatives)) != len(cluster.representatives)
            for stranger in strangers:
                if (record := records[stranger]) is not None:
                    self.suspect.add(self.head_of(stranger, record))
            if strangers or twice or head not in cluster.representatives:
                self._suspect(head, "searched", f"the cluster of {head!r} is not found by its own members: it will be")
            listed = self._store.recent_at(layout.recent_key(head, cluster.updated_sequence))
            if listed != cluster.updated_sequence and size > 1:
                self._suspect(
                    head, "recent", f"the cluster of {head!r} is missing among the recent changes: it is put in"
                )

    def _is_in(self, head: str, image_id: str, record: pb.ImageRecord | None) -> bool:
        return record is not None and self.head_of(image_id, record) == head

    def _suspect(self, head: str, kind: str, what: str) -> None:
        self.suspect.add(head)
        self._find(kind, what)

    def _find_unlisted(self) -> None:
        for part in _parts(self._store.all_images()):
            keys = [layout.sequence_key(self.head_of(i, record), listed_under(record)) for i, record in part]
            for (image_id, record), listed in zip(part, self._store.members_at(keys), strict=True):
                if listed != image_id:
                    head = self.head_of(image_id, record)
                    self.unlisted.append(image_id)
                    self.suspect.add(head)
                    if image_id not in self.moved:
                        self._find("unlisted", f"the cluster of {head!r} does not list image {image_id!r}: it will")

    def _go_through_clusters(self) -> None:
        for part in _parts(self._store.all_clusters()):
            heads = [head for head, _ in part]
            redirects = self._store.redirects_of(heads)
            for head, record, led in zip(heads, self._store.images(heads), redirects, strict=True):
                if record is None or self.head_of(head, record) != head:
                    self.empty.append(head)
                    self._find("empty", f"{head!r} has the record of a cluster and heads none: it is removed")
                elif led:
                    self.redirecting.append(layout.hash_key(head))
                    self._find("redirect", f"{head!r} heads a cluster and leads to another: it leads to none")

    def _go_through_recent(self) -> None:
        empty = set(self.empty)
        for part in _parts(self._store.scan(Table.RECENT)):
            for key, value in part:
                head, sequence = layout.recent_head(key), layout.number_of(value)
                cluster = None if head in empty else self._store.find_cluster(head)
                listed = None if cluster is None or cluster.size < 2 else cluster.updated_sequence
                if sequence != listed or key != layout.recent_key(head, sequence):
                    self.recent.append(key)
                    self._find(
                        "recent", f"a change of the cluster of {head!r} is listed that is not its last: it is removed"
                    )

    def _compare_totals(self) -> None:
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


def _parts(items: Iterable[Item]) -> Iterator[list[Item]]:
    rest = iter(items)
    while part := list(islice(rest, _CHUNK)):
        yield part
