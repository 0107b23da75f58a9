"""Vector files of a store that was replaced → **the rows that both stores share, as files of the present store**.

They are copied, because followers of the replaced store may have the others mapped. Files that were made elsewhere for
the present store are linked.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from neardup_platform.errors import BadArtefact
from neardup_platform.files import sync_folder
from neardup_platform.progress import Progress, no_progress
from neardup_platform.records import Kind, ModelSpec
from neardup_platform.scoring.json_vector_manifest import Manifest, read_manifest, unused_generation, write_manifest

log = logging.getLogger(__name__)

_PART_BYTES = 64 << 20


def inherit_vectors(
    folder: Path,
    store_id: str,
    models: Mapping[Kind, ModelSpec],
    replaced: str,
    end: int,
    progress: Progress = no_progress,
    source: Path | None = None,
) -> int:
    """Make the first rows of another store's files those of this one; returns how many, 0 where they do not serve.

    Args:
        folder: of the vector files; no other process writes to it. Created if it is missing.
        store_id: of the present store.
        models: versions and dimensions of its embeddings.
        replaced: id of the other store.
        end: rows from this one on are not shared.
        progress: receives how far the copy has come.
        source: folder of the files of the other store; None for the same one. Its worker may erase rows meanwhile:
            what is copied of those is undefined.
    """
    wanted, source = Manifest.of(store_id, models), source or folder
    try:
        found = read_manifest(source)
    except BadArtefact:
        return 0
    if found is None or not found.suits(replace(wanted, store_id=replaced)) or found.compared != wanted.compared:
        return 0
    made = replace(wanted, generation=unused_generation(folder), rows=min(found.rows, end))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, target, row_bytes in zip(found.paths(source), made.paths(folder), made.row_bytes, strict=True):
            _copy(path, target, made.rows * row_bytes, progress)
        write_manifest(folder, made)
    except OSError as error:
        log.warning("the vectors in %s cannot be copied (%s): they are read from the store", source, error)
        for path in made.paths(folder):
            path.unlink(missing_ok=True)
        return 0
    return made.rows


def _copy(source: Path, target: Path, size: int, progress: Progress) -> None:
    """Copy the first bytes of a file within the kernel; synced when this returns."""
    done = 0
    with source.open("rb", 0) as read, target.open("wb", 0) as written:
        while done < size:
            copied = os.copy_file_range(read.fileno(), written.fileno(), min(_PART_BYTES, size - done))
            if not copied:
                raise OSError(f"{source} ends at byte {done}")
            done += copied
            progress("copying vectors, bytes", done, size)
        os.fsync(written.fileno())


def link_vectors(source: Path, folder: Path, store_id: str, models: Mapping[Kind, ModelSpec]) -> None:
    """Take over the files of a store from another folder on the same disk, if they are there; no process writes to it.

    The files in `source` stay until it is removed, so a kill before that repeats this.

    Args:
        source: where they are.
        folder: where they belong.
        store_id: of the store.
        models: versions and dimensions of its embeddings.

    Raises:
        BadArtefact: they are damaged.
        OSError: they cannot be linked; the files in `folder` still serve.
    """
    wanted, found = Manifest.of(store_id, models), read_manifest(source)
    if found is None or not found.suits(wanted):
        return
    folder.mkdir(parents=True, exist_ok=True)
    linked = replace(found, generation=unused_generation(folder))
    for old, new in zip(found.paths(source), linked.paths(folder), strict=True):
        os.link(old, new)
    sync_folder(folder)
    write_manifest(folder, linked)
