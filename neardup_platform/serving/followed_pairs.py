"""The pair vectors of a store that is followed, for the corpus that was read from it."""

from collections.abc import Sequence

from neardup_platform.errors import ServerUnavailable
from neardup_platform.serving.rocksdb_follower import StoreFollower
from neardup_platform.store.secondary import SecondaryStore
from neardup_platform.store.stored_pairs import StoredPairs


class FollowedPairs:
    """Reads pair vectors by ordinal; see `PairStore`.

    Args:
        follower: reads the store.
        source: id of the store that the ordinals belong to.

    All methods raise:
        ServerUnavailable: another store is active, or none.
    """

    def __init__(self, follower: StoreFollower, source: str) -> None:
        self._follower, self._source = follower, source

    def ordinals(self) -> int:
        """Returns the ordinal that follows those of all commits."""
        return self._follower.read(lambda store: self._checked(store).ordinals())

    def pairs(self, ordinals: Sequence[int]) -> Sequence[bytes | None]:
        """Returns pair vectors, float16, little-endian; None where there is no image."""
        return self._follower.read(lambda store: self._checked(store).pairs(ordinals))

    def _checked(self, store: SecondaryStore) -> StoredPairs:
        if store.state().store_id != self._source:
            raise ServerUnavailable("another store is active: the corpus of the search is being loaded again")
        return StoredPairs(store)
