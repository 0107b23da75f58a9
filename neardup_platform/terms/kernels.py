"""Compiled inner loops of the term index (numba), written for the cache misses that rule their cost.

Each releases the GIL. `counts` is scratch of one byte per image that every call leaves zeroed, so a query
costs what it reads, not what the index holds.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def build_postings(terms: NDArray[np.uint16], buckets: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Counting sort of each table's column.

    Args:
        terms: uint16 [n, tables].
        buckets: 2^bits.

    Returns:
        starts uint32 [tables, buckets + 1] and postings uint32 [tables, n]: the images that hold term v of
        table t are `postings[t, starts[t, v] : starts[t, v + 1]]`, ascending.
    """
    n, tables = terms.shape
    starts = np.zeros((tables, buckets + 1), np.uint32)
    postings = np.empty((tables, n), np.uint32)
    for t in range(tables):
        for i in range(n):
            starts[t, terms[i, t] + 1] += 1
        for v in range(buckets):
            starts[t, v + 1] += starts[t, v]
        fill = starts[t].copy()
        for i in range(n):
            v = terms[i, t]
            postings[t, fill[v]] = i
            fill[v] += 1
    return starts, postings


@njit(cache=True, nogil=True)
def merge_postings(
    starts_a: NDArray[np.uint32],
    postings_a: NDArray[np.uint32],
    starts_b: NDArray[np.uint32],
    postings_b: NDArray[np.uint32],
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Concatenate two neighbouring segments, b's images after a's, bucket by bucket."""
    tables, n_a = postings_a.shape
    n_b = postings_b.shape[1]
    starts = starts_a + starts_b
    postings = np.empty((tables, n_a + n_b), np.uint32)
    for t in range(tables):
        to = 0
        for v in range(starts_a.shape[1] - 1):
            for i in range(starts_a[t, v], starts_a[t, v + 1]):
                postings[t, to] = postings_a[t, i]
                to += 1
            for i in range(starts_b[t, v], starts_b[t, v + 1]):
                postings[t, to] = postings_b[t, i] + n_a
                to += 1
    return starts, postings


@njit(cache=True, nogil=True)
def _keep_best(
    images: NDArray[np.uint32],
    overlaps: NDArray[np.uint8],
    found: int,
    out_images: NDArray[np.int64],
    out_overlaps: NDArray[np.uint8],
    base: int,
) -> None:
    """Sort by overlap descending, then by age, and write the first rows of `out_*`."""
    keys = np.empty(found, np.int64)
    for i in range(found):
        keys[i] = ((255 - np.int64(overlaps[i])) << 40) | np.int64(images[i])
    k = min(found, out_images.shape[0])
    if found > k:
        keys = np.partition(keys, k - 1)[:k]
    keys.sort()
    for i in range(k):
        out_images[i] = base + (keys[i] & ((1 << 40) - 1))
        out_overlaps[i] = 255 - (keys[i] >> 40)


@njit(cache=True, nogil=True)
def search_postings(
    starts: NDArray[np.uint32],
    postings: NDArray[np.uint32],
    base: int,
    queries: NDArray[np.uint16],
    min_overlap: int,
    counts: NDArray[np.uint8],
    out_images: NDArray[np.int64],
    out_overlaps: NDArray[np.uint8],
) -> None:
    """Exact top-K by overlap over one segment, for each query.

    Two passes over the same postings: the first counts, and keeps a histogram from which the smallest overlap
    that can still be among the best K follows; the second collects what reaches it and zeroes the counts.

    Args:
        base: ordinal of the segment's first image.
        queries: uint16 [q, tables].
        counts: uint8 [images of the segment], zero before and after.
        out_images: int64 [q, K], filled from the left; what is not filled keeps its value.
        out_overlaps: uint8 [q, K].
    """
    tables = queries.shape[1]
    k = out_images.shape[1]
    histogram = np.zeros(tables + 2, np.int64)
    for q in range(queries.shape[0]):
        histogram[:] = 0
        for t in range(tables):
            v = queries[q, t]
            for i in range(starts[t, v], starts[t, v + 1]):
                image = postings[t, i]
                counts[image] += 1
                histogram[counts[image]] += 1
        # histogram[c] is the number of images with at least c equal terms.
        cutoff = min_overlap
        while cutoff < tables and histogram[cutoff + 1] >= k:
            cutoff += 1
        images = np.empty(histogram[cutoff], np.uint32)
        overlaps = np.empty(histogram[cutoff], np.uint8)
        found = 0
        for t in range(tables):
            v = queries[q, t]
            for i in range(starts[t, v], starts[t, v + 1]):
                image = postings[t, i]
                if counts[image] >= cutoff:
                    images[found] = image
                    overlaps[found] = counts[image]
                    found += 1
                counts[image] = 0
        _keep_best(images, overlaps, found, out_images[q], out_overlaps[q], base)


@njit(cache=True, nogil=True)
def search_rows(
    rows: NDArray[np.uint16],
    base: int,
    queries: NDArray[np.uint16],
    before: NDArray[np.int64],
    min_overlap: int,
    out_images: NDArray[np.int64],
    out_overlaps: NDArray[np.uint8],
) -> None:
    """The same over the unsorted newest images, by comparing every row.

    Args:
        rows: uint16 [n, tables].
        before: int64 [q]; only images with a smaller ordinal are found, which is how the images of one
            micro-batch see those before them and not those after.
    """
    n, tables = rows.shape
    images = np.empty(n, np.uint32)
    overlaps = np.empty(n, np.uint8)
    for q in range(queries.shape[0]):
        query = queries[q]
        found = 0
        for i in range(min(n, before[q] - base)):
            equal = np.uint16(0)
            for t in range(tables):
                equal += np.uint16(rows[i, t] == query[t])
            if equal >= min_overlap:
                images[found] = i
                overlaps[found] = equal
                found += 1
        _keep_best(images, overlaps, found, out_images[q], out_overlaps[q], base)
