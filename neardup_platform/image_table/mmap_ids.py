"""The ids of every decided image on disk, mapped by the worker, which appends them, and by its followers.

All processes share the same pages of memory. The files are described in `checkpoint.py`; they never shrink, and are
never replaced under a follower: those that cannot be used stay until a checkpoint names others, with a higher G.
"""

import logging
import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from time import time_ns

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import BadArtefact, ServerUnavailable, SetupError
from neardup_platform.files import write_at
from neardup_platform.id_space import MAX_ORDINALS, check_ordinals
from neardup_platform.image_table.checkpoint import Checkpoint, end_of_text, ids_paths, read_checkpoint
from neardup_platform.image_table.ids import (
    FIRST_BYTES,
    FIRST_ROWS,
    LENGTH_BITS,
    LONGEST_ID_BYTES,
    Ordinals,
    PackedIds,
    Places,
    WritableIds,
)

log = logging.getLogger(__name__)


class _Mapped:
    """The two files of a generation, mapped read-only and shared, so that the writer's changes are visible at once."""

    def __init__(self, text: FileIO, places: FileIO) -> None:
        self.text = _map(text)
        rows = os.fstat(places.fileno()).st_size // 8
        self.places: Places = np.frombuffer(_map(places), "<u8", rows) if rows else np.zeros(0, np.uint64)

    def id_of(self, ordinal: int) -> str:
        place = self.places.item(ordinal)
        at = place >> LENGTH_BITS
        return str(self.text[at : at + (place & LONGEST_ID_BYTES)], "utf-8")

    def holds(self, first: int, ids: Sequence[str]) -> bool:
        end = first + len(ids)
        return end <= len(self.places) and all(
            self.id_of(ordinal) == image_id for ordinal, image_id in zip(range(first, end), ids, strict=True)
        )


class WrittenIds(WritableIds):
    """The table of the one writer; see `IdTable`.

    Args:
        folder: created if it is missing.
        checkpoint: whose ids are continued after its last row; None begins a new table.

    Attributes:
        generation: G in the names of the files.

    Raises:
        SetupError: the disk is full or broken.
    """

    def __init__(self, folder: Path, checkpoint: Checkpoint | None) -> None:
        super().__init__()
        self._folder = folder
        self.generation = checkpoint.generation if checkpoint else unused_generation(folder)
        with _explained(folder, "opening"):
            folder.mkdir(parents=True, exist_ok=True)
            self._text, self._places = map(_open, ids_paths(folder, self.generation))
            for file, room in ((self._text, FIRST_BYTES), (self._places, 8 * FIRST_ROWS)):
                if os.fstat(file.fileno()).st_size < room:
                    os.ftruncate(file.fileno(), room)
            self._mapped = _Mapped(self._text, self._places)
        if checkpoint is not None:
            self._count = checkpoint.ordinals
            # Never where a follower may still read the id of an image that a crash has taken from this process.
            size = os.fstat(self._text.fileno()).st_size
            self.text_bytes = max(checkpoint.text_bytes, min(end_of_text(self._mapped.places), size))

    @property
    def places(self) -> Places:
        """See `WritableIds`."""
        return self._mapped.places

    def id_of(self, ordinal: int) -> str:
        """See `IdTable`."""
        return self._mapped.id_of(ordinal)

    def put(self, ordinal: int, image_id: str) -> None:
        """Gives an ordinal the id that the store has for it, empty for none; writes it only where it differs.

        Raises:
            SetupError: the disk is full or broken.
        """
        with suppress(UnicodeDecodeError):
            if self.id_of(ordinal) == image_id:
                return
        super().erase(np.array([ordinal]))
        if image_id:
            self.fill(ordinal, [image_id])

    def extend_to(self, end: int) -> None:
        """Takes the rows up to `end` as they are in the files, to be corrected by `put`.

        Raises:
            SetupError: the disk is full or broken.
        """
        self.make_room(end - self._count)
        self._count = end

    def make_room(self, count: int) -> None:
        """See `WritableIds`.

        Raises:
            SetupError: the disk is full or broken, or there are no ordinals left.
        """
        end, room = self._count + count, len(self._mapped.places)
        check_ordinals(end)
        if end > room:
            while room < end:
                room = min(2 * room, MAX_ORDINALS)
            self._resize(self._places, 8 * room)

    def sync(self) -> None:
        """Waits until everything is on the disk. Safe in another thread than the writer's.

        Raises:
            SetupError: the disk is full or broken.
        """
        with _explained(self._folder, "syncing"):
            os.fsync(self._text.fileno())
            os.fsync(self._places.fileno())

    def erase(self, ordinals: Ordinals) -> None:
        """See `IdTable`; synced when this returns."""
        if len(ordinals):
            super().erase(ordinals)
            self.sync()

    def close(self) -> None:
        """Releases the files."""
        self._text.close()
        self._places.close()

    def _put_text(self, at: int, text: NDArray[np.uint8]) -> None:
        room = len(self._mapped.text)
        if at + len(text) > room:
            while room < at + len(text):
                room *= 2
            self._resize(self._text, room)
        self._write(self._text, at, text.data)

    def _put_places(self, first: int, places: Places) -> None:
        self._write(self._places, 8 * first, places.astype("<u8", copy=False).view(np.uint8).data)

    def _resize(self, file: FileIO, size: int) -> None:
        with _explained(self._folder, "extending"):
            os.ftruncate(file.fileno(), size)
            self._mapped = _Mapped(self._text, self._places)

    def _write(self, file: FileIO, at: int, content: memoryview) -> None:
        with _explained(self._folder, "writing"):
            write_at(file, content, at)


