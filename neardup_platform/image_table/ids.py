"""The ids of all images by ordinal: one text that holds all of them, and for each ordinal the place of its id.

Decided images → **ids, by ordinal** → decisions, which name candidates and heads by id.

A *place* is a uint64: where the id begins in the text, shifted left by 16 bits, and its length in bytes, at most
65,535. An ordinal without an image has the place 0, and an empty id. So an image takes 8 bytes and those of its id,
where a Python object takes about a hundred. `MemoryIds` is for evaluation and tests; the table on disk is in
`mmap_ids.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class PackedIds:
    """Ids as they are in a table that begins with them.

    Attributes:
        text: uint8 [bytes], of all ids.
        places: uint64 [ids], in that text.
    """

    text: NDArray[np.uint8]
    places: Places

    def __len__(self) -> int:
        return len(self.places)

    def id_of(self, number: int) -> str:
        """Returns an id; empty where there is none."""
        place = self.places.item(number)
        at = place >> LENGTH_BITS
        return self.text[at : at + (place & LONGEST_ID_BYTES)].tobytes().decode()

    def places_at(self, at: int) -> Places:
        """Returns the places in a text where this one begins at byte `at`."""
        begin = np.uint64(at << LENGTH_BITS)
        return np.where(self.places, self.places + begin, self.places)

    def without(self, numbers: Ordinals) -> "PackedIds":
        """Returns them without some ids, which are overwritten."""
        if not len(numbers):
            return self
        text, places = self.text.copy(), self.places.copy()
        for place in places[numbers].tolist():
            at = place >> LENGTH_BITS
            text[at : at + (place & LONGEST_ID_BYTES)] = 0
        places[numbers] = 0
        return PackedIds(text, places)


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

    def fill_packed(self, first: int, ids: PackedIds) -> None:
        """Does so for millions of images at once."""

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
        self.fill_packed(first, packed(ids))

    def fill_packed(self, first: int, ids: PackedIds) -> None:
        """See `IdTable`."""
        # The text first, so that a place always leads to its id.
        self._put_text(self.text_bytes, ids.text)
        self._put_places(first, ids.places_at(self.text_bytes))
        self.text_bytes += len(ids.text)

    def erase(self, ordinals: Ordinals) -> None:
        """See `IdTable`."""
        for ordinal in ordinals.tolist():
            place = self.places.item(ordinal)
            if place:
                self._put_places(ordinal, np.zeros(1, np.uint64))
                self._put_text(place >> LENGTH_BITS, np.zeros(place & LONGEST_ID_BYTES, np.uint8))

    @abstractmethod
    def make_room(self, count: int) -> None:
        """See `IdTable`."""

    @abstractmethod
    def _put_text(self, at: int, text: NDArray[np.uint8]) -> None:
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

    def _put_text(self, at: int, text: NDArray[np.uint8]) -> None:
        self._text[at : at + len(text)] = text.data

    def _put_places(self, first: int, places: Places) -> None:
        self._places[first : first + len(places)] = places


def packed(ids: Sequence[str]) -> PackedIds:
    """Returns ids one after the other.

    Raises:
        InvariantBroken: an id is too long.
    """
    encoded = [image_id.encode() for image_id in ids]
    lengths = np.fromiter(map(len, encoded), np.uint64, len(encoded))
    return packed_text(np.frombuffer(b"".join(encoded), np.uint8), lengths)


def packed_text(text: NDArray[np.uint8], lengths: NDArray[np.uint64]) -> PackedIds:
    """Returns ids that are one after the other already.

    Args:
        text: uint8 [bytes].
        lengths: uint64 [ids], in bytes.

    Raises:
        InvariantBroken: an id is too long.
    """
    ends = np.cumsum(lengths, dtype=np.uint64)
    if len(lengths) and int(lengths.max()) > LONGEST_ID_BYTES:
        which = int(lengths.argmax())
        begin, length = int(ends[which] - lengths[which]), int(lengths[which])
        shown = text[begin : begin + 80].tobytes().decode(errors="replace")
        raise InvariantBroken(f"the id {shown!r}… has {length} bytes, at most {LONGEST_ID_BYTES} are possible")
    places = (ends - lengths) << np.uint64(LENGTH_BITS) | lengths
    places[lengths == 0] = 0
    return PackedIds(text, places)
