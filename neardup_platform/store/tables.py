"""Reads keys and values of one table from RocksDB, as bytes."""

from collections.abc import Iterator

from rocksdict import Rdict, ReadOptions

from neardup_platform.store import layout
from neardup_platform.store.layout import Table


class Tables:
    """The tables of one open database.

    Raw mode throughout: keys and values are the bytes of `layout.py`, nothing is ever pickled.

    Attributes:
        db: the database. A secondary replaces it when it reopens.
    """

    def __init__(self, db: Rdict) -> None:
        self.db = db

    def get(self, table: Table, key: bytes) -> bytes | None:
        """Return the value of a key, or None."""
        return self.get_many(table, [key])[0]

    def get_many(self, table: Table, keys: list[bytes]) -> list[bytes | None]:
        """Return the values of keys, in the order of the keys."""
        found: list[bytes | None] = self.db.get([table.value + key for key in keys])  # type: ignore[assignment]
        return found

    def scan(self, table: Table, prefix: bytes = b"", start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Yield the keys that begin with `prefix`, from `start` on, without the table's own prefix.

        The upper bound matters: without it RocksDB looks for the next live key past every deleted key of the next
        table.
        """
        bounds = ReadOptions()
        bounds.set_iterate_upper_bound(layout.after_prefix(table.value + prefix))
        pairs: Iterator[tuple[bytes, bytes]] = self.db.items(  # type: ignore[assignment]
            from_key=table.value + start, read_opt=bounds
        )
        for key, value in pairs:
            yield key[1:], value
