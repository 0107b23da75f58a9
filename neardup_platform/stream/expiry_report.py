"""The report on embeddings that left the waiting room unpaired: one message for each step in which some did. Pure.

The dead letter of each embedding has its bytes. The report says how many there were, of which kind, and how late the
stream is. Where the names do not fit into a message, it says how many it leaves out (wire/fitting.py).
"""

import hashlib
from collections import Counter
from collections.abc import Sequence

from neardup_platform.join.pairing import UnpairedEmbedding
from neardup_platform.records import Kind
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import Message

NAMED_EMBEDDINGS = 1_000

_KIND_NUMBERS = {Kind.LSH: pb.KIND_LSH, Kind.PAIR: pb.KIND_PAIR}


def expiry_report(
    given_up: Sequence[tuple[UnpairedEmbedding[Message], str]], watermark_ms: int, lateness_ms: int, at_ms: int
) -> pb.ExpiryReport:
    """The report of one step.

    Args:
        given_up: at least one embedding, each with its reason, `expired` or `evicted`.
        watermark_ms: event time up to which every partition had been read, Unix milliseconds.
        at_ms: the clock, Unix milliseconds.
    """
    counts = Counter((unpaired.embedding.kind, reason) for unpaired, reason in given_up)
    times = [unpaired.embedding.event_time_ms for unpaired, _ in given_up]
    places = "/".join(f"{unpaired.origin.identity}:{reason}" for unpaired, reason in given_up)
    by_age = sorted(given_up, key=lambda each: (each[0].embedding.event_time_ms, each[0].key))
    return pb.ExpiryReport(
        event_id=hashlib.blake2b(places.encode(), digest_size=16).hexdigest(),
        at_ms=at_ms,
        watermark_ms=watermark_ms,
        lateness_ms=lateness_ms,
        counts=[
            pb.ExpiryCount(kind=_KIND_NUMBERS[kind], reason=reason, halves=halves)
            for (kind, reason), halves in sorted(counts.items())
        ],
        oldest_event_ms=min(times),
        newest_event_ms=max(times),
        halves=[_named(unpaired, reason) for unpaired, reason in by_age[:NAMED_EMBEDDINGS]],
        halves_left_out=max(0, len(by_age) - NAMED_EMBEDDINGS),
    )


def _named(unpaired: UnpairedEmbedding[Message], reason: str) -> pb.ExpiredHalf:
    return pb.ExpiredHalf(
        image_id=unpaired.embedding.image_id,
        kind=_KIND_NUMBERS[unpaired.embedding.kind],
        reason=reason,
        topic=unpaired.origin.topic,
        partition=unpaired.origin.partition,
        offset=unpaired.origin.offset,
        event_time_ms=unpaired.embedding.event_time_ms,
    )
