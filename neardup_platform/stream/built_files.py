"""Vectors and term index of a store that was built beside the active one, for the worker that opens it.

The files that a reprocessing decided with are those of the reprocessed store. When it is complete they are kept beside
it (`keep`), and the worker that opens the store makes them its own (`adopt`). So it neither reads all vectors from the
store nor hashes them. Whatever is missing, damaged, or of another store is made again as at any other start.
"""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

from neardup_platform.errors import BadArtefact
from neardup_platform.records import Kind, ModelSpec
from neardup_platform.scoring.inherit_vectors import move_vectors
from neardup_platform.terms.inherit_segments import move_segments

log = logging.getLogger(__name__)

VECTORS, INDEX = "vectors", "index"


def built_path(store: Path) -> Path:
    """Return where the files of the next store are kept."""
    return store.with_name(f"{store.name}.next-files")


def keep(scratch: Path, store: Path) -> None:
    """Keep the files that a complete store was made with; nothing uses them any more.

    Args:
        scratch: a folder with `vectors` and `index`, on the same disk as the store.
        store: the active one.
    """
    remove(store)
    if scratch.exists():
        scratch.rename(built_path(store))


def adopt(
    store: Path, store_id: str, models: Mapping[Kind, ModelSpec], vectors: Path, version: str, index: Path
) -> None:
    """Make kept files those of the active store; call it before vectors and index are opened.

    Args:
        store: the active store, of this id.
        models: of its vectors, which belong into the folder `vectors`.
        version: of the term space of its index, which belongs into the folder `index`.
    """
    kept = built_path(store)
    if not kept.exists():
        return
    try:
        move_vectors(kept / VECTORS, vectors, store_id, models)
        move_segments(kept / INDEX, index, version, store_id)
    except (OSError, BadArtefact) as error:
        log.warning("the files in %s cannot be used (%s): they are made again", kept, error)
    remove(store)


def remove(store: Path) -> None:
    """Remove what is kept."""
    shutil.rmtree(built_path(store), ignore_errors=True)
