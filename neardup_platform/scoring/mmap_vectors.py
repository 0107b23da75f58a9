"""The vectors of every decided image on disk, mapped by the worker, which appends them, and by its followers.

Store → **files, by ordinal** → terms, features; all processes share the same pages of memory. The files are derived
from RocksDB: rows that a crash has lost are read from the store again, and the folder may be deleted while no worker
runs.

| file | content |
|---|---|
| `lsh-G.f16` | float16 [·, lsh_dim], little-endian, row = ordinal; after the last row a hole that takes no disk space |
| `compact-N-G.u8` | uint8 [·, width], likewise: both in 8 bits (`compact.py`), of the pair vector N entries |
| `manifest.json` | sealed: G, N, the store and models of the vectors, and how many rows are synced |

Of an image that is only a candidate, the compact row alone is read. Where the second look lays pictures over each
other, and for commands, pair vectors are read from the store (`stored_pairs.py`), which has the only copy of them.

Rows are written before the commit that makes their images known. So after a crash of the process the files hold at
least the rows of the store, but after a power cut possibly only those of the manifest: the next start writes the rest
again, and overwrites rows beyond the store's images. Files never shrink and are never replaced under a follower: files
that cannot be used stay until the manifest names others, with a higher G.
"""

import logging
import mmap
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from io import FileIO
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import ServerUnavailable, SetupError
from neardup_platform.files import write_at
from neardup_platform.id_space import MAX_ORDINALS, check_ordinals
from neardup_platform.records import Kind, ModelSpec
from neardup_platform.scoring.compact import Compact, pack
from neardup_platform.scoring.json_vector_manifest import (
    Manifest,
    unused_generation,
    usable_manifest,
    write_manifest,
)
from neardup_platform.scoring.stored_pairs import PairStore, PairVectors
from neardup_platform.scoring.vectors import Float16, ImageVectors, MappedRows, Ordinals, check_dims
from neardup_platform.scoring.warm_rows import WarmRows, read_into_memory

log = logging.getLogger(__name__)

# Initial capacity of a file in rows. It doubles whenever the file is full, which costs address space, not disk space.
FIRST_ROWS = 256
# Rows between two syncs, and so the most that a restart reads from the store again: 28 MB.
SYNC_ROWS = 8_192


class _Mapped(NamedTuple):
    """What the files hold, row by row: float16 [n, lsh_dim] and uint8 [n, width]."""

    lsh: Float16
    compact: Compact


