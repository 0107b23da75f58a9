"""What a worker knew of all images after a commit, on disk: a start takes it, and reads what has changed since.

It stands in the folder of the vector files. All of it is derived from RocksDB, and may be deleted while no worker runs.

| file | content |
|---|---|
| `corpus.json` | sealed: store, commit C and its sequence, ordinals, G, bytes of the text, checksum of the columns |
| `ids-G.text` | the ids, one after the other |
| `ids-G.places` | uint64 [·], little-endian, row = ordinal: where its id is in the text (ids.py) |
| `columns-C.bin` | of commit C: uint32 [ordinals], the head's ordinal + 1, 0 for none; uint8 [ordinals], retired |

Ids are written before the commit that makes their images known, as vectors are; those beyond the manifest are compared
with the store. The columns of a commit are a file of their own, which never changes. The manifest is written last, when
the commit itself has survived a power cut: so no store is ever behind its checkpoint, unless somebody puts an older
copy in its place. Then, as for another store, the checkpoint is not used. What has changed since in rows of the
checkpoint is known from table TOUCHED of the store.
"""

import logging
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import BadArtefact
from neardup_platform.files import read_sealed, replace_file, sync_folder, write_sealed
from neardup_platform.image_table.ids import Ordinals, Places

log = logging.getLogger(__name__)

NAME = "corpus.json"
_ROW_BYTES = 5


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the files hold.

    Attributes:
        store_id: of the store that it was derived from.
        commit, sequence: of the last commit in it, and of the last decision.
        ordinals: rows.
        generation: G in the names of the files of the ids.
        text_bytes: of the text, synced.
        crc: of the columns.
    """

    store_id: str
    commit: int
    sequence: int
    ordinals: int
    generation: int
    text_bytes: int
    crc: int = 0

    def ids(self, folder: Path) -> tuple[Path, Path]:
        """Returns the paths of the text and of the places."""
        return ids_paths(folder, self.generation)

    def columns(self, folder: Path) -> Path:
        """Returns the path of the columns."""
        return folder / f"columns-{self.commit}.bin"


@dataclass(frozen=True, slots=True)
class Columns:
    """Where the images are, by ordinal.

    Attributes:
        heads: uint32 [n], the ordinal of the head of an image's cluster plus 1; 0 for none.
        retired: bool [n], images that the term index need not hold, and ordinals without an image.
    """

    heads: NDArray[np.uint32]
    retired: NDArray[np.bool_]


def ids_paths(folder: Path, generation: int) -> tuple[Path, Path]:
    """Returns the paths of the text and of the places of a generation."""
    return folder / f"ids-{generation}.text", folder / f"ids-{generation}.places"


def write_checkpoint(folder: Path, checkpoint: Checkpoint, columns: Columns) -> None:
    """Replaces the checkpoint; the ids, and the commit in the store, are synced.

    Raises:
        OSError: the disk is full or broken; the previous checkpoint stays.
    """
    data = columns.heads.astype("<u4", copy=False).tobytes() + columns.retired.tobytes()
    replace_file(checkpoint.columns(folder), data)
    write_sealed(folder / NAME, {**asdict(checkpoint), "crc": zlib.crc32(data)})
    _remove_others(folder, checkpoint)


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """Returns the checkpoint, or None where there is none.

    Raises:
        BadArtefact: it is damaged, or the ids lack rows.
    """
    try:
        content = read_sealed(folder / NAME)
        if content is None:
            return None
        found = Checkpoint(**content)
        sizes = (found.text_bytes, found.ordinals * 8, found.ordinals * _ROW_BYTES)
        for path, size in zip((*found.ids(folder), found.columns(folder)), sizes, strict=True):
            if path.stat().st_size < size:
                raise ValueError(f"{path.name} has {path.stat().st_size} bytes, {size} expected")
    except (OSError, ValueError, TypeError) as error:
        raise BadArtefact(f"the checkpoint of the corpus in {folder}: {error}; it is read from the store") from error
    return found


def read_columns(folder: Path, checkpoint: Checkpoint) -> Columns:
    """Returns the columns of a checkpoint.

    Raises:
        BadArtefact: they are damaged.
    """
    path, rows = checkpoint.columns(folder), checkpoint.ordinals
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadArtefact(f"{path}: {error}; it is read from the store") from error
    if len(data) != rows * _ROW_BYTES or zlib.crc32(data) != checkpoint.crc:
        raise BadArtefact(f"{path} has a wrong checksum; it is read from the store")
    return Columns(np.frombuffer(data, "<u4", rows), np.frombuffer(data, np.bool_, rows, 4 * rows))


def remove_checkpoint(folder: Path) -> None:
    """Makes a checkpoint that does not serve unusable for good; its ids stay for those who have them mapped."""
    (folder / NAME).unlink(missing_ok=True)
    if folder.exists():
        sync_folder(folder)


def end_of_text(places: Places) -> int:
    """Returns the byte after the last id of these places."""
    if not len(places):
        return 0
    return int(((places >> np.uint64(16)) + (places & np.uint64(0xFFFF))).max())


def head_ordinals(columns: Columns) -> Ordinals:
    """Returns the ordinals of the heads, int64 [n]; −1 for none."""
    return columns.heads.astype(np.int64) - 1


def _remove_others(folder: Path, checkpoint: Checkpoint) -> None:
    kept = {*checkpoint.ids(folder), checkpoint.columns(folder)}
    for pattern in ("ids-*", "columns-*"):
        for path in folder.glob(pattern):
            if path not in kept:
                path.unlink(missing_ok=True)
