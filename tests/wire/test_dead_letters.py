"""Claims about dead letters."""

from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.errors import BadMessage
from neardup_platform.settings import KafkaSettings
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import Log, Message
from neardup_platform.wire.dead_letters import PART_BYTES, dead_letters, joined
from neardup_platform.wire.replays import HEADER, replay_headers, replays_of

SMALLEST_LIMIT = KafkaSettings.model_fields["max_message_bytes"].metadata[0].ge


def letters(message: Message, detail: str = "why") -> list[tuple[bytes, bytes]]:
    return list(dead_letters(message, BadMessage("garbage", detail), 9))


def test_letter_keeps_place_reason_and_original_bytes() -> None:
    ((key, value),) = letters(Message("neardup.embeddings.lsh", 2, 77, b"cat 1", b"\xff", replays=2))
    letter = pb.DeadLetter.FromString(value)
    assert key == b"cat 1"
    assert (letter.topic, letter.partition, letter.offset) == ("neardup.embeddings.lsh", 2, 77)
    assert (letter.value, letter.key, letter.reason, letter.detail) == (b"\xff", b"cat 1", "garbage", "why")
    assert letter.replays == 2


@given(
    st.integers(0, 3 * PART_BYTES),
    st.integers(0, 3 * PART_BYTES),
)
def test_any_message_fits_the_smallest_topic_and_comes_back_whole(key_bytes: int, value_bytes: int) -> None:
    original = Message("t", 0, 1, b"k" * key_bytes, bytes(range(256)) * (value_bytes // 256 + 1))
    written = letters(original, "w" * 100_000)
    assert all(len(key) + len(value) < SMALLEST_LIMIT - 1_024 for key, value in written)
    parts = [pb.DeadLetter.FromString(value) for _, value in reversed(written)]
    assert len({part.event_id for part in parts}) == 1
    whole = joined(parts)
    assert (whole.key, whole.value) == (original.key, original.value)


@given(st.one_of(st.none(), st.binary(max_size=12)))
def test_a_foreign_header_counts_as_no_replay(value: bytes | None) -> None:
    assert 0 <= replays_of([("other", b"7"), (HEADER, value)]) <= 9_999


def test_replays_are_counted_in_a_header() -> None:
    assert [replays_of(replay_headers(number)) for number in (1, 3, 12)] == [1, 3, 12]
    assert replays_of([]) == 0


def test_letters_from_one_place_in_a_recreated_topic_have_different_event_ids() -> None:
    error = BadMessage("garbage", "why")
    messages = [Message("t", 0, 4, b"k", b"v", log=log) for log in (Log(), Log("a" * 32, 0), Log("b" * 32, 0))]
    again = Message("t", 0, 4, b"k", b"v", log=Log("a" * 32, 3))
    ids = [pb.DeadLetter.FromString(dict(dead_letters(m, error, 1))[b"k"]).event_id for m in (*messages, again)]
    assert len(set(ids)) == 3
    assert ids[1] == ids[3]
