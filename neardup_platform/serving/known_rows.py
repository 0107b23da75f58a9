"""The images that the worker's last checkpoint vouches for, so that a search need not compare them with the store.

    checkpoint, files of vectors and ids ─┬─▶ **rows of the corpus**, as they are
    store: what changed since ────────────┘

A restored or reprocessed store comes with a checkpoint (stream/built_files.py), so the search of the API follows an
exchange in a time that depends on what is not in it. All files name their store: those of another one are not used.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import BadArtefact, ServerUnavailable
from neardup_platform.image_table.checkpoint import read_checkpoint, read_columns
from neardup_platform.image_table.mmap_ids import FollowedIds
from neardup_platform.scoring.mmap_vectors import FollowedVectors
from neardup_platform.serving.rocksdb_follower import StoreFollower
from neardup_platform.store.changed_since import NotNoted, changed_since
from neardup_platform.store.reserved import numbers_apart

log = logging.getLogger(__name__)

# Images read at once under the follower's lock.
_CHUNK_IMAGES = 1_024
_UNWRITTEN = "vectors and ids of the images are not in {} yet: the worker writes them when it starts"


@dataclass(frozen=True, slots=True)
class KnownRows:
    """The first ordinals of a corpus.

    Attributes:
        alive, retired: bool [n], as of `Corpus.know`.
        apart: ordinals of a load, dead until it is taken in.
    """

    alive: NDArray[np.bool_]
    retired: NDArray[np.bool_]
    apart: range


def known_rows(
    folder: Path, follower: StoreFollower, source: str, vectors: FollowedVectors, ids: FollowedIds
) -> KnownRows | None:
    """Add the rows of the worker's last checkpoint to both tables, which are empty.

    Args:
        folder: of the worker's vectors and its checkpoint.
        source: id of the store.

    Returns:
        Those rows; None, and nothing is added, where it is not known what has changed since: then all rows have to be
        compared with the store.

    Raises:
        ServerUnavailable: the worker has not written the files of this store yet, or there is no store now.
    """
    try:
        found = read_checkpoint(folder)
        if found is None or found.store_id != source:
            raise ServerUnavailable(_UNWRITTEN.format(folder))
        columns = read_columns(folder, found)
    except BadArtefact as error:
        raise ServerUnavailable(f"{error} when the worker starts") from error
    with follower.reading() as store:
        state = store.state()
        try:
            changed = changed_since(store, state, found.commit, found.ordinals)
        except NotNoted as error:
            log.info("every image is compared with the store: %s", error)
            return None
    count = min(found.ordinals, vectors.synced(), ids.written())
    if found.ordinals and not count:
        raise ServerUnavailable(_UNWRITTEN.format(folder))
    retired, dead = columns.retired.copy(), np.zeros(found.ordinals, np.bool_)
    _read_changed(follower, changed, retired, dead)
    vectors.skip(count)
    ids.skip(count)
    alive = ids.alive() & ~dead[:count]
    apart = numbers_apart(state)
    log.info("%d images are those of the worker's checkpoint, %d of them changed since", count, len(changed))
    return KnownRows(alive, retired[:count] | ~alive, apart if apart.start < count else range(0))


def known_load(
    folder: Path, follower: StoreFollower, source: str, vectors: FollowedVectors, ids: FollowedIds, apart: range
) -> KnownRows | None:
    """The images of a load that was taken in, as a checkpoint that the worker has saved since says.

    Args:
        folder, source: as of `known_rows`.
        vectors, ids: which hold the ordinals of the load, dead.
        apart: these ordinals.

    Returns:
        The rows of these ordinals; None where there is no such checkpoint yet, or files are missing.
    """
    try:
        found = read_checkpoint(folder)
        if found is None or found.store_id != source or found.ordinals < apart.stop:
            return None
        with follower.reading() as store:
            changed = changed_since(store, store.state(), found.commit, found.ordinals)
        columns = read_columns(folder, found)
    except (BadArtefact, NotNoted):
        return None
    if min(vectors.synced(), ids.written()) < apart.stop:
        return None
    retired, dead = columns.retired.copy(), np.zeros(found.ordinals, np.bool_)
    _read_changed(follower, [ordinal for ordinal in changed if ordinal in apart], retired, dead)
    part = slice(apart.start, apart.stop)
    alive = ids.alive()[part] & ~dead[part]
    return KnownRows(alive, retired[part] | ~alive, range(0))


def _read_changed(
    follower: StoreFollower, ordinals: Sequence[int], retired: NDArray[np.bool_], dead: NDArray[np.bool_]
) -> None:
    for at in range(0, len(ordinals), _CHUNK_IMAGES):
        with follower.reading() as store:
            for ordinal in ordinals[at : at + _CHUNK_IMAGES]:
                record = store.vectors.find(ordinal)
                dead[ordinal] = record is None
                retired[ordinal] = record is None or record.retired
