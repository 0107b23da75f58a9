"""Reads the dead-letter topic: each letter once, with the parts of large letters joined."""

import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace

from google.protobuf.message import DecodeError

from neardup_platform.kafka.window import OffsetRange, offset_ranges, open_consumer, read_range
from neardup_platform.settings import KafkaSettings
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.dead_letters import joined
from neardup_platform.wire.topics import DEAD_LETTER

# Letters are republished only shortly after their first publication, and parts are adjacent.
_REMEMBERED_IDS = 100_000
_INCOMPLETE = 64
_FOREVER_MS = 10 * 365 * 86_400_000


class Letters:
    """The letters published since a time, up to now; each once and complete, however often `read` is called.

    Args:
        since_ms: Unix milliseconds.
        behind: by partition, the first offset to read; the `ends` of an earlier instance.
    """

    def __init__(self, settings: KafkaSettings, since_ms: int, behind: Mapping[int, int] | None = None) -> None:
        self._settings = settings
        with closing(open_consumer(settings)) as consumer:
            end_ms = time.time_ns() // 1_000_000 + _FOREVER_MS
            found = offset_ranges(consumer, DEAD_LETTER, max(0, since_ms), end_ms)
        first = behind or {}
        self._ranges: tuple[OffsetRange, ...] = tuple(
            replace(each, first=min(each.next, max(each.first, first.get(each.partition, 0)))) for each in found
        )

    @property
    def ends(self) -> dict[int, int]:
        """The offset after the last letter, by partition."""
        return {each.partition: each.next for each in self._ranges}

    def read(self) -> Iterator[pb.DeadLetter]:
        """Yield the letters in the order of the topic."""
        seen: OrderedDict[str, None] = OrderedDict()
        incomplete: OrderedDict[str, dict[int, pb.DeadLetter]] = OrderedDict()
        with closing(open_consumer(self._settings)) as consumer:
            for wanted in self._ranges:
                for records in read_range(consumer, DEAD_LETTER, wanted):
                    for record in records:
                        letter = _complete(record.value, incomplete)
                        if letter is None or letter.event_id in seen:
                            continue
                        seen[letter.event_id] = None
                        if len(seen) > _REMEMBERED_IDS:
                            seen.popitem(last=False)
                        yield letter


def _complete(value: bytes, incomplete: OrderedDict[str, dict[int, pb.DeadLetter]]) -> pb.DeadLetter | None:
    """The letter of a record; None for garbage, and for all but the last part of a large letter."""
    try:
        letter = pb.DeadLetter.FromString(value)
    except DecodeError:
        return None
    if letter.parts <= 1:
        return letter
    parts = incomplete.setdefault(letter.event_id, {})
    parts[letter.part] = letter
    if len(parts) < letter.parts:
        if len(incomplete) > _INCOMPLETE:
            incomplete.popitem(last=False)
        return None
    return joined(incomplete.pop(letter.event_id).values())