class FollowedIds:
    """The table of a process that follows the writer and its store; see `IdTable`.

    `check` compares what the writer wrote with the ids of the store. `skip` takes rows as they are, which is right for
    those that the checkpoint vouches for, and for ordinals without an image.

    Args:
        folder: of the writer.
        store_id: of the store that the images come from.
    """

    def __init__(self, folder: Path, store_id: str) -> None:
        self._folder, self._store_id = folder, store_id
        self._mapped: _Mapped | None = None
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def id_of(self, ordinal: int) -> str:
        """See `IdTable`."""
        return "" if self._mapped is None else self._mapped.id_of(ordinal)

    def alive(self) -> NDArray[np.bool_]:
        """Returns which ordinals have an image, bool [len]."""
        if self._mapped is None:
            return np.zeros(self._count, np.bool_)
        found: NDArray[np.bool_] = self._mapped.places[: self._count] != 0
        return found

    def written(self) -> int:
        """Maps the present files, and returns how many rows they have room for; 0 without a checkpoint of the store."""
        self._follow()
        return 0 if self._mapped is None else len(self._mapped.places)

    def check(self, first: int, ids: Sequence[str]) -> None:
        """See `IdTable`."""
        if not self._holds(first, ids):
            self._follow()
            if not self._holds(first, ids):
                raise ServerUnavailable(
                    f"the ids of images {first} to {first + len(ids) - 1} are not in {self._folder} yet: the worker "
                    "writes them when it starts"
                )

    def append(self, ids: Sequence[str]) -> None:
        """Adds the writer's next rows, which `check` has found."""
        self._count += len(ids)

    def skip(self, count: int) -> None:
        """See `IdTable`."""
        self._count += count
        if self._mapped is None or self._count > len(self._mapped.places):
            self._follow()

    def fill(self, _first: int, _ids: Sequence[str]) -> None:
        """Does nothing: the writer has filled them in, as `check` has found."""

    def fill_packed(self, _first: int, _ids: PackedIds) -> None:
        """Does nothing: the writer has filled them in."""

    def erase(self, _ordinals: Ordinals) -> None:
        """Does nothing: the writer erases ids for everyone who maps them."""

    def make_room(self, _count: int) -> None:
        """Does nothing: the writer makes room."""

    def close(self) -> None:
        """Does nothing: memory is unmapped with the last array that refers to it."""

    def _holds(self, first: int, ids: Sequence[str]) -> bool:
        return not ids or (self._mapped is not None and self._mapped.holds(first, ids))

    def _follow(self) -> None:
        """Maps the present files."""
        try:
            found = read_checkpoint(self._folder)
        except BadArtefact as error:
            log.warning("%s", error)
            return
        if found is None or found.store_id != self._store_id:
            return
        text, places = found.ids(self._folder)
        # The writer may have removed them meanwhile: then the checkpoint names others next time.
        with suppress(FileNotFoundError), text.open("rb", 0) as text_file, places.open("rb", 0) as places_file:
            self._mapped = _Mapped(text_file, places_file)


@contextmanager
def _explained(folder: Path, action: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SetupError(
            f"{action} the ids in {folder} failed: {error}; free some disk under NEARDUP_HOME and it continues"
        ) from error


def _open(path: Path) -> FileIO:
    return FileIO(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+")


def _map(file: FileIO) -> mmap.mmap:
    return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED)


def unused_generation(folder: Path) -> int:
    """Returns a generation that no earlier files of ids in this folder had."""
    numbers = [path.stem.rpartition("-")[2] for path in folder.glob("ids-*")]
    return max([time_ns(), *(int(number) + 1 for number in numbers if number.isdecimal())])
