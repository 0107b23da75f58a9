"""The header that counts the replays of a message from the dead letters. Pure."""

from collections.abc import Iterable

HEADER = "neardup-replays"
_MAX_DIGITS = 4


def replays_of(headers: Iterable[tuple[str, bytes | None]]) -> int:
    """Return the count; 0 without the header, or if its value is not a count."""
    for name, value in headers or ():
        if name == HEADER and value and len(value) <= _MAX_DIGITS and value.isdigit():
            return int(value)
    return 0


def replay_headers(replays: int) -> list[tuple[str, bytes]]:
    """Return the headers of a message that is replayed for the `replays`-th time."""
    return [(HEADER, str(replays).encode())]
