"""The ids of all images by ordinal: one text that holds all of them, and for each ordinal the place of its id.

Decided images → **ids, by ordinal** → decisions, which name candidates and heads by id.

A *place* is a uint64: where the id begins in the text, shifted left by 16 bits, and its length in bytes, at most
65,535. An ordinal without an image has the place 0, and an empty id. So an image takes 8 bytes and those of its id,
where a Python object takes about a hundred. `MemoryIds` is for evaluation and tests; the table on disk is in
`mmap_ids.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import InvariantBroken

Places = NDArray[np.uint64]
Ordinals = NDArray[np.int64]

LENGTH_BITS = 16
LONGEST_ID_BYTES = (1 << LENGTH_BITS) - 1
# Room for the first rows and bytes; both double when they are full.
FIRST_ROWS = 1_024
FIRST_BYTES = 1 << 15


class IdTable(Protocol):
    """The id of every image, by ordinal."""

    def __len__(self) -> int:
        """Returns the number of ordinals."""

    def id_of(self, ordinal: int) -> str:
        """Returns the id of an image; empty for an ordinal without one."""

    def make_room(self, count: int) -> None:
        """Makes room for more ordinals, so that `skip` cannot fail."""

    def check(self, first: int, ids: Sequence[str]) -> None:
        """Checks that images can be added or filled in from ordinal `first` on, and changes nothing.

        Raises:
            ServerUnavailable: another process has to write them first.
        """

    def append(self, ids: Sequence[str]) -> None:
        """Adds images; an empty id makes an ordinal without one."""

    def skip(self, count: int) -> None:
        """Adds ordinals without an image."""

    def fill(self, first: int, ids: Sequence[str]) -> None:
        """Gives images to ordinals without one, from `first` on."""

    def erase(self, ordinals: Ordinals) -> None:
        """Takes the image from ordinals, and overwrites its id."""

    def close(self) -> None:
        """Releases the table's resources."""


class WritableIds(ABC):
    """The part of a table that does not depend on where it is kept; see `IdTable`.

    Attributes:
        text_bytes: used bytes of the text; what is added goes there.
    """

    def __init__(self) -> None:
        self._count = self.text_bytes = 0

    def __len__(self) -> int:
        return self._count

    @property
    @abstractmethod
    def places(self) -> Places:
        """The places of all ordinals, uint64 [at least the number of ordinals]; not copied."""

    @abstractmethod
    def id_of(self, ordinal: int) -> str:
        """See `IdTable`."""

    def alive(self) -> NDArray[np.bool_]:
        """Returns which ordinals have an image, bool [len]."""
        found: NDArray[np.bool_] = self.places[: self._count] != 0
        return found

    def check(self, first: int, ids: Sequence[str]) -> None:  # noqa: B027 -- nobody else writes them
        """See `IdTable`."""

    def append(self, ids: Sequence[str]) -> None:
        """See `IdTable`."""
        self.make_room(len(ids))
        self.fill(self._count, ids)
        self._count += len(ids)

    def skip(self, count: int) -> None:
        """See `IdTable`."""
        self.make_room(count)
        self._put_places(self._count, np.zeros(count, np.uint64))
        self._count += count

    def fill(self, first: int, ids: Sequence[str]) -> None:
        """See `IdTable`."""
        text, places = packed(ids, self.text_bytes)
        # The text first, so that a place always leads to its id.
        self._put_text(self.text_bytes, text)
        self._put_places(first, places)
        self.text_bytes += len(text)

    def erase(self, ordinals: Ordinals) -> None:
        """See `IdTable`."""
        for ordinal in ordinals.tolist():
            place = self.places.item(ordinal)
            if place:
                self._put_places(ordinal, np.zeros(1, np.uint64))
                self._put_text(place >> LENGTH_BITS, bytes(place & LONGEST_ID_BYTES))

    @abstractmethod
    def make_room(self, count: int) -> None:
        """See `IdTable`."""

    @abstractmethod
    def _put_text(self, at: int, text: bytes) -> None:
        """Writes a part of the text."""

    @abstractmethod
    def _put_places(self, first: int, places: Places) -> None:
        """Writes the places of neighbouring ordinals, for which there is room."""


class MemoryIds(WritableIds):
    """A table in memory."""

    def __init__(self) -> None:
        super().__init__()
        self._text = bytearray()
        self._places = np.zeros(FIRST_ROWS, np.uint64)

    @property
    def places(self) -> Places:
        """See `WritableIds`."""
        return self._places

    def id_of(self, ordinal: int) -> str:
        """See `IdTable`."""
        place = self._places.item(ordinal)
        at = place >> LENGTH_BITS
        return self._text[at : at + (place & LONGEST_ID_BYTES)].decode()

    def make_room(self, count: int) -> None:
        """See `WritableIds`."""
        end = self._count + count
        if end > len(self._places):
            places = np.zeros(max(end, 2 * len(self._places)), np.uint64)
            places[: self._count] = self._places[: self._count]
            self._places = places

    def close(self) -> None:
        """Does nothing."""

    def _put_text(self, at: int, text: bytes) -> None:
        self._text[at : at + len(text)] = text

    def _put_places(self, first: int, places: Places) -> None:
        self._places[first : first + len(places)] = places


def packed(ids: Sequence[str], at: int) -> tuple[bytes, Places]:
    """Returns ids as one text, and the place of each in a text where it begins at byte `at`.

    Raises:
        InvariantBroken: an id is too long.
    """
    encoded = [image_id.encode() for image_id in ids]
    lengths = np.fromiter(map(len, encoded), np.uint64, len(encoded))
    if len(lengths) and int(lengths.max()) > LONGEST_ID_BYTES:
        longest = ids[int(lengths.argmax())]
        raise InvariantBroken(
            f"the id {longest[:80]!r}… has {int(lengths.max())} bytes, at most {LONGEST_ID_BYTES} are possible"
        )
    places = (np.uint64(at) + np.cumsum(lengths) - lengths) << np.uint64(LENGTH_BITS) | lengths
    places[lengths == 0] = 0
    return b"".join(encoded), places
