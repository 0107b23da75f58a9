"""What a store knows of the images of a data set."""

from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from neardup_platform.bootstrap.blake2b_kernels import SIZE
from neardup_platform.bootstrap.record_kernels import hash_keys, texts_of
from neardup_platform.bootstrap.row_checks import Mask
from neardup_platform.progress import Progress, no_progress
from neardup_platform.store.layout import Table
from neardup_platform.store.view import StoreView

_CHUNK = 65_536
# Reading the key of every stored image in order costs about as much as looking up one of these.
_SCANNED_PER_LOOKUP = 2


class StoreOverlap:
    """Compares images with those of a store.

    Args:
        store: a checkpoint.
        progress: called between chunks; what it raises ends the call.
    """

    def __init__(self, store: StoreView, progress: Progress = no_progress) -> None:
        self._store, self._progress, self._state = store, progress, store.state()

    def known(self, ids: pa.Array) -> Mask:
        """Whether each id, `large_binary`, is of an image of the store, bool [n]."""
        if not self._state.images:
            return np.zeros(len(ids), np.bool_)
        if self._state.images <= _SCANNED_PER_LOOKUP * len(ids):
            return _within(ids, self._stored_ids())
        found = []
        for first in range(0, len(ids), _CHUNK):
            part = [name.decode() for name in ids.slice(first, _CHUNK).to_pylist()]
            found += [record is not None for record in self._store.images.find_many(part)]
            self._progress("comparing with the store", first, len(ids))
        return np.array(found, np.bool_)

    def touched(self, ids: pa.Array) -> Mask:
        """Whether each id, `large_binary`, is of an image that is known, forgotten, or named by an override."""
        return self.known(ids) | self._forgotten(ids) | _within(ids, self._overridden())

    def _stored_ids(self) -> pa.Array:
        keys = (key for key, _ in self._store.scan(Table.IMAGES))
        parts = []
        while part := list(islice(keys, _CHUNK)):
            parts.append(pa.array(part, pa.large_binary()))
            self._progress("comparing with the store", len(parts) * _CHUNK, self._state.images)
        return pa.concat_arrays(parts)

    def _forgotten(self, ids: pa.Array) -> Mask:
        if not self._state.forgotten:
            return np.zeros(len(ids), np.bool_)
        hashes = np.empty((len(ids), SIZE), np.uint8)
        hash_keys(texts_of(ids), hashes)
        stored = pa.array([key for key, _ in self._store.scan(Table.FORGOTTEN)], pa.binary(SIZE))
        return _within(pa.Array.from_buffers(pa.binary(SIZE), len(ids), [None, pa.py_buffer(hashes)]), stored)

    def _overridden(self) -> pa.Array:
        names = {
            name
            for override in self._store.overrides.all()
            for name in (override.image_id, override.other_id, *override.image_ids, *override.first_ids)
        }
        return pa.array([name.encode() for name in names], pa.large_binary())


def _within(values: pa.Array, those: pa.Array) -> Mask:
    found: Mask = pc.is_in(values, value_set=those).to_numpy(zero_copy_only=False)
    return found
