"""The header that counts how often a message was published again from the dead letters. Pure."""

from collections.abc import Iterable

HEADER = "neardup-replays"
_MAX_DIGITS = 4


def replays_of(headers: Iterable[tuple[str, bytes | None]]) -> int:
    """The count; 0 without the header, or where someone else wrote into it."""
    for name, value in headers or ():
        if name == HEADER and value and len(value) <= _MAX_DIGITS and value.isdigit():
            return int(value)
    return 0


def replay_headers(replays: int) -> list[tuple[str, bytes]]:
    """Headers of a message that is published for the `replays`-th time after the first."""
    return [(HEADER, str(replays).encode())]
