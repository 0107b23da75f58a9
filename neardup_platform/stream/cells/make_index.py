"""Makes a term index with other cells of the images that the worker has, beside the worker.

Vector files of the worker + which ordinals belong to an image → **an index in a folder of its own**

The worker may erase rows meanwhile. Their images are hidden before the index is used (use_cells.py).
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neardup_platform.corpus import Corpus
from neardup_platform.errors import SetupError
from neardup_platform.image_table.checkpoint import Columns
from neardup_platform.progress import Progress
from neardup_platform.records import Kind, ModelSpec
from neardup_platform.scoring.mmap_vectors import FollowedVectors
from neardup_platform.terms.hyperplanes import TermSpace
from neardup_platform.terms.index import TermIndex
from neardup_platform.terms.parts import HEAD_WORDS

_COLUMNS = "columns.npz"
# Of an image in a segment beside its head and its signature: an ordinal.
_BYTES_EACH = 4
# Merging writes images once more before what is merged is removed.
_COPIES = 2
# Disk that must stay free beside the index.
_SPARE_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class IndexOrder:
    """What to make.

    Attributes:
        folder: with the columns that `write_columns` wrote; receives the index.
        vectors: folder of the worker's vectors.
        source: id of the store.
        models: of its embeddings.
        cells: version of the fitted cells; empty for those of the term space.
        apart: first and end of the ordinals that a load has reserved; equal for none.
    """

    folder: Path
    vectors: Path
    source: str
    models: Mapping[Kind, ModelSpec]
    cells: str
    apart: tuple[int, int]


class _NoPairs:
    """Stands for the pair vectors of a store, which an index does not need."""

    def ordinals(self) -> int:
        """See `PairStore`."""
        return 0

    def pairs(self, ordinals: Sequence[int]) -> Sequence[bytes | None]:
        """See `PairStore`."""
        return [None] * len(ordinals)


def write_columns(folder: Path, columns: Columns, alive: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> None:
    """Write which ordinals an index holds.

    Args:
        folder: created; it does not exist.
        columns: of all ordinals.
        alive: bool [ordinals].

    Raises:
        OSError: the disk is full or broken.
    """
    folder.mkdir(parents=True)
    np.savez(folder / _COLUMNS, heads=columns.heads, retired=columns.retired, alive=alive)


def make_index(order: IndexOrder, open_index: Callable[[Path, str], TermIndex], progress: Progress) -> None:
    """Make the index of all images of the columns; what it seals is durable when this returns.

    Args:
        open_index: opens the index of a store by its id, in a folder.
        progress: called with how far it has come; it may raise to stop.

    Raises:
        SetupError: the disk is full or broken.
        OSError: the disk is full or broken.
    """
    with np.load(order.folder / _COLUMNS, allow_pickle=False) as arrays:
        columns, alive = Columns(arrays["heads"], arrays["retired"]), arrays["alive"]
    vectors = FollowedVectors(order.vectors, order.source, order.models, _NoPairs())
    vectors.skip(len(alive))
    if len(vectors.rows.lsh) < len(alive):
        raise SetupError(f"the vectors in {order.vectors} hold {len(vectors.rows.lsh)} of {len(alive)} images")
    index = open_index(order.folder, order.source)
    with closing(Corpus(index.space, index, vectors)) as corpus:
        corpus.restore(columns, alive)
        index.set_apart(*order.apart)
        corpus.fill_index(progress)
        index.flush()
        if index.problem:
            raise SetupError(index.problem)
    (order.folder / _COLUMNS).unlink()


def check_room(home: Path, images: int, space: TermSpace) -> None:
    """Refuse to make an index for which there is no disk.

    Args:
        home: a folder on that disk.
        images: that it will hold.

    Raises:
        SetupError: it does not fit.
    """
    needed = images * 8 * (HEAD_WORDS + space.kept_words) + images * _BYTES_EACH
    needed, free = _COPIES * needed + _SPARE_BYTES, shutil.disk_usage(home).free
    if free < needed:
        raise SetupError(
            f"an index of {images:,} images takes up to {needed / 1e6:.0f} MB beside the present one while it is made, "
            f"{free / 1e6:.0f} MB are free under {home}: free some disk, then send the command again"
        )
