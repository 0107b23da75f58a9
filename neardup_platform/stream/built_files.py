"""Vectors, term index and checkpoint of a store that replaces the active one, for the worker that opens it.

They are made while the active store decides: those of a reprocessed store by the reprocessing, which decides with them,
those of a restored store by `next_files/`. When the store is complete they are kept beside it (`keep`), and the worker
that opens it makes them its own (`adopt`). So it reads only what has changed since. Whatever is missing, damaged, or of
another store is made again as at any other start.
"""

import logging
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from uuid import uuid4

from neardup_platform.errors import BadArtefact
from neardup_platform.image_table.link_checkpoint import link_checkpoint
from neardup_platform.records import Kind, ModelSpec
from neardup_platform.scoring.inherit_vectors import link_vectors
from neardup_platform.terms.inherit_segments import link_segments

log = logging.getLogger(__name__)

VECTORS, INDEX = "vectors", "index"
# Prefix of folders under NEARDUP_HOME.
_UNFINISHED = "next-files-"


def built_path(store: Path) -> Path:
    """Return where the files of the next store are kept."""
    return store.with_name(f"{store.name}.next-files")


def keep(scratch: Path, store: Path) -> None:
    """Keep the files of a complete store; nothing writes to them any more.

    Args:
        scratch: a folder with `vectors`, in which the checkpoint is, too, and `index`, on the same disk as the store.
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
    for link in (
        partial(link_vectors, kept / VECTORS, vectors, store_id, models),
        partial(link_segments, kept / INDEX, index, version, store_id),
        # Last: once it is there, the others are, too.
        partial(link_checkpoint, kept / VECTORS, vectors, store_id),
    ):
        try:
            link()
        except (OSError, BadArtefact) as error:
            log.warning("a part of the files in %s cannot be used (%s): it is made again", kept, error)
    remove(store)


def remove(store: Path) -> None:
    """Remove what is kept."""
    shutil.rmtree(built_path(store), ignore_errors=True)


def unfinished_path(home: Path) -> Path:
    """Return a new folder for files that are being made: a process of a killed worker may still write to its own."""
    return home / f"{_UNFINISHED}{uuid4().hex[:8]}"


def remove_unfinished(home: Path) -> None:
    """Remove the files that an attempt that ended or was killed has begun to make."""
    for left in home.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(left, ignore_errors=True)