class WrittenVectors:
    """The table of the one writer; see `VectorTable`.

    Args:
        folder: created if it is missing.
        store_id: of the store that the images come from; vectors of another store are not used.
        models: versions and dimensions of the embeddings; vectors of other models are not used.
        images: ordinals of the store; rows after them are dropped.
        store: has the pair vectors.

    Raises:
        SetupError: the disk is full or broken.
    """

    def __init__(
        self, folder: Path, store_id: str, models: Mapping[Kind, ModelSpec], images: int, store: PairStore
    ) -> None:
        self._folder = folder
        wanted = Manifest.of(store_id, models)
        with _explained(folder, "opening"):
            folder.mkdir(parents=True, exist_ok=True)
            found = usable_manifest(folder, wanted)
            if found is None or not (found.compared == wanted.compared or _has_pair_vectors(folder, found)):
                found = replace(wanted, generation=unused_generation(folder))
            found = replace(found, rows=min(found.rows, images))
            self._manifest = replace(found, compared=wanted.compared)
            if found.compared != wanted.compared:
                _add_compact_rows(folder, self._manifest)
            self._files = [_open(path) for path in self._manifest.paths(folder)]
            # Before any row is overwritten: the synced rows in the manifest must be those of the store.
            write_manifest(folder, self._manifest)
            _remove_others(folder, self._manifest)
            self._mapped = _map_files(self._files, wanted)
        self._pairs = PairVectors(store, wanted.pair_dim)
        self._count = self._manifest.rows
        self._warm: WarmRows | None = None

    def __len__(self) -> int:
        return self._count

    @property
    def rows(self) -> MappedRows:
        """See `VectorTable`."""
        return _rows(self._mapped, self._count, self._manifest, self._pairs)

    def warm(self) -> None:
        """Begins to bring the compact rows into memory."""
        _, compact = self._manifest.paths(self._folder)
        self._warm = WarmRows(compact, self._count * self._manifest.layout.width)

    def warm_part(self, first: int, end: int, stopped: Callable[[], bool]) -> None:
        """See `VectorTable`."""
        (_, compact), width = self._manifest.paths(self._folder), self._manifest.layout.width
        read_into_memory(compact, first * width, end * width, stopped)

    def append(self, vectors: ImageVectors) -> None:
        """Adds images; other processes see them when this returns. Their pair vectors stay in memory until the commit.

        Raises:
            SetupError: the disk is full or broken, or there are no ordinals left.
        """
        check_dims(vectors, self._manifest.dims)
        end = self._count + len(vectors.lsh)
        check_ordinals(end)
        with _explained(self._folder, "appending"):
            if end > len(self._mapped.lsh):
                self._make_room(end)
            for file, rows in zip(self._files, self._written(vectors), strict=True):
                _write(file, rows, self._count * rows.shape[1])
        self._pairs.add(self._count, vectors.pair)
        self._count = end
        if end - self._manifest.rows >= SYNC_ROWS:
            self.sync()

    def skip(self, count: int) -> None:
        """Sets the next ordinals aside, synced when this returns: another process may write their rows in place.

        Raises:
            SetupError: the disk is full or broken, or there are no ordinals left.
        """
        end = self._count + count
        check_ordinals(end)
        with _explained(self._folder, "setting rows aside in"):
            if end > len(self._mapped.lsh):
                self._make_room(end)
        before, self._count = self._count, end
        try:
            self.sync()
        except SetupError:
            self._count = before
            raise

    def fill(self, first: int, vectors: ImageVectors) -> None:
        """See `VectorTable`; synced when this returns.

        Raises:
            SetupError: the disk is full or broken.
        """
        self.rewrite(np.arange(first, first + len(vectors.lsh)), vectors)
        self._pairs.add(first, vectors.pair)

    def erase(self, ordinals: Ordinals) -> None:
        """Overwrites rows with zeros; synced when this returns.

        Raises:
            SetupError: the disk is broken.
        """
        for at in range(0, len(ordinals), SYNC_ROWS):
            part = ordinals[at : at + SYNC_ROWS]
            self.rewrite(part, ImageVectors(*(np.zeros((len(part), dim), np.float16) for dim in self._manifest.dims)))
        self._pairs.erase(ordinals)

    def rewrite(self, ordinals: Ordinals, vectors: ImageVectors) -> None:
        """Overwrites rows; synced when this returns.

        Raises:
            SetupError: the disk is broken.
        """
        if not len(ordinals):
            return
        with _explained(self._folder, "overwriting rows of"):
            for file, rows in zip(self._files, self._written(vectors), strict=True):
                write_bytes(file, ordinals, rows)
                os.fsync(file.fileno())

    def sync(self) -> None:
        """Syncs all rows to disk, and records it in the manifest.

        Raises:
            SetupError: the disk is full or broken.
        """
        if self._count == self._manifest.rows:
            return
        with _explained(self._folder, "syncing"):
            for file in self._files:
                os.fsync(file.fileno())
            self._manifest = replace(self._manifest, rows=self._count)
            write_manifest(self._folder, self._manifest)

    def close(self) -> None:
        """Syncs and releases the files; rows that a broken disk cannot sync are read from the store next time."""
        if self._warm is not None:
            self._warm.stop()
        try:
            self.sync()
        except SetupError as error:
            log.warning("%s", error)
        for file in self._files:
            file.close()

    def _make_room(self, rows: int) -> None:
        room = max(FIRST_ROWS, len(self._mapped.lsh))
        while room < rows:
            room = min(2 * room, MAX_ORDINALS)
        for file, row_bytes in zip(self._files, self._manifest.row_bytes, strict=True):
            # One may be larger already, after a crash between two.
            os.ftruncate(file.fileno(), max(room * row_bytes, os.fstat(file.fileno()).st_size))
        self._mapped = _map_files(self._files, self._manifest)

    def _written(self, vectors: ImageVectors) -> list[Compact]:
        """Returns the bytes of rows, by file."""
        return [as_bytes(vectors.lsh), pack(vectors.lsh, vectors.pair, self._manifest.layout)]


