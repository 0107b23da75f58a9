"""Pair vectors for the search by example come from the store that its corpus was read from, and from no other."""

from contextlib import closing
from pathlib import Path

import pytest

from neardup_platform.errors import ServerUnavailable
from neardup_platform.serving.followed_pairs import FollowedPairs
from neardup_platform.serving.rocksdb_follower import StoreFollower
from neardup_platform.testing import InMemoryWorker, eventually, families

IMAGES = families(3, 2)


def test_pair_vectors_are_read_from_the_store_of_the_corpus_alone(tmp_path: Path) -> None:
    with closing(InMemoryWorker(tmp_path)) as worker:
        worker.decide(IMAGES)
        source = worker.store.state().store_id
        follower = StoreFollower(tmp_path / "store", tmp_path, 50)
        follower.start()
        with closing(follower):
            eventually(lambda: follower.is_open, lambda: follower.problem)
            pairs = FollowedPairs(follower, source)
            expected = [image.pair.vector.astype("<f2").tobytes() for image in IMAGES]
            assert pairs.ordinals() == len(IMAGES)
            assert pairs.pairs([2, len(IMAGES), 0]) == [expected[2], None, expected[0]]
            for ask in (lambda: FollowedPairs(follower, "another").pairs([0]), FollowedPairs(follower, "").ordinals):
                with pytest.raises(ServerUnavailable, match="another store is active"):
                    ask()
