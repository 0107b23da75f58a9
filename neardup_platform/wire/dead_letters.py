"""Dead letters: the reason, the place and the original bytes of a message, so that it can be fixed and replayed. Pure.

Every message fits, however large. A key and value of more than `PART_BYTES` are split into parts with one event id,
because a letter around the largest message of a topic would not fit into another topic with the same limit.
"""

import hashlib
from collections.abc import Iterable, Iterator

from neardup_platform.errors import BadMessage
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import Message

# Plus a few hundred bytes of its own, this is below the smallest `kafka.max_message_bytes` allowed.
PART_BYTES = 48 * 1024
# A letter has the key of its original, so that letters of one image stay in order, unless the key is longer.
_MAX_KEY_BYTES = 1_024
_MAX_DETAIL_CHARACTERS = 2_000


def dead_letters(message: Message, error: BadMessage, at_ms: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and value of the dead letters for a message; nearly always one.

    Args:
        at_ms: the clock, Unix milliseconds.
    """
    event_id = hashlib.blake2b(f"{message.identity}/{error.reason}".encode(), digest_size=16).hexdigest()
    letter_key = message.key if len(message.key) <= _MAX_KEY_BYTES else event_id.encode()
    parts = list(_cut(message.key, message.value))
    for number, (key, value) in enumerate(parts):
        letter = pb.DeadLetter(
            event_id=event_id,
            reason=error.reason,
            detail=error.detail[:_MAX_DETAIL_CHARACTERS],
            topic=message.topic,
            partition=message.partition,
            offset=message.offset,
            key=key,
            value=value,
            at_ms=at_ms,
            replays=message.replays,
            part=number,
            parts=len(parts) if len(parts) > 1 else 0,
        )
        yield letter_key, letter.SerializeToString()


def _cut(key: bytes, value: bytes) -> Iterator[tuple[bytes, bytes]]:
    for begin in range(0, max(1, len(key) + len(value)), PART_BYTES):
        of_key = key[begin : begin + PART_BYTES]
        at = max(0, begin - len(key))
        yield of_key, value[at : at + PART_BYTES - len(of_key)]


def joined(parts: Iterable[pb.DeadLetter]) -> pb.DeadLetter:
    """Join the parts of a letter, given in any order."""
    ordered = sorted(parts, key=lambda part: part.part)
    whole = pb.DeadLetter()
    whole.CopyFrom(ordered[0])
    whole.key = b"".join(part.key for part in ordered)
    whole.value = b"".join(part.value for part in ordered)
    whole.part = whole.parts = 0
    return whole
