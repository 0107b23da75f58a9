"""Claims about the join."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.join.pairing import Half, Pairing
from neardup_platform.records import Embedding, Kind


def half(image_id: str, kind: Kind, time_ms: int = 1_000, version: str = "v1") -> Embedding:
    return Embedding(image_id, kind, version, np.ones(2, np.float32), time_ms)


def room(**changes: int) -> Pairing[str]:
    return Pairing(["p"], **{"lateness_ms": 100, "max_waiting": 10} | changes)


def test_second_half_completes_the_image_whichever_comes_first() -> None:
    for first in Kind:
        waiting = room()
        assert waiting.offer(half("a", first), "x").image is None
        offer = waiting.offer(half("a", first.other), "y")
        assert offer.image is not None
        assert (offer.image.lsh.kind, offer.image.pair.kind) == (Kind.LSH, Kind.PAIR)
        assert offer.partner is not None
        assert offer.partner.origin == "x"
        assert len(waiting) == 0


def test_newer_half_of_the_same_kind_replaces_the_waiting_one() -> None:
    waiting = room()
    waiting.offer(half("a", Kind.LSH, version="old"), "x")
    offer = waiting.offer(half("a", Kind.LSH, version="new"), "y")
    assert offer.replaced is not None
    assert offer.replaced.origin == "x"
    image = waiting.offer(half("a", Kind.PAIR), "z").image
    assert image is not None
    assert image.lsh.model_version == "new"


def test_half_expires_once_the_watermark_has_moved_on_by_more_than_the_lateness() -> None:
    waiting = room()
    waiting.offer(half("a", Kind.LSH, 1_000), "x")
    waiting.advance("p", 1_100)
    assert waiting.expire() == []
    waiting.advance("p", 1_101)
    assert [h.origin for h in waiting.expire()] == ["x"]
    assert waiting.offer(half("a", Kind.PAIR), "y").image is None


def test_slowest_partition_holds_back_expiry() -> None:
    waiting: Pairing[str] = Pairing(["fast", "slow"], 100, 10)
    waiting.offer(half("a", Kind.LSH, 1_000), "x")
    waiting.advance("fast", 1_000_000)
    assert waiting.expire() == []
    waiting.advance("slow", 2_000)
    assert len(waiting.expire()) == 1


def test_half_older_than_the_watermark_still_gets_its_full_lateness() -> None:
    waiting = room()
    waiting.advance("p", 1_000_000)
    waiting.offer(half("old", Kind.LSH, 5), "x")
    assert waiting.expire() == []
    waiting.advance("p", 1_000_101)
    assert len(waiting.expire()) == 1


def test_oldest_half_is_evicted_when_the_room_is_full() -> None:
    waiting = room(max_waiting=2)
    for time_ms, name in ((3, "c"), (1, "a"), (2, "b")):
        waiting.offer(half(name, Kind.LSH, time_ms), name)
    assert [h.origin for h in waiting.evict()] == ["a"]
    assert len(waiting) == 2


def test_restored_halves_wait_on() -> None:
    restored = Half(half("a", Kind.LSH), "x", 1_000)
    waiting = Pairing(["p"], 100, 10, [restored])
    assert waiting.offer(half("a", Kind.PAIR), "y").image is not None


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(list(Kind)), st.integers(1, 500)), max_size=60))
def test_every_half_is_joined_replaced_expired_evicted_or_waiting(
    arrivals: list[tuple[str, Kind, int]],
) -> None:
    waiting = room(max_waiting=3)
    joined = replaced = given_up = 0
    for image_id, kind, time_ms in arrivals:
        waiting.advance("p", time_ms)
        offer = waiting.offer(half(image_id, kind, time_ms), "x")
        joined += 2 * (offer.image is not None)
        replaced += offer.replaced is not None
        given_up += len(waiting.expire()) + len(waiting.evict())
        assert len(waiting) <= 3
    assert joined + replaced + given_up + len(waiting) == len(arrivals)
