"""Claims about the byte layout. Golden bytes protect existing stores."""

from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.records import Kind
from neardup_platform.store import layout

IDS = st.text(min_size=1, max_size=40)
U64 = st.integers(0, (1 << 64) - 1)


@given(IDS, U64, U64)
def test_members_of_a_head_sort_by_sequence(head: str, a: int, b: int) -> None:
    assert (layout.sequence_key(head, a) < layout.sequence_key(head, b)) == (a < b)


@given(IDS, IDS)
def test_no_id_is_a_prefix_of_another_ids_range(a: str, b: str) -> None:
    if a != b:
        assert not layout.sequence_key(b, 0).startswith(layout.id_prefix(a))


@given(U64, U64)
def test_blocks_of_recent_clusters_sort_newest_first(a: int, b: int) -> None:
    keys = [layout.recent_key("head", sequence) for sequence in (a, b)]
    blocks = [sequence // layout.RECENT_BLOCK for sequence in (a, b)]
    assert (keys[0] < keys[1]) == (blocks[0] > blocks[1])
    assert layout.recent_head(keys[0]) == "head"


@given(IDS, st.integers(0, (1 << 32) - 1))
def test_keys_decode_to_what_they_encode(name: str, number: int) -> None:
    assert layout.position_of(layout.position_key(name, number)) == (name, number)
    assert layout.number_of(layout.sequence_key(name, number)) == number


@given(st.lists(st.tuples(IDS, IDS), unique_by=lambda pair: pair[0]), st.randoms())
def test_digest_does_not_depend_on_order_or_on_removed_images(pairs: list, random: object) -> None:
    def digest(assignments: list) -> bytes:
        total = bytes(16)
        for image, head in assignments:
            total = layout.digest_after(total, layout.assignment_digest(image, head))
        return total

    shuffled = pairs.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert digest(shuffled) == digest(pairs)
    if pairs:
        without_last = layout.digest_after(digest(pairs), 0, layout.assignment_digest(*pairs[-1]))
        assert without_last == digest(pairs[:-1])


def test_golden_bytes() -> None:
    assert layout.sequence_key("ab", 258).hex() == "000261620000000000000102"
    assert layout.position_key("t", 3).hex() == "740000000003"
    assert layout.recent_key("ab", 1_025).hex() == "fffffffffffffffe6162"
    assert layout.waiting_key(Kind.PAIR, "é").hex() == "01c3a9"
    # printf 'a\\0b' | b2sum -l 128
    share = layout.assignment_digest("a", "b").to_bytes(16, "little").hex()
    assert share == "852635742d6eb30fdccb0e7c1b53d92f"
