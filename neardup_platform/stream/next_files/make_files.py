"""Makes vectors, term index and checkpoint of a store that will replace the active one.

Checkpoint of that store + files of the active store → **`vectors/` and `index/` in a folder of their own**

What both stores share is copied or linked from the active store's files, while its worker writes to them; the rest is
read and hashed. The worker may erase rows of vectors meanwhile: such a row is undefined in the copy, and the worker
corrects it before the files are used (`correct_rows`), because only it knows which images it has dropped.
"""

import shutil
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from neardup_platform.corpus import stored_vectors
from neardup_platform.errors import SetupError
from neardup_platform.image_table.ids import Ordinals
from neardup_platform.progress import Progress
from neardup_platform.records import Kind, ModelSpec
from neardup_platform.scoring.json_vector_manifest import Manifest
from neardup_platform.scoring.mmap_vectors import WrittenVectors
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.stored_pairs import StoredPairs
from neardup_platform.store.view import StoreView, open_checkpoint
from neardup_platform.stream.built_files import INDEX, VECTORS
from neardup_platform.stream.checkpointing import Saving
from neardup_platform.stream.recovery import read_corpus
from neardup_platform.terms.blocks import BLOCK_IMAGES
from neardup_platform.terms.hyperplanes import TermSpace
from neardup_platform.terms.index import TermIndex
from neardup_platform.terms.inherit_segments import inherit_segments

# Of an image beside its vectors and its signature: places and text of the id, ordinals, cells, heads.
_BYTES_EACH = 128
# Disk that must stay free beside the files.
_SPARE_BYTES = 256 << 20

Models = Mapping[Kind, ModelSpec]


@dataclass(frozen=True, slots=True)
class FilesOrder:
    """What to make.

    Attributes:
        checkpoint: of the store that will replace the active one, which nothing changes.
        files: the folder to fill; it does not exist.
        vectors, index: the folders of the active store's files, on the same disk.
        models: of its embeddings.
    """

    checkpoint: Path
    files: Path
    vectors: Path
    index: Path
    models: Models


def make_files(
    order: FilesOrder,
    space: TermSpace,
    open_index: Callable[[Path, str], TermIndex],
    progress: Progress,
    block_images: int = BLOCK_IMAGES,
) -> None:
    """Make the files; durable when this returns.

    Args:
        space: the term space of both stores.
        open_index: opens the term index of a store by its id, in a folder.
        progress: called with how far it has come; it may raise to stop.
        block_images: as of `TermIndex`.

    Raises:
        SetupError: the disk is full or broken.
        InvariantBroken: the store contradicts itself.
        OSError: the disk is full or broken.
    """
    vectors, index = order.files / VECTORS, order.files / INDEX
    with closing(open_checkpoint(order.checkpoint)) as store:
        corpus, images = read_corpus(
            store,
            space,
            order.models,
            partial(open_index, index),
            vectors,
            progress,
            partial(inherit_segments, index, space.index_version, block_images=block_images, origin=order.index),
            inherited_path=order.vectors,
        )
        with closing(corpus):
            corpus.index.flush()
            Saving.of(store.state(), corpus, images.ids, vectors).write()


def correct_rows(files: Path, store: StoreView, state: store_pb.StoreState, models: Models, ordinals: Ordinals) -> None:
    """Write the rows of images that left the active store while its vectors were copied.

    Args:
        files: the folder that was filled.
        store: the store that the files belong to, with its totals.
        ordinals: int64, ascending, below those of the store.

    Raises:
        SetupError: the disk is full or broken.
    """
    if not len(ordinals):
        return
    with closing(
        WrittenVectors(files / VECTORS, state.store_id, models, state.ordinals, StoredPairs(store))
    ) as vectors:
        found = [(ordinal, store.vectors.find(ordinal)) for ordinal in ordinals.tolist()]
        dead = [ordinal for ordinal, record in found if record is None]
        alive = [(ordinal, record) for ordinal, record in found if record is not None]
        vectors.erase(np.array(dead, np.int64))
        if alive:
            rows = stored_vectors([(record.lsh, record.pair) for _, record in alive])
            vectors.rewrite(np.array([ordinal for ordinal, _ in alive], np.int64), rows)


def check_room(home: Path, store: store_pb.StoreState, models: Models, space: TermSpace) -> None:
    """Refuse to make files for which there is no disk: for a while those of both stores are on it.

    Args:
        home: a folder on that disk.
        store: totals of the store that the files belong to.

    Raises:
        SetupError: they do not fit.
    """
    each = sum(Manifest.of("", models).row_bytes) + 8 * space.words + _BYTES_EACH
    needed, free = store.ordinals * each + _SPARE_BYTES, shutil.disk_usage(home).free
    if free < needed:
        raise SetupError(
            f"vectors, term index and ids of {store.ordinals} images take {needed / 1e6:.0f} MB beside those of the "
            f"active store, {free / 1e6:.0f} MB are free under {home}: free some disk, then send the command again"
        )
