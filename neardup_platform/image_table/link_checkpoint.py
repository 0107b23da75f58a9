"""A checkpoint that was made for a store in another folder → **its files in the folder of the active store**."""

import os
from dataclasses import asdict, replace
from pathlib import Path

from neardup_platform.files import sync_folder, write_sealed
from neardup_platform.image_table.checkpoint import NAME, read_checkpoint
from neardup_platform.image_table.mmap_ids import unused_generation


def link_checkpoint(source: Path, folder: Path, store_id: str) -> None:
    """Take over the checkpoint of a store from another folder on the same disk, if it is there.

    The files in `source` stay until it is removed, so a kill before that repeats this. Those that the previous
    checkpoint names stay for those who have them mapped, until another one is written.

    Args:
        source: where it is; no process writes to it.
        folder: where it belongs; no process writes to it.
        store_id: of the store.

    Raises:
        BadArtefact: it is damaged.
        OSError: it cannot be linked; the images are read from the store.
    """
    found = read_checkpoint(source)
    if found is None or found.store_id != store_id:
        return
    folder.mkdir(parents=True, exist_ok=True)
    linked = replace(found, generation=unused_generation(folder))
    pairs = zip((*found.ids(source), found.columns(source)), (*linked.ids(folder), linked.columns(folder)), strict=True)
    for old, new in pairs:
        # Columns of the same commit are those of another store.
        new.unlink(missing_ok=True)
        os.link(old, new)
    sync_folder(folder)
    write_sealed(folder / NAME, asdict(linked))
