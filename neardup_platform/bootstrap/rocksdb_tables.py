"""Writes rows of the store's tables as files that RocksDB takes in (SSTs), each in the order of its keys."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rocksdict import SstFileWriter

from neardup_platform.bootstrap.record_kernels import (
    Bytes,
    Clusters,
    Images,
    Numbers,
    put_clusters,
    put_history,
    put_images,
    put_members,
    put_recent,
    put_vectors,
    text_bytes,
)
from neardup_platform.records import Cause
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.store.view import rocksdb_options

# Entries are encoded in parts that stay in the processor's cache; a larger entry gets a larger buffer.
_BUFFER_BYTES = 1 << 20
_MOST_BYTES = 16 << 20
_BUFFER_ENTRIES = 1 << 16

# Writes entries from a row on into a buffer; returns how many.
Encode = Callable[[int, Bytes, Numbers], int]
Count = Callable[[int], None]


def write_table(path: Path, first: int, end: int, encode: Encode, written: Count) -> None:
    """Write the rows first…end − 1 of a table as one file; it is complete and synced when it has its name.

    Args:
        encode: writes their entries, in order of key.
        written: called with the number of entries written since the last call; what it raises ends this one.

    Raises:
        OSError: the disk is full or broken.
    """
    staged = path.with_suffix(".tmp")
    staged.unlink(missing_ok=True)
    writer = SstFileWriter(rocksdb_options())
    try:
        writer.open(str(staged))
        for data, ends in _entries(first, end, encode):
            at = 0
            for key, value in zip(ends[::2], ends[1::2], strict=True):
                writer[data[at:key]] = data[key:value]
                at = value
            written(len(ends) // 2)
        writer.finish()
    except Exception as error:
        if type(error) is Exception:  # rocksdict raises bare Exception with RocksDB's text
            raise OSError(f"writing {path} failed: {error}") from error
        raise
    descriptor = os.open(staged, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    staged.rename(path)


def _entries(first: int, end: int, encode: Encode) -> Iterator[tuple[bytes, list[int]]]:
    out, ends = np.empty(_BUFFER_BYTES, np.uint8), np.empty(2 * _BUFFER_ENTRIES, np.int64)
    while first < end:
        entries = encode(first, out, ends[: 2 * (end - first)])
        if not entries:
            if len(out) >= _MOST_BYTES:
                raise OSError(f"entry {first} does not fit into {_MOST_BYTES} bytes")
            out = np.empty(2 * len(out), np.uint8)
            continue
        used = ends[: 2 * entries].tolist()
        yield out[: used[-1]].tobytes(), used
        first += entries


def images_in(images: Images, order: Numbers) -> Encode:
    """Table IMAGES; `order` is that of the ids."""
    return lambda first, out, ends: put_images(images, order[first:], out, ends)


def members_in(images: Images, order: Numbers) -> Encode:
    """Table MEMBERS; `order` is that of the heads by length and bytes, and of the rows."""
    return lambda first, out, ends: put_members(images, order[first:], out, ends)


def history_in(images: Images, terms_version: str, command_id: str, order: Numbers) -> Encode:
    """Table HISTORY; `order` is that of the ids by length and bytes."""
    constants = text_bytes(terms_version), text_bytes(Cause.GIVEN), text_bytes(command_id)
    founder = np.array([1.0], "<f4").view(np.uint8)
    return lambda first, out, ends: put_history(images, constants, founder, order[first:], out, ends)


def clusters_in(images: Images, clusters: Clusters) -> Encode:
    """Table CLUSTERS; the clusters are in the order of the ids of their heads."""
    return lambda first, out, ends: put_clusters(images, clusters, first, out, ends)


def recent_in(images: Images, clusters: Clusters) -> Encode:
    """Table RECENT; the clusters have two members or more, the latest changed blocks first, then by head."""
    return lambda first, out, ends: put_recent(images, clusters, first, out, ends)


def vectors_in(images: Images, versions: tuple[str, str], rows: ImageVectors) -> Encode:
    """Table VECTORS.

    Args:
        versions: of the models of both embeddings.
        rows: of all images, in files or memory.
    """
    names = text_bytes(versions[0]), text_bytes(versions[1])

    def encode(first: int, out: Bytes, ends: NDArray[np.int64]) -> int:
        part = slice(first, first + len(ends) // 2)
        lsh, pair = (kind[part].view(np.uint8) for kind in rows)
        return int(put_vectors(images, names, lsh, pair, first, out, ends))

    return encode