class FollowedVectors:
    """The table of a process that follows the writer and its store; see `VectorTable`.

    It maps the rows that the writer wrote. `append` and `fill` compare them with the rows of the store; `skip` takes
    them as they are, which is right for those that a checkpoint of the corpus vouches for.

    Args:
        folder: of the writer.
        store_id, models, store: as of `WrittenVectors`.
    """

    def __init__(self, folder: Path, store_id: str, models: Mapping[Kind, ModelSpec], store: PairStore) -> None:
        self._folder, self._wanted = folder, Manifest.of(store_id, models)
        self._generation = self._synced = 0
        self._mapped = _map_files((), self._wanted)
        self._pairs = PairVectors(store, self._wanted.pair_dim)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def rows(self) -> MappedRows:
        """See `VectorTable`."""
        return _rows(self._mapped, self._count, self._wanted, self._pairs)

    def synced(self) -> int:
        """Maps the present files, and returns how many of their rows are synced to disk."""
        self._follow()
        return self._synced

    def append(self, vectors: ImageVectors) -> None:
        """Adds the writer's next rows.

        Args:
            vectors: those rows according to the store.

        Raises:
            ServerUnavailable: the writer has not written them, or is rebuilding its files.
        """
        end = self._count + len(vectors.lsh)
        self.fill(self._count, vectors)
        self._count = end

    def skip(self, count: int) -> None:
        """See `VectorTable`."""
        if self._count + count > len(self._mapped.lsh):
            self._follow()
        self._count += count

    def fill(self, first: int, vectors: ImageVectors) -> None:
        """Checks that the writer's files hold these rows, from an ordinal on.

        Raises:
            ServerUnavailable: the writer has not written them, or is rebuilding its files.
        """
        if not self._holds(first, vectors):
            self._follow()
            if not self._holds(first, vectors):
                raise ServerUnavailable(
                    f"the vectors of images {first} to {first + len(vectors.lsh) - 1} are not in {self._folder} yet: "
                    "the worker writes them when it starts"
                )

    def warm_part(self, first: int, end: int, stopped: Callable[[], bool]) -> None:
        """Does nothing: the writer does it, and both map the same pages."""

    def erase(self, ordinals: Ordinals) -> None:
        """Does nothing: the writer erases rows for everyone who maps them."""

    def close(self) -> None:
        """Does nothing: memory is unmapped with the last array that refers to it."""

    def _holds(self, first: int, vectors: ImageVectors) -> bool:
        end = first + len(vectors.lsh)
        lsh, compact = self._mapped.lsh[first:end], self._mapped.compact[first:end]
        return (
            len(self._mapped.lsh) >= end
            and np.array_equal(lsh.view(np.uint8), as_bytes(vectors.lsh))
            and np.array_equal(compact, pack(vectors.lsh, vectors.pair, self._wanted.layout))
        )

    def _follow(self) -> None:
        """Maps the present files; rebuilt ones only once they hold all rows in use."""
        found = usable_manifest(self._folder, self._wanted)
        if found is None or found.compared != self._wanted.compared:
            return
        if found.generation != self._generation and found.rows < self._count:
            return
        # The writer may have removed them meanwhile: then the manifest names others next time.
        with suppress(FileNotFoundError), ExitStack() as opened:
            files = [opened.enter_context(path.open("rb", 0)) for path in found.paths(self._folder)]
            self._mapped, self._generation = _map_files(files, found), found.generation
            self._synced = found.rows


