"""Compiled inner loops of the term index (numba), optimised for memory traffic, which dominates their cost.

Most images are compared by the first words of their signature alone, which are stored a second time in columns; only
those near enough are looked up in the rows of whole signatures. All loops release the GIL. Hot loops use unsigned
indices and make no views: signed indices prevent vector instructions, and a view inside a loop counts references
atomically, which stalls memory reads.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neardup_platform.intrinsics import popcount, prefetch
from neardup_platform.terms.candidates import Candidates
from neardup_platform.terms.parts import (
    DELETED,
    EARLY,
    GROUP,
    LATE,
    NOTHING,
    RETIRED,
    U64,
    Part,
    Plan,
    Query,
    Shortlists,
    Visible,
)

# Images, 512 KiB of heads, that all queries of a batch are compared with before the next ones.
CHUNK_IMAGES = 16_384
# Shortlisted images to prefetch ahead; memory serves many requests at once.
AHEAD = 16
# Words of a cache line.
LINE_WORDS = 8
_U = np.uint64
LOW_32 = _U(0xFFFFFFFF)


@njit(nogil=True, cache=True)
def plan_cells(nearest: NDArray[np.int64], sizes: NDArray[np.int64], early: int, scan: int, plan: Plan) -> None:
    """Chooses the nearest cells that together hold `scan` images.

    Args:
        nearest: int64 [q, cells], cells by affinity, nearest first.
        sizes: int64 [cells], images in each.
        early: images in the cells scanned first.
        scan: images in all cells scanned.
        plan: receives them.
    """
    turns = np.empty(nearest.shape[1], np.uint8)
    for query in range(nearest.shape[0]):
        turns[:] = 0
        chosen = 0
        for rank in range(nearest.shape[1]):
            if chosen >= scan:
                break
            cell = nearest[query, rank]
            turns[cell] = EARLY if chosen < early else LATE
            chosen += sizes[cell]
        count = 0
        for cell in range(nearest.shape[1]):
            if turns[cell]:
                plan.cells[query, count], plan.turns[query, count] = cell, turns[cell]
                count += 1
        plan.counts[query], plan.images[query] = count, chosen


@njit(nogil=True, cache=True, inline="always")
def _unequal_terms(signatures: U64, place: np.uint64, words: U64, row: np.uint64, plane_words: np.uint64) -> np.uint64:
    """Counts different terms: the set bits of the OR of the differences of all planes."""
    unequal = _U(0)
    for column in range(plane_words):
        differ = _U(0)
        for word in range(column, _U(words.shape[1]), plane_words):
            differ |= signatures[place, word] ^ words[row, word]
        unequal += popcount(differ)
    return unequal


@njit(nogil=True, cache=True)
def shortlist_part(  # noqa: C901, PLR0912, PLR0915 -- one loop nest, which the compiler must see whole
    number: int,
    part: Part,
    turn: int,
    plan: Plan,
    query: Query,
    visible: Visible,
    lists: Shortlists,
) -> None:
    """Puts a part's nearest images on the shortlist of each query.

    A shortlist accepts every image up to a cutoff distance. As it fills, the cutoff drops to the smallest distance that
    `size` images reach. So the result does not depend on the order of images; but the earlier near ones come, the fewer
    are accepted in vain, which is why each query scans its nearest cells first.

    Args:
        number: of the part, recorded in `places`.
        part: the images.
        turn: EARLY or LATE.
        plan: the cells that each query scans.
        query: the queries.
        visible: the images that may be found.
        lists: the shortlists.
    """
    head, signatures, ordinals, starts, hides = part.head, part.signatures, part.ordinals, part.starts, part.hides
    words, plane_words, by_overlap = query.words, _U(query.plane_words), query.by_overlap
    states, recent, limits = visible.states, visible.recent, visible.before
    keys, places, histograms, wanted = lists.keys, lists.places, lists.histograms, lists.size
    room = keys.shape[1] - GROUP
    tag, images = _U(number) << _U(32), _U(ordinals.shape[0])
    distances = np.empty(GROUP, np.uint64)
    cells = starts.shape[0] - 1
    planned, turns, counts = plan.cells, plan.turns, plan.counts
    positions = np.zeros(counts.shape[0], np.int64)
    first = 0
    while first < cells:
        # Cells are scanned in blocks that fit the cache, so that all queries of a batch share each read.
        stop = first + 1
        while stop < cells and starts[stop] - starts[first] < CHUNK_IMAGES:
            stop += 1
        for row in range(_U(counts.shape[0])):
            at, count = positions[row], counts[row]
            if at == count or planned[row, at] >= stop:
                continue
            word0, word1, word2, word3 = words[row, 0], words[row, 1], words[row, 2], words[row, 3]
            n, cutoff, within = lists.filled[row], lists.cutoffs[row], lists.within[row]
            bound, before = lists.bounds[row], limits[row]
            while at < count and planned[row, at] < stop:
                cell = planned[row, at]
                at += 1
                if turns[row, at - 1] != turn:
                    continue
                last = cell + 1
                while at < count and planned[row, at] == last and last < stop and turns[row, at] == turn:
                    at += 1
                    last += 1
                end = _U(starts[last])
                for group in range(_U(starts[cell]), end, _U(GROUP)):
                    size, nearest = min(_U(GROUP), end - group), NOTHING
                    if by_overlap:
                        for i in range(size):
                            distances[i] = _unequal_terms(signatures, group + i, words, row, plane_words)
                            nearest = min(nearest, distances[i])
                    elif group + _U(GROUP) <= images:
                        # A fixed count compiles to straight vector code; images after the end are skipped below.
                        for i in range(_U(GROUP)):
                            place = group + i
                            one = popcount(head[_U(0), place] ^ word0) + popcount(head[_U(1), place] ^ word1)
                            two = popcount(head[_U(2), place] ^ word2) + popcount(head[_U(3), place] ^ word3)
                            distances[i] = one + two
                            nearest = min(nearest, one + two)
                    else:
                        for i in range(size):
                            place = group + i
                            one = popcount(head[_U(0), place] ^ word0) + popcount(head[_U(1), place] ^ word1)
                            two = popcount(head[_U(2), place] ^ word2) + popcount(head[_U(3), place] ^ word3)
                            distances[i] = one + two
                            nearest = min(nearest, one + two)
                    if nearest > _U(cutoff):
                        continue
                    # One bit for each image within the cutoff: few are, and branches would be unpredictable.
                    near = _U(0)
                    for i in range(size):
                        near |= _U(distances[i] <= _U(cutoff)) << i
                    while near:
                        i = popcount(~near & (near - _U(1)))
                        near &= near - _U(1)
                        distance = distances[i]
                        ordinal = _U(ordinals[group + i])
                        key = (distance << _U(32)) | ordinal
                        if key > bound or np.int64(ordinal) >= before:
                            continue
                        if hides:
                            state = states[ordinal]
                            if state == DELETED or (state == RETIRED and np.int64(ordinal) < recent):
                                continue
                        keys[row, _U(n)], places[row, _U(n)] = key, tag | (group + i)
                        n += 1
                        within += 1
                        histograms[row, distance] += 1
                    while within - histograms[row, _U(cutoff)] >= wanted:
                        within -= histograms[row, _U(cutoff)]
                        cutoff -= 1
                    if n > room:
                        n, bound = _compact(keys[row], places[row], n, cutoff, wanted, bound)
            positions[row] = at
            lists.filled[row], lists.cutoffs[row], lists.within[row], lists.bounds[row] = n, cutoff, within, bound
        first = stop


@njit(nogil=True, cache=True)
def _compact(keys: U64, places: U64, n: int, cutoff: int, size: int, bound: np.uint64) -> tuple[int, np.uint64]:
    """Drops entries beyond the cutoff, and the newest of those at it, so that at most `size` remain.

    Returns:
        How many remain, and the largest key that can still be among the best.
    """
    n = _keep(keys, places, n, (_U(cutoff + 1) << _U(32)) - _U(1))
    if n <= size:
        return n, bound
    bound = np.partition(keys[:n], size - 1)[size - 1]
    return _keep(keys, places, n, bound), bound


@njit(nogil=True, cache=True)
def _keep(keys: U64, places: U64, n: int, largest: np.uint64) -> int:
    kept = 0
    for i in range(n):
        if keys[i] <= largest:
            keys[kept], places[kept] = keys[i], places[i]
            kept += 1
    return kept


@njit(nogil=True, cache=True)
def close_shortlists(lists: Shortlists) -> None:
    """Keeps the `size` nearest images of each shortlist, the older first among equals."""
    for row in range(lists.filled.shape[0]):
        lists.filled[row], _ = _compact(
            lists.keys[row], lists.places[row], lists.filled[row], lists.cutoffs[row], lists.size, lists.bounds[row]
        )


@njit(nogil=True, cache=True)
def compare_part(number: int, part: Part, query: Query, tables: int, min_overlap: int, lists: Shortlists) -> None:
    """Compares the shortlisted images of a part by their whole signatures.

    Each key becomes Hamming distance · 2^40 + ordinal · 2^8 + overlap, or all ones if the overlap is too small.
    """
    signatures, here, words, plane_words = part.signatures, _U(number), query.words, _U(query.plane_words)
    for row in range(_U(lists.filled.shape[0])):
        keys, places, count = lists.keys[row], lists.places[row], _U(lists.filled[row])
        for i in range(count):
            ahead = i + _U(AHEAD)
            if ahead < count and places[ahead] >> _U(32) == here:
                for word in range(_U(0), _U(words.shape[1]), _U(LINE_WORDS)):
                    prefetch(signatures, places[ahead] & LOW_32, word)
            if places[i] >> _U(32) != here:
                continue
            place = places[i] & LOW_32
            distance = _U(0)
            for word in range(_U(words.shape[1])):
                distance += popcount(signatures[place, word] ^ words[row, word])
            overlap = _U(tables) - _unequal_terms(signatures, place, words, row, plane_words)
            ordinal = keys[i] & LOW_32
            keys[i] = ((distance << _U(40)) | (ordinal << _U(8)) | overlap) if overlap >= _U(min_overlap) else NOTHING


@njit(nogil=True, cache=True)
def best_of(lists: Shortlists, k: int, found: Candidates) -> None:
    """Unpacks the K smallest keys of each query, best first."""
    for row in range(lists.filled.shape[0]):
        keys = lists.keys[row, : lists.filled[row]]
        best = np.sort(np.partition(keys, k)[:k]) if len(keys) > k else np.sort(keys)
        for rank in range(len(best)):
            if best[rank] == NOTHING:
                break
            found.distances[row, rank] = best[rank] >> _U(40)
            found.ordinals[row, rank] = (best[rank] >> _U(8)) & LOW_32
            found.overlaps[row, rank] = best[rank] & _U(0xFF)


@njit(nogil=True, cache=True)
def nearest_of(lists: Shortlists, k: int, found: Candidates) -> None:
    """Unpacks the ordinals of the K smallest keys of each query, distance · 2^32 + ordinal, best first."""
    for row in range(lists.filled.shape[0]):
        keys = lists.keys[row, : lists.filled[row]]
        best = np.sort(np.partition(keys, k)[:k]) if len(keys) > k else np.sort(keys)
        for rank in range(len(best)):
            found.ordinals[row, rank] = best[rank] & LOW_32
