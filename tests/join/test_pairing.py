"""Claims about the join."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.join.pairing import UNPAIRED_OVERHEAD_BYTES, Pairing, UnpairedEmbedding
from neardup_platform.records import Embedding, Kind


def half(image_id: str, kind: Kind, time_ms: int = 1_000, version: str = "v1") -> Embedding:
    return Embedding(image_id, kind, version, np.ones(2, np.float32), time_ms)


MB = 1 << 20


def room(**changes: int) -> Pairing[str]:
    return Pairing(["p"], **{"lateness_ms": 100, "max_waiting": 10, "max_bytes": MB} | changes)


def test_the_second_embedding_completes_the_image_in_either_order() -> None:
    for first in Kind:
        waiting = room()
        assert waiting.offer(half("a", first), "x", "p").image is None
        offer = waiting.offer(half("a", first.other), "y", "p")
        assert offer.image is not None
        assert (offer.image.lsh.kind, offer.image.pair.kind) == (Kind.LSH, Kind.PAIR)
        assert offer.partner is not None
        assert offer.partner.origin == "x"
        assert len(waiting) == 0


def test_a_newer_embedding_of_the_same_kind_replaces_the_waiting_one() -> None:
    waiting = room()
    waiting.offer(half("a", Kind.LSH, version="old"), "x", "p")
    offer = waiting.offer(half("a", Kind.LSH, version="new"), "y", "p")
    assert offer.replaced is not None
    assert offer.replaced.origin == "x"
    image = waiting.offer(half("a", Kind.PAIR), "z", "p").image
    assert image is not None
    assert image.lsh.model_version == "new"


def test_an_embedding_expires_once_the_watermark_has_advanced_by_more_than_the_lateness() -> None:
    waiting = room()
    waiting.advance("p", 1_000)
    waiting.offer(half("a", Kind.LSH, 1_000), "x", "p")
    waiting.advance("p", 1_100)
    assert waiting.expire() == []
    waiting.advance("p", 1_101)
    assert [h.origin for h in waiting.expire()] == ["x"]
    assert waiting.offer(half("a", Kind.PAIR), "y", "p").image is None


def test_slowest_partition_holds_back_expiry() -> None:
    waiting: Pairing[str] = Pairing(["fast", "slow"], 100, 10, MB)
    waiting.advance("fast", 1_000)
    waiting.offer(half("a", Kind.LSH, 1_000), "x", "fast")
    waiting.advance("fast", 1_000_000)
    assert waiting.expire() == []
    waiting.advance("slow", 2_000)
    assert len(waiting.expire()) == 1


def test_an_embedding_older_than_the_watermark_still_gets_its_full_lateness() -> None:
    waiting = room()
    waiting.advance("p", 1_000_000)
    waiting.offer(half("old", Kind.LSH, 5), "x", "p")
    assert waiting.expire() == []
    waiting.advance("p", 1_000_101)
    assert len(waiting.expire()) == 1


def test_the_oldest_embedding_is_evicted_when_the_room_is_full() -> None:
    waiting = room(max_waiting=2)
    for time_ms, name in ((1, "c"), (2, "a"), (3, "b")):
        waiting.advance("p", time_ms)
        waiting.offer(half(name, Kind.LSH, time_ms), name, "p")
    assert [h.origin for h in waiting.evict()] == ["c"]
    assert len(waiting) == 2


def test_restored_embeddings_keep_waiting() -> None:
    restored = UnpairedEmbedding(half("a", Kind.LSH), "x", 1_000)
    waiting = Pairing(["p"], 100, 10, MB, [restored])
    assert waiting.offer(half("a", Kind.PAIR), "y", "p").image is not None


def test_an_earlier_embedding_does_not_replace_the_waiting_one() -> None:
    waiting = room()
    waiting.offer(half("a", Kind.LSH, 2_000, "newer"), "x", "p")
    offer = waiting.offer(half("a", Kind.LSH, 1_000, "older"), "y", "p")
    assert (offer.entered, offer.replaced and offer.replaced.origin) == (None, "y")
    image = waiting.offer(half("a", Kind.PAIR), "z", "p").image
    assert image is not None
    assert image.lsh.model_version == "newer"


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=30), st.data())
def test_how_far_one_topic_is_read_before_the_other_makes_no_embedding_late(
    times: list[int], data: st.DataObject
) -> None:
    """Event times in any disorder, as of producers hours behind one another, as long as it is that of both topics."""
    waiting: Pairing[str] = Pairing(list(Kind), 100, 100, MB)
    unread = {kind: list(enumerate(times)) for kind in Kind}
    joined = set()
    for kind in data.draw(st.permutations([kind for kind in Kind for _ in times])):
        number, time_ms = unread[kind].pop(0)
        waiting.advance(kind, time_ms)
        image = waiting.offer(half(str(number), kind, time_ms), "x", kind).image
        joined |= {image.image_id} if image else set()
        assert waiting.expire() == []
    assert len(joined) == len(times)


def test_room_is_bounded_by_bytes() -> None:
    waiting = room(max_bytes=3 * (UNPAIRED_OVERHEAD_BYTES + 8 + 500))
    for time_ms in range(1, 6):
        waiting.advance("p", time_ms)
        waiting.offer(half(f"i{time_ms}", Kind.LSH, time_ms), f"{time_ms}", "p", 500)
    assert [h.origin for h in waiting.evict()] == ["1", "2"]
    assert waiting.bytes == 3 * (UNPAIRED_OVERHEAD_BYTES + 8 + 500)


def test_embeddings_that_left_take_no_memory_even_while_time_stands_still() -> None:
    waiting = room()
    for number in range(5_000):
        for kind in Kind:
            waiting.offer(half(f"i{number}", kind), "x", "p")
    assert len(waiting) == waiting.bytes == 0
    assert len(waiting._by_time) <= 1_001


def test_partition_that_appears_later_does_not_set_the_watermark_back() -> None:
    waiting = room()
    waiting.advance("p", 5_000)
    waiting.advance("new", 10)
    assert waiting.watermark_ms == 5_000


Arrival = tuple[str, Kind, int]
ARRIVALS = st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from(list(Kind)), st.integers(1, 500)), max_size=60)


@given(ARRIVALS)
def test_every_embedding_is_joined_replaced_expired_evicted_or_waiting(arrivals: list[Arrival]) -> None:
    waiting = room(max_waiting=3, max_bytes=4 * UNPAIRED_OVERHEAD_BYTES)
    joined = replaced = given_up = 0
    for image_id, kind, time_ms in arrivals:
        waiting.advance("p", time_ms)
        offer = waiting.offer(half(image_id, kind, time_ms), "x", "p")
        joined += 2 * (offer.image is not None)
        replaced += offer.replaced is not None
        given_up += len(waiting.expire()) + len(waiting.evict())
        assert len(waiting) <= 3
        assert waiting.bytes <= 4 * UNPAIRED_OVERHEAD_BYTES
    assert joined + replaced + given_up + len(waiting) == len(arrivals)


@given(st.data(), st.sets(st.sampled_from("abcdefgh")), st.sets(st.sampled_from("abcdefgh")))
def test_order_and_repeats_do_not_change_what_is_joined(data: st.DataObject, lsh: set[str], pair: set[str]) -> None:
    """While no embedding is later than allowed: in every order of arrival, with any number of repeats."""
    once = [(i, Kind.LSH) for i in lsh] + [(i, Kind.PAIR) for i in pair]
    repeats = data.draw(st.lists(st.sampled_from(once), max_size=20)) if once else []
    times = {each: data.draw(st.integers(1_000, 1_100)) for each in once}
    waiting = room(max_waiting=100)
    joined: set[str] = set()
    for image_id, kind in data.draw(st.permutations(once + repeats)):
        waiting.advance("p", times[image_id, kind])
        if image_id in joined:
            continue  # what was joined is known to the store and never offered again
        offer = waiting.offer(half(image_id, kind, times[image_id, kind]), "x", "p")
        joined |= {offer.image.image_id} if offer.image else set()
        assert waiting.expire() == []
    assert joined == lsh & pair
    assert {half_id for _, half_id in waiting._waiting} == lsh ^ pair


@given(ARRIVALS, st.integers(1, 3), st.integers(2, 8))
def test_giving_up_in_steps_gives_up_the_same_in_the_same_order(arrivals: list[Arrival], part: int, most: int) -> None:
    def run(part: int) -> list[str]:
        waiting: Pairing[str] = Pairing(["p", "q"], 100, most, MB)
        for number, (image_id, kind, time_ms) in enumerate(arrivals):
            waiting.advance("pq"[number % 2], time_ms)
            waiting.offer(half(image_id, kind, time_ms), str(number), "pq"[number % 2])
        gone = []
        while waiting.overdue:
            given_up = [*waiting.expire(part), *waiting.evict(part)]
            assert 0 < len(given_up) <= 2 * part
            gone += [each.origin for each in given_up]
        return gone

    assert run(part) == run(1_000)


@given(ARRIVALS, st.sets(st.integers(0, 59)), st.integers(2, 8))
def test_restart_at_any_point_changes_nothing(arrivals: list[Arrival], restarts: set[int], most: int) -> None:
    def run(restarts: set[int]) -> list[tuple[object, ...]]:
        waiting: Pairing[str] = Pairing(["p", "q"], 100, most, MB)
        told: list[tuple[object, ...]] = []
        for number, (image_id, kind, time_ms) in enumerate(arrivals):
            if number in restarts:
                restored = sorted(waiting._waiting.values(), key=lambda h: h.key)
                clocks = {p: waiting.clock_ms(p) for p in ("p", "q")}
                waiting = Pairing(["p", "q"], 100, most, MB, restored, clocks)
            waiting.advance("pq"[number % 2], time_ms)
            image = waiting.offer(half(image_id, kind, time_ms), str(number), "pq"[number % 2]).image
            gone = [h.origin for h in waiting.expire()], [h.origin for h in waiting.evict()]
            told.append((image and (image.lsh.event_time_ms, image.pair.event_time_ms), *gone, waiting.watermark_ms))
        return told

    assert run(restarts) == run(set())


def test_a_removed_partition_no_longer_holds_the_watermark() -> None:
    pairing = Pairing[str](["p", "q"], 100, 10, MB)
    pairing.advance("p", 5_000)
    pairing.advance("q", 1_000)
    pairing.offer(half("a", Kind.LSH), "x", "q")
    assert pairing.watermark_ms == 1_000
    pairing.drop_partition("q")
    assert pairing.watermark_ms == 5_000
    assert [waiting.key for waiting in pairing.expire()] == [(Kind.LSH, "a")]


def test_a_new_partition_holds_the_watermark() -> None:
    pairing = room()
    pairing.advance("p", 5_000)
    pairing.add_partition("q")
    assert pairing.watermark_ms == 5_000
    pairing.advance("p", 9_000)
    assert pairing.watermark_ms == 5_000
    pairing.advance("q", 8_000)
    assert pairing.watermark_ms == 8_000