@contextmanager
def _explained(folder: Path, action: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SetupError(
            f"{action} the vectors in {folder} failed: {error}; free some disk under NEARDUP_HOME and it continues"
        ) from error


def _rows(mapped: _Mapped, count: int, manifest: Manifest, pairs: PairVectors) -> MappedRows:
    return MappedRows(mapped.lsh[:count], mapped.compact[:count], manifest.pair_dim, pairs.read)


def _remove_others(folder: Path, manifest: Manifest) -> None:
    """Deletes files that the manifest does not name, such as the pair vectors of earlier releases.

    Processes that have them mapped may continue.
    """
    for pattern in ("*.f16", "*.u8"):
        for path in folder.glob(pattern):
            if path not in manifest.paths(folder):
                path.unlink()


def _has_pair_vectors(folder: Path, manifest: Manifest) -> bool:
    """Returns whether the file of an earlier release is there, with all synced rows."""
    with suppress(FileNotFoundError):
        return manifest.pair_path(folder).stat().st_size >= manifest.rows * 2 * manifest.pair_dim
    return False


def _add_compact_rows(folder: Path, manifest: Manifest) -> None:
    """Writes the compact rows of the synced rows of an earlier release's files; synced when this returns."""
    lsh_path, path = manifest.paths(folder)
    with (
        path.open("wb", 0) as compact,
        lsh_path.open("rb", 0) as one,
        manifest.pair_path(folder).open("rb", 0) as other,
    ):
        lsh, pair = map_float16(one, manifest.lsh_dim), map_float16(other, manifest.pair_dim)
        for first in range(0, manifest.rows, SYNC_ROWS):
            part = slice(first, min(first + SYNC_ROWS, manifest.rows))
            _write(compact, pack(lsh[part], pair[part], manifest.layout), first * manifest.layout.width)
        os.fsync(compact.fileno())


def _open(path: Path) -> FileIO:
    return FileIO(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+")


def as_bytes(rows: Float16) -> Compact:
    """Returns rows as they are in a file, uint8 [n, 2 · dim]."""
    return np.ascontiguousarray(rows, "<f2").view(np.uint8)


def write_bytes(file: FileIO, ordinals: NDArray[np.int64], rows: Compact) -> None:
    """Write rows of a file in place, neighbours at once.

    Args:
        ordinals: int64 [n], at least one.
        rows: uint8 [n, bytes of a row].

    Raises:
        OSError: the disk is full or broken.
    """
    breaks = (np.flatnonzero(np.diff(ordinals) != 1) + 1).tolist()
    for row, end in pairwise([0, *breaks, len(ordinals)]):
        _write(file, rows[row:end], int(ordinals[row]) * rows.shape[1])


def _write(file: FileIO, rows: Compact, at: int) -> None:
    write_at(file, np.ascontiguousarray(rows).tobytes(), at)


def map_float16(file: FileIO, dim: int) -> Float16:
    """Maps a file of vectors read-only and shared, so that the writer's changes are visible at once: [rows, dim]."""
    return _map(file, np.float16, dim)


def _map_files(files: Sequence[FileIO], manifest: Manifest) -> _Mapped:
    """Maps the rows that all files have, likewise.

    Args:
        files: in the order of `Manifest.paths`; none where there are no rows.
    """
    lsh_dim, width = manifest.lsh_dim, manifest.layout.width
    if not files:
        return _Mapped(np.zeros((0, lsh_dim), np.float16), np.zeros((0, width), np.uint8))
    lsh, compact = _map(files[0], np.float16, lsh_dim), _map(files[1], np.uint8, width)
    rows = min(len(lsh), len(compact))
    return _Mapped(lsh[:rows], compact[:rows])


def _map(file: FileIO, dtype: type[Any], width: int) -> NDArray[Any]:
    row_bytes = width * np.dtype(dtype).itemsize
    rows = os.fstat(file.fileno()).st_size // row_bytes
    if not rows:
        return np.zeros((0, width), dtype)
    mapped = mmap.mmap(file.fileno(), rows * row_bytes, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED)
    return np.frombuffer(mapped, dtype).reshape(rows, width)
