"""One segment of the term index: an immutable, checksummed file, mapped into memory by every process that reads it.

Byte layout, little-endian, every section on a page boundary:

| section | bytes | content |
|---|---|---|
| header | 4,096 | `NDTERMS1`, u32 length, u32 CRC-32 of the JSON, then the JSON: see `_header` |
| starts | 8 · (cells + 1) | int64, where each cell begins |
| ordinals | 4 · images | uint32, ascending within a cell |
| head | 32 · images | uint64 [4, images], the head of each image; with signatures, their first words |
| signatures | 8 · images · words | uint64 [images, words]; nothing in an index by cosine |
| table | 4 · chunks | uint32, CRC-32 of every 16 MiB from `starts` to the end of `signatures` |

A file is written under a temporary name, synced and renamed, so a segment exists completely or not at all.
"""

import json
import mmap
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import BadArtefact
from neardup_platform.files import sync_folder
from neardup_platform.terms.merging import append_cells, count_live
from neardup_platform.terms.parts import HEAD_WORDS, Part
from neardup_platform.terms.window import Rows

MAGIC = b"NDTERMS1"
PAGE = 4_096
CHUNK = 1 << 24
_PREFIX = struct.Struct("<8sII")


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """The images of a range of ordinals, without those that were retired or deleted.

    Attributes:
        first: the first ordinal covered.
        end: the ordinal after the last one covered.
        path: the file, or None for a segment in memory.
    """

    first: int
    end: int
    part: Part
    path: Path | None = None

    @property
    def images(self) -> int:
        """The number of images."""
        return len(self.part.ordinals)

    def count_of(self, ordinals: NDArray[np.int64]) -> int:
        """Returns how many of these ordinals, ascending, are in its range."""
        first, end = np.searchsorted(ordinals, [self.first, self.end])
        return int(end - first)

    @property
    def bytes(self) -> int:
        """The bytes of its arrays; the file has a few more pages."""
        part = self.part
        return part.head.nbytes + part.signatures.nbytes + part.ordinals.nbytes + part.starts.nbytes


def segment_name(first: int, end: int, generation: int) -> str:
    """Returns the file name of a segment that a manifest of this generation is the first to name."""
    return f"{first:012d}-{end:012d}-{generation}.segment"


def named_range(name: str) -> range:
    """Returns the ordinals that a segment covers, by its file name."""
    first, end, _ = name.split("-")
    return range(int(first), int(end))


def memory_segment(
    first: int,
    end: int,
    rows: Rows,
    cell_count: int,
) -> Segment:
    """Sorts images by cell into a segment in memory.

    Args:
        first, end: range of ordinals covered.
        rows: the images, in order of ordinal.
        cell_count: cells of the term space.
    """
    order = np.argsort(rows.cells, kind="stable")
    starts = np.zeros(cell_count + 1, np.int64)
    np.cumsum(np.bincount(rows.cells, minlength=cell_count), out=starts[1:])
    head, ordinals = np.ascontiguousarray(rows.heads[order].T), rows.ordinals[order].astype(np.uint32)
    return Segment(first, end, Part(head, rows.signatures[order], ordinals, starts, hides=False))


def merge_in_memory(segments: Sequence[Segment], states: NDArray[np.uint8]) -> Segment:
    """Merges neighbouring segments in memory, without retired and deleted images; `states` as of `write_segment`."""
    starts = _merged_starts(segments, states)
    images, words = int(starts[-1]), segments[0].part.signatures.shape[1]
    head, signatures = np.empty((HEAD_WORDS, images), np.uint64), np.empty((images, words), np.uint64)
    part = Part(head, signatures, np.empty(images, np.uint32), starts, hides=False)
    _fill(part, segments, states)
    return Segment(segments[0].first, segments[-1].end, part)


