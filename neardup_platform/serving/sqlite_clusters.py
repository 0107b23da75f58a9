"""The clusters of two or more images in the orders in which they are listed: a database that is thrown away.

The store has no order by size, because every image that joins would move its cluster there. So each API process keeps
sizes and times of change in a file of its own, about 160 bytes a cluster and 8 MB of memory, whatever their number
(docs/adr/0064). Heads are kept as UTF-8.

A page reads one index from where the page before ended. Where few clusters pass a filter that its order does not
begin with, it reads the index of the filter instead and sorts.
"""

import sqlite3
import threading
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from neardup_platform.serving.cluster_order import LEAST_SIZE, Listed, Place, Selection, Sort

# Fewer clusters than this are sorted for a page, which takes some ten milliseconds.
_SORTED = 20_000

_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA temp_store = MEMORY;
PRAGMA cache_size = -8192;
PRAGMA locking_mode = EXCLUSIVE;
CREATE TABLE clusters (head BLOB PRIMARY KEY, size INTEGER, changed_ms INTEGER, sequence INTEGER) WITHOUT ROWID;
CREATE INDEX by_size ON clusters (size, sequence, head, changed_ms);
CREATE INDEX by_change ON clusters (changed_ms, sequence, head, size);
CREATE TEMP TABLE inside (head BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TEMP TABLE outside (head BLOB PRIMARY KEY) WITHOUT ROWID;
"""
_PUT = """
INSERT INTO clusters VALUES (?, ?, ?, ?) ON CONFLICT (head)
DO UPDATE SET size = excluded.size, changed_ms = excluded.changed_ms, sequence = excluded.sequence
"""
_PLACE = {
    Sort.SIZE: "(size, sequence, clusters.head) < (?, ?, ?)",
    Sort.RECENT: "(changed_ms, sequence, clusters.head) < (?, ?, ?)",
    Sort.OLDEST: "(changed_ms, sequence, clusters.head) > (?, ?, ?)",
}
_ORDER = {
    Sort.SIZE: "size DESC, sequence DESC, clusters.head DESC",
    Sort.RECENT: "changed_ms DESC, sequence DESC, clusters.head DESC",
    Sort.OLDEST: "changed_ms, sequence, clusters.head",
}
_BY_SIZE, _BY_CHANGE = "clusters INDEXED BY by_size", "clusters INDEXED BY by_change"
_INSIDE = "DELETE FROM temp.inside", "INSERT INTO temp.inside VALUES (?)"
_OUTSIDE = "DELETE FROM temp.outside", "INSERT INTO temp.outside VALUES (?)"
_CHOSEN = "temp.inside CROSS JOIN clusters USING (head)"


class SqliteClusters:
    """A list of clusters; may be used by several threads.

    Args:
        path: of a file that is replaced.

    Every method raises:
        sqlite3.Error: the disk is full or broken.
    """

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.executescript(_TABLES)
        self._using = threading.Lock()

    def close(self) -> None:
        """Release the file."""
        with self._using:
            self._db.close()

    def put(self, clusters: Iterable[Listed]) -> None:
        """Add clusters, or bring them up to date."""
        # In order of head, so that neighbours are written together.
        rows = sorted((each.head.encode(), each.size, each.changed_ms, each.sequence) for each in clusters)
        self._change(_PUT, rows)

    def drop(self, clusters: Iterable[Listed]) -> None:
        """Remove clusters, unless they have changed meanwhile."""
        rows = [(each.head.encode(), each.sequence) for each in clusters]
        self._change("DELETE FROM clusters WHERE head = ? AND sequence = ?", rows)

    def page(
        self,
        selection: Selection,
        limit: int,
        after: Place | None = None,
        inside: Collection[str] | None = None,
        outside: Collection[str] = (),
    ) -> list[Listed]:
        """Return the first clusters of a selection, in its order.

        Args:
            limit: at most so many.
            after: only those after this place; None for all.
            inside: only those of these heads; None for all.
            outside: none of these heads.
        """
        with self._using:
            for statements, heads in ((_INSIDE, inside or ()), (_OUTSIDE, outside)):
                self._db.execute(statements[0])
                self._db.executemany(statements[1], [(head.encode(),) for head in heads])
            source = _CHOSEN if inside is not None else self._source(selection)
            asked = (
                f"SELECT clusters.head, size, changed_ms, sequence FROM {source} "  # noqa: S608 -- texts of this module
                f"WHERE {_PLACE[selection.sort]} AND {_filters(selection, source)} "
                f"AND clusters.head NOT IN temp.outside ORDER BY {_ORDER[selection.sort]} LIMIT ?"
            )
            values = (*(after or selection.before_first), *_bounds(selection), limit)
            rows = self._db.execute(asked, values).fetchall()
        return [Listed(head.decode(), size, changed_ms, sequence) for head, size, changed_ms, sequence in rows]

    def _source(self, selection: Selection) -> str:
        """The index to read: that of the order, or that of a filter which few clusters pass."""
        if selection.sort == Sort.SIZE:
            few = selection.since_ms > 0 and self._are_few(_BY_CHANGE, "changed_ms >= ?", selection.since_ms)
            return _BY_CHANGE if few else _BY_SIZE
        sizes = (selection.min_size, selection.max_size)
        few = sizes != (LEAST_SIZE, Selection().max_size) and self._are_few(_BY_SIZE, "size BETWEEN ? AND ?", *sizes)
        return _BY_SIZE if few else _BY_CHANGE

    def _are_few(self, source: str, condition: str, *values: int) -> bool:
        asked = f"SELECT count(*) FROM (SELECT 1 FROM {source} WHERE {condition} LIMIT {_SORTED})"  # noqa: S608 -- as above
        return int(self._db.execute(asked, values).fetchone()[0]) < _SORTED

    def _change(self, statement: str, rows: Sequence[tuple[bytes | int, ...]]) -> None:
        if not rows:
            return
        with self._using:
            self._db.execute("BEGIN")
            self._db.executemany(statement, rows)
            self._db.execute("COMMIT")


def _bounds(selection: Selection) -> tuple[int, int, int]:
    """The values of `_filters`."""
    return selection.min_size, selection.max_size, selection.since_ms


def _filters(selection: Selection, source: str) -> str:
    """The bounds as conditions.

    Of two conditions on the first column of an index SQLite would seek by the simple one and step through the rows that
    the place excludes. A plus sign keeps it from seeking by a condition.
    """
    by_place = _BY_SIZE if selection.sort == Sort.SIZE else _BY_CHANGE
    upper = "+size <= ?" if source == by_place else "size <= ?"
    since = "+changed_ms >= ?" if selection.sort == Sort.OLDEST else "changed_ms >= ?"
    return f"size >= ? AND {upper} AND {since}"
