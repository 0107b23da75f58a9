"""The pair vectors of the images of a store, for the tables of vectors: they have no copy of them."""

from collections.abc import Sequence

from neardup_platform.store.view import StoreView


class StoredPairs:
    """Reads pair vectors by ordinal; from any thread, as RocksDB does."""

    def __init__(self, store: StoreView) -> None:
        self._store = store

    def ordinals(self) -> int:
        """Return the ordinal that follows those of all commits."""
        return self._store.state().ordinals

    def pairs(self, ordinals: Sequence[int]) -> Sequence[bytes | None]:
        """Return pair vectors, float16, little-endian; None where there is no image."""
        return [None if record is None else record.pair for record in self._store.vectors.find_many(ordinals)]