def write_segment(
    folder: Path,
    name: str,
    segments: Sequence[Segment],
    states: NDArray[np.uint8],
    version: str,
    covered: tuple[int, int] | None = None,
) -> Segment:
    """Merges neighbouring segments into a new file, without retired and deleted images.

    Args:
        folder: of the index.
        name: of the file.
        segments: in order of ordinal.
        states: uint8 [·], of the ordinals from the first one of these segments on.
        version: of the term space, for the header.
        covered: first and end of the new segment where it does not cover all of them: the others are not live.

    Raises:
        OSError: the disk is full or broken; then no file of that name exists.
    """
    first, end = covered or (segments[0].first, segments[-1].end)
    starts = _merged_starts(segments, states)
    sections = _sections(int(starts[-1]), len(starts) - 1, segments[0].part.signatures.shape[1])
    body = sections[-1].end
    chunks = -(-(body - PAGE) // CHUNK)
    temporary = folder / f"{name}.tmp"
    try:
        with temporary.open("w+b") as file:
            # Reserves the blocks: otherwise a full disk would kill the process when a mapped page is written.
            os.posix_fallocate(file.fileno(), 0, body + 4 * chunks)
            with mmap.mmap(file.fileno(), 0) as memory:
                part = _map_part(memory, sections)
                part.starts[:] = starts
                _fill(part, segments, states)
                del part
                table = _checksums(memory, body).astype("<u4").tobytes()
                memory[body:] = table
                memory[:PAGE] = _header(first, end, sections, version, zlib.crc32(table))
                memory.flush()
            os.fsync(file.fileno())
        temporary.rename(folder / name)
        sync_folder(folder)
    finally:
        temporary.unlink(missing_ok=True)
    return open_segment(folder / name, version, verify=False)


def open_segment(
    path: Path, version: str, *, verify: bool = True, verified: Callable[[], None] = lambda: None
) -> Segment:
    """Maps a segment.

    Args:
        path: the file.
        version: the term space that it must have.
        verify: whether to read the whole file and compare checksums (about 1.5 GB/s on two cores).
        verified: called after every 16 MiB verified.

    Raises:
        BadArtefact: the file is missing, truncated, damaged, or of another term space.
    """
    try:
        with path.open("rb") as file:
            # Private and writable: the arrays have one type everywhere, and nothing is ever written to them.
            memory = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        header = _read_header(memory[:PAGE])
        if header["version"] != version:
            raise ValueError(f"it holds terms of {header['version']}, expected {version}")
        sections = _sections(header["images"], header["cells"], header["words"])
        body = sections[-1].end
        table = memory[body:]
        if len(memory) != body + 4 * -(-(body - PAGE) // CHUNK) or zlib.crc32(table) != header["table_crc"]:
            raise ValueError(f"it is truncated or its checksum table is damaged ({len(memory)} bytes)")
        if verify:
            wrong = np.nonzero(_checksums(memory, body, verified) != np.frombuffer(table, "<u4"))[0]
            if len(wrong):
                raise ValueError(f"wrong checksum in bytes {PAGE + int(wrong[0]) * CHUNK} and the following {CHUNK}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadArtefact(f"segment {path}: {error}; it is rebuilt from the store") from error
    return Segment(header["first"], header["end"], _map_part(memory, sections), path)


@dataclass(frozen=True, slots=True)
class _Section:
    begin: int
    dtype: str
    shape: tuple[int, ...]

    @property
    def end(self) -> int:
        return self.begin + int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


def _sections(images: int, cells: int, words: int) -> list[_Section]:
    """Returns the sections starts, ordinals, head and signatures, each on a page boundary after the header."""
    sections: list[_Section] = []
    begin = PAGE
    for dtype, shape in (
        ("<i8", (cells + 1,)),
        ("<u4", (images,)),
        ("<u8", (HEAD_WORDS, images)),
        ("<u8", (images, words)),
    ):
        sections.append(_Section(begin, dtype, shape))
        begin = -(-sections[-1].end // PAGE) * PAGE
    return sections


def _map_part(memory: mmap.mmap, sections: Sequence[_Section]) -> Part:
    starts, ordinals, head, signatures = (
        np.frombuffer(memory, s.dtype, int(np.prod(s.shape)), s.begin).reshape(s.shape) for s in sections
    )
    return Part(head, signatures, ordinals, starts, hides=False)


def _header(first: int, end: int, sections: Sequence[_Section], version: str, table_crc: int) -> bytes:
    starts, ordinals, _, signatures = sections
    content = {
        "version": version,
        "first": first,
        "end": end,
        "images": ordinals.shape[0],
        "cells": starts.shape[0] - 1,
        "words": signatures.shape[1],
        "table_crc": table_crc,
    }
    data = json.dumps(content).encode()
    return (_PREFIX.pack(MAGIC, len(data), zlib.crc32(data)) + data).ljust(PAGE, b"\0")


def _read_header(page: bytes) -> dict[str, Any]:
    if len(page) < PAGE or not page.startswith(MAGIC):
        raise ValueError("it is no segment of the term index, or it is truncated")
    _, length, crc = _PREFIX.unpack_from(page)
    data = page[_PREFIX.size : _PREFIX.size + length]
    if zlib.crc32(data) != crc:
        raise ValueError("its header is damaged")
    header: dict[str, Any] = json.loads(data)
    return header


def _checksums(memory: mmap.mmap, body: int, done: Callable[[], None] = lambda: None) -> NDArray[np.uint32]:
    def checksum(chunk: memoryview) -> int:
        found = zlib.crc32(chunk)
        done()
        return found

    view = memoryview(memory)
    try:
        with ThreadPoolExecutor(2) as pool:
            chunks = [view[at : min(at + CHUNK, body)] for at in range(PAGE, body, CHUNK)]
            found = np.array(list(pool.map(checksum, chunks)), np.uint32)
            for chunk in chunks:
                chunk.release()
    finally:
        view.release()
    return found


def _merged_starts(segments: Sequence[Segment], states: NDArray[np.uint8]) -> NDArray[np.int64]:
    sizes = np.zeros(len(segments[0].part.starts) - 1, np.int64)
    for segment in segments:
        count_live(segment.part, states, segments[0].first, sizes)
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])


def _fill(part: Part, segments: Sequence[Segment], states: NDArray[np.uint8]) -> None:
    ends = part.starts[:-1].copy()
    for segment in segments:
        append_cells(segment.part, states, segments[0].first, part, ends)
