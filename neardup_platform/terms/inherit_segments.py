"""Term index of a store that was replaced → **the segments that both stores share, as an index of the present store**.

A segment is cut where the two stores part, and around images that it lacks. Images that it should not hold are deleted.
What is missing is hashed again, as after damage.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from time import time_ns

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import BadArtefact
from neardup_platform.files import sync_folder
from neardup_platform.terms.blocks import BLOCK_IMAGES, Blocks
from neardup_platform.terms.json_manifest import Manifest, read_manifest, write_manifest
from neardup_platform.terms.mmap_segment import Segment, open_segment, segment_name, write_segment
from neardup_platform.terms.parts import DELETED, LIVE

log = logging.getLogger(__name__)


def inherit_segments(
    folder: Path,
    version: str,
    source: str,
    replaced: str,
    wanted: NDArray[np.bool_],
    block_images: int = BLOCK_IMAGES,
    origin: Path | None = None,
) -> int:
    """Make the segments of another store's index those of this one; returns how many serve.

    Args:
        folder: of the index; no other process writes to it. Created if it is missing.
        version: of the term space.
        source: id of the present store.
        replaced: id of the other store.
        wanted: bool [ordinals that both share], those that the index must hold.
        block_images: as of `TermIndex`.
        origin: folder of the index of the other store, on the same disk, whose segments are linked; None for the same
            one. Its worker may merge them meanwhile: those that are gone are hashed again.
    """
    try:
        found = read_manifest(origin or folder)
    except BadArtefact:
        return 0
    if found is None or (found.version, found.source) != (version, replaced):
        return 0
    bound, generation = Blocks(block_images).recent(len(wanted)), found.generation + 1
    kept: list[Segment] = []
    try:
        if origin is not None:
            found = replace(found, segments=_linked(origin, found.segments, folder))
        for segment in _opened(folder, found, bound):
            for first, end in _serving(segment, wanted[:bound], block_images):
                whole = (first, end) == (segment.first, segment.end)
                kept.append(segment if whole else _cut(folder, segment, first, end, version, generation))
        hidden = [each.first + np.nonzero(_held(each) & ~wanted[each.first : each.end])[0] for each in kept]
        names = [segment.path.name for segment in kept if segment.path is not None]
        deleted = [int(ordinal) for each in hidden for ordinal in each]
        write_manifest(folder, Manifest(version, source, generation, names, deleted))
    except OSError as error:
        log.warning("the term index %s cannot be taken over (%s): it is made again", folder, error)
        return 0
    return len(kept)


def link_segments(source: Path, folder: Path, version: str, store_id: str) -> None:
    """Take over the index of a store from another folder on the same disk, if it is there; no process writes to it.

    Segments get names of a generation that `folder` has not had: followers know segments by name. Those in `source`
    stay until it is removed, so a kill before that repeats this.

    Args:
        source: where it is.
        folder: where it belongs.
        version: of the term space.
        store_id: of the store.

    Raises:
        BadArtefact: a manifest or a segment is damaged.
        OSError: it cannot be linked; the index in `folder` still serves.
    """
    found, there = read_manifest(source), read_manifest(folder)
    if found is None or (found.version, found.source) != (version, store_id):
        return
    folder.mkdir(parents=True, exist_ok=True)
    generation = max(found.generation, there.generation if there else 0, time_ns()) + 1
    names = []
    for name in found.segments:
        segment = open_segment(source / name, version, verify=False)
        names.append(segment_name(segment.first, segment.end, generation))
        os.link(source / name, folder / names[-1])
    sync_folder(folder)
    write_manifest(folder, Manifest(version, store_id, generation, names, found.deleted))


def _linked(origin: Path, names: Sequence[str], folder: Path) -> list[str]:
    """Link segments into a folder; returns the names of those that are still there."""
    folder.mkdir(parents=True, exist_ok=True)
    linked = []
    for name in names:
        with suppress(FileNotFoundError):
            os.link(origin / name, folder / name)
            linked.append(name)
    return linked


def _opened(folder: Path, manifest: Manifest, bound: int) -> Iterator[Segment]:
    """The undamaged segments that begin before an ordinal."""
    for name in manifest.segments:
        try:
            segment = open_segment(folder / name, manifest.version)
        except BadArtefact as error:
            log.error("%s", error)
            continue
        if segment.first < bound:
            yield segment


def _held(segment: Segment) -> NDArray[np.bool_]:
    """Which ordinals of its range a segment holds."""
    held = np.zeros(segment.end - segment.first, np.bool_)
    held[segment.part.ordinals.astype(np.int64) - segment.first] = True
    return held


def _serving(segment: Segment, wanted: NDArray[np.bool_], block_images: int) -> list[tuple[int, int]]:
    """The ranges [first, end) of which a segment holds all that is wanted, without pieces shorter than a block."""
    end = min(segment.end, len(wanted))
    lacking = segment.first + np.nonzero(wanted[segment.first : end] & ~_held(segment)[: end - segment.first])[0]
    edges = pairwise([segment.first - 1, *lacking.tolist(), end])
    return [(before + 1, after) for before, after in edges if after - before > block_images]


def _cut(folder: Path, segment: Segment, first: int, end: int, version: str, generation: int) -> Segment:
    """Write a part of a segment."""
    states = np.full(segment.end - segment.first, DELETED, np.uint8)
    states[first - segment.first : end - segment.first] = LIVE
    return write_segment(folder, segment_name(first, end, generation), [segment], states, version, (first, end))
