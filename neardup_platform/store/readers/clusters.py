"""Reads clusters: their records, members and redirects."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from neardup_platform.errors import NotFound
from neardup_platform.store import layout
from neardup_platform.store.layout import Table
from neardup_platform.store.readers.images import ImageReader
from neardup_platform.store.store_pb2 import ClusterRecord, Redirect
from neardup_platform.store.tables import Tables


class ClusterReader:
    """Cluster records by head, and which clusters changed last."""

    def __init__(self, tables: Tables, images: ImageReader) -> None:
        self._tables = tables
        self._images = images

    def find(self, head: str) -> ClusterRecord | None:
        """Return the record of a cluster; None if `head` heads none."""
        return self.find_many([head])[0]

    def find_many(self, heads: list[str]) -> list[ClusterRecord | None]:
        """Like `find`, for many heads, in their order."""
        found = self._tables.get_many(Table.CLUSTERS, [head.encode() for head in heads])
        return [ClusterRecord.FromString(data) if data is not None else None for data in found]

    def get(self, head: str) -> ClusterRecord:
        """Return the record of a cluster.

        Raises:
            NotFound: `head` heads no cluster.
        """
        found = self.find(head)
        if found is None:
            image = self._images.find(head)
            hint = f"it is a member of {image.head!r}" if image else "no such image has been decided"
            raise NotFound(f"{head!r} heads no cluster: {hint}")
        return found

    def exists(self, head: str) -> bool:
        """Return whether `head` heads a cluster now."""
        return self._tables.get(Table.CLUSTERS, head.encode()) is not None

    def all(self) -> Iterator[tuple[str, ClusterRecord]]:
        """Yield every head with the record of its cluster, in order of head."""
        for key, value in self._tables.scan(Table.CLUSTERS):
            yield key.decode(), ClusterRecord.FromString(value)

    def recent(self, limit: int) -> list[str]:
        """Return the heads of the clusters of two or more that changed last, newest first."""
        found: list[str] = []
        for _, block in groupby(self._tables.scan(Table.RECENT), lambda row: layout.recent_block(row[0])):
            by_sequence = sorted(block, key=lambda row: row[1], reverse=True)
            found += [layout.recent_head(key) for key, _ in by_sequence]
            if len(found) >= limit:
                break
        return found[:limit]

    def changed_in(self, block: int) -> list[tuple[str, int]]:
        """Return the clusters of two or more whose last change is in a block of `RECENT_BLOCK` sequences.

        Returns:
            Head and sequence of the change, in order of head; no more rows than there are sequences, or few more.
        """
        prefix = layout.recent_prefix(block)
        rows = self._tables.scan(Table.RECENT, prefix, prefix)
        return [(layout.recent_head(key), layout.number_of(value)) for key, value in rows]

    def recent_at(self, key: bytes) -> int | None:
        """Return the sequence that a key of table RECENT holds, or None."""
        data = self._tables.get(Table.RECENT, key)
        return None if data is None else layout.number_of(data)


@dataclass(frozen=True, slots=True)
class Page:
    """Some members of a cluster, oldest first. `cursor` continues after the last one; None at the end."""

    image_ids: tuple[str, ...]
    cursor: int | None


class MemberReader:
    """Members by head, in the order they joined."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def page(self, head: str, limit: int, cursor: int | None = None) -> Page:
        """Return a page of members. Reads `limit` + 1 keys, however large the cluster is."""
        start = layout.sequence_key(head, 0 if cursor is None else cursor + 1)
        found: list[tuple[int, str]] = []
        for key, value in self._tables.scan(Table.MEMBERS, layout.id_prefix(head), start):
            if len(found) == limit:
                return Page(tuple(image_id for _, image_id in found), found[-1][0])
            found.append((layout.number_of(key), value.decode()))
        return Page(tuple(image_id for _, image_id in found), None)

    def all(self, head: str) -> Iterator[tuple[int, str]]:
        """Yield every member with the sequence it is listed under."""
        prefix = layout.id_prefix(head)
        for key, value in self._tables.scan(Table.MEMBERS, prefix, prefix):
            yield layout.number_of(key), value.decode()

    def at(self, key: bytes) -> str | None:
        """Return the image that a key of table MEMBERS lists, or None."""
        return self.at_many([key])[0]

    def at_many(self, keys: list[bytes]) -> list[str | None]:
        """Like `at`, for many keys."""
        return [None if data is None else data.decode() for data in self._tables.get_many(Table.MEMBERS, keys)]


class RedirectReader:
    """Where clusters went whose head has changed, by previous head."""

    def __init__(self, tables: Tables, clusters: ClusterReader) -> None:
        self._tables = tables
        self._clusters = clusters

    def find(self, head: str) -> Redirect | None:
        """Return the redirect from a previous head, or None."""
        return self.find_many([head])[0]

    def find_many(self, heads: list[str]) -> list[Redirect | None]:
        """Like `find`, for many heads."""
        found = self._tables.get_many(Table.REDIRECTS, [layout.hash_key(head) for head in heads])
        return [Redirect.FromString(data) if data is not None else None for data in found]

    def resolve_at(self, head: str, at_ms: int) -> str:
        """Follow the redirects made by a time, Unix milliseconds: the head that a cluster had then.

        A redirect from an id that heads a cluster again is gone, so for the time in between the answer is that id.
        """
        then = head
        while (found := self.find(then)) is not None and found.at_ms <= at_ms:
            then = found.head
        return then

    def resolve(self, head: str) -> str:
        """Follow redirects to the current head; return `head` itself if they lead nowhere."""
        now = head
        while not self._clusters.exists(now):
            found = self.find(now)
            if found is None:
                return head
            now = found.head
        return now
