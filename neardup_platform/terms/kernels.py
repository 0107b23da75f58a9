"""Compiled inner loops of the term index (numba), written for the memory traffic that rules their cost.

Most images are compared by the first words of their signature alone, which therefore lie once more in columns of
their own; only the few that are near enough are looked up in the rows of whole signatures. All loops release the GIL.
Where it counts they index with unsigned numbers and make no views: signed indices keep the compiler from using
vector instructions, and a view inside a loop makes it count references atomically, which stalls memory reads.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

U64 = NDArray[np.uint64]

# Words of a signature that all images are compared by. With 256 bits a shortlist of 1,024 loses as many true
# neighbours at ten million images as one of 16,000 with 128 bits does (docs/adr/0007).
HEAD_WORDS = 4
# Images whose distances are computed in one vectorised run before any is looked at.
GROUP = 64
# Images of which all queries of a batch are compared with the heads, 512 KiB, before going on.
BLOCK_IMAGES = 16_384
# Shortlisted images that are asked for before they are compared; memory answers many at once.
AHEAD = 16
# Words of a cache line.
LINE_WORDS = 8
LIVE, RETIRED, DELETED = 0, 1, 2
EARLY, LATE = 1, 2
_U = np.uint64
LOW_32 = _U(0xFFFFFFFF)
NONE = ~_U(0)


class Part(NamedTuple):
    """Images of the index, sorted by cell and within it by ordinal.

    Attributes:
        head: uint64 [HEAD_WORDS, n], the first words of the signatures.
        signatures: uint64 [n, words], all of them.
        ordinals: uint32 [n].
        starts: int64 [cells + 1], where each cell begins.
        hides: whether retired or deleted images are among them, so that states must be looked up.
    """

    head: U64
    signatures: U64
    ordinals: NDArray[np.uint32]
    starts: NDArray[np.int64]
    hides: bool


class Query(NamedTuple):
    """Queries, uint64 [q, words], and how they are ranked: by unequal terms, or by Hamming distance of the head."""

    words: U64
    plane_words: int
    by_overlap: bool


class Visible(NamedTuple):
    """What a search may find.

    Attributes:
        states: uint8 [images], LIVE, RETIRED or DELETED.
        recent: retired images from this ordinal on are still found.
        before: int64 [q], only images of a smaller ordinal.
    """

    states: NDArray[np.uint8]
    recent: int
    before: NDArray[np.int64]


class Shortlists(NamedTuple):
    """The nearest images met so far.

    Attributes:
        size: images wanted, S.
        keys: uint64 [q, capacity], distance · 2^32 + ordinal.
        places: uint64 [q, capacity], part · 2^32 + position.
        filled: int64 [q], entries.
        cutoffs: int64 [q], the distance up to which images are taken.
        within: int64 [q], entries ever taken at or below the cutoff.
        bounds: uint64 [q], the largest key that can still be among the best.
        histograms: int64 [q, distances], entries ever taken at each distance.
        distances: uint64 [q, GROUP], working memory.
    """

    size: int
    keys: U64
    places: U64
    filled: NDArray[np.int64]
    cutoffs: NDArray[np.int64]
    within: NDArray[np.int64]
    bounds: U64
    histograms: NDArray[np.int64]
    distances: U64


class Found(NamedTuple):
    """Output of a search, [q, k] each, padded beforehand: int64 ordinals, uint16 distances, uint8 overlaps."""

    ordinals: NDArray[np.int64]
    distances: NDArray[np.uint16]
    overlaps: NDArray[np.uint8]


@intrinsic
def _popcount(_context: Any, _word: Any) -> Any:
    """Set bits of a 64-bit word: LLVM's ctpop, which becomes VPOPCNTQ where the processor has it."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.call(builder.module.declare_intrinsic("llvm.ctpop", [ir.IntType(64)]), [arguments[0]])

    return types.uint64(types.uint64), generate


@intrinsic
def _prefetch(_context: Any, rows: Any, _row: Any, _column: Any) -> Any:
    """Ask for a word of a matrix before it is needed: survivors lie far apart, and memory answers in parallel."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        array = context.make_array(kind)(context, builder, arguments[0])
        word = cgutils.get_item_pointer(context, builder, kind, array, arguments[1:], wraparound=False)
        address = builder.bitcast(word, ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        form = ir.FunctionType(ir.VoidType(), [address.type, number, number, number])
        fetch = builder.module.declare_intrinsic("llvm.prefetch", [address.type], form)
        builder.call(fetch, [address, *(ir.Constant(number, value) for value in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(rows, types.uint64, types.uint64), generate


@njit(nogil=True, cache=True)
def plan_cells(
    nearest: NDArray[np.int64], sizes: NDArray[np.int64], early: int, scan: int, turns: NDArray[np.uint8]
) -> None:
    """Choose the nearest cells that together hold `scan` images.

    Args:
        nearest: int64 [q, cells], cells by affinity, nearest first.
        sizes: int64 [cells], images in each.
        early: images of the cells looked into first.
        scan: images of all cells looked into.
        turns: uint8 [q, cells], receives EARLY, LATE or 0 for cells that are left out.
    """
    for query in range(nearest.shape[0]):
        covered = 0
        for rank in range(nearest.shape[1]):
            if covered >= scan:
                break
            cell = nearest[query, rank]
            turns[query, cell] = EARLY if covered < early else LATE
            covered += sizes[cell]


@njit(nogil=True, cache=True, inline="always")
def _unequal_terms(signatures: U64, place: np.uint64, words: U64, plane_words: np.uint64) -> np.uint64:
    """Terms that differ: set bits of the OR of all planes' differences."""
    unequal = _U(0)
    for column in range(plane_words):
        differ = _U(0)
        for word in range(column, _U(words.shape[0]), plane_words):
            differ |= signatures[place, word] ^ words[word]
        unequal += _popcount(differ)
    return unequal


@njit(nogil=True, cache=True, inline="always")
def _head_distance(head: U64, place: np.uint64, words: U64) -> np.uint64:
    first = _popcount(head[_U(0), place] ^ words[_U(0)]) + _popcount(head[_U(1), place] ^ words[_U(1)])
    distance: np.uint64 = (
        first + _popcount(head[_U(2), place] ^ words[_U(2)]) + _popcount(head[_U(3), place] ^ words[_U(3)])
    )
    return distance


@njit(nogil=True, cache=True)
def shortlist_part(
    number: int,
    part: Part,
    turn: int,
    turns: NDArray[np.uint8],
    query: Query,
    visible: Visible,
    lists: Shortlists,
) -> None:
    """Put a part's nearest images on each query's shortlist.

    A shortlist takes every image up to a cutoff distance, which sinks as it fills to the smallest one that `size`
    images reach. So what stays does not depend on the order in which images are met; but the sooner near ones are,
    the less is taken that does not stay, which is why each query's nearest cells have their turn first.

    Args:
        number: of the part, noted in `places`.
        turn: EARLY or LATE.
        turns: uint8 [q, cells], when each query looks into a cell; 0: never.
    """
    starts = part.starts
    cells = starts.shape[0] - 1
    first = 0
    while first < cells:
        # Cells are taken in blocks that fit the cache, so that all queries of a batch share what is read.
        end = first + 1
        while end < cells and starts[end] - starts[first] < BLOCK_IMAGES:
            end += 1
        for row in range(turns.shape[0]):
            cell = first
            while cell < end:
                if turns[row, cell] != turn:
                    cell += 1
                    continue
                last = cell + 1
                while last < end and turns[row, last] == turn:
                    last += 1
                if starts[cell] < starts[last]:
                    _shortlist_run(number, part, starts[cell], starts[last], query, row, visible, lists)
                cell = last
        first = end


@njit(nogil=True, cache=True)
def _shortlist_run(  # noqa: C901, PLR0912 -- one loop, which the compiler must see whole
    number: int, part: Part, begin: int, end: int, query: Query, row: int, visible: Visible, lists: Shortlists
) -> None:
    """Positions begin…end of one part for one query."""
    head, signatures, ordinals, states = part.head, part.signatures, part.ordinals, visible.states
    words, histogram, keys, places = query.words[row], lists.histograms[row], lists.keys[row], lists.places[row]
    recent, before, plane_words = visible.recent, visible.before[row], _U(query.plane_words)
    n, cutoff, within, bound = lists.filled[row], lists.cutoffs[row], lists.within[row], lists.bounds[row]
    tag = _U(number) << _U(32)
    distances = lists.distances[row]
    for group in range(_U(begin), _U(end), _U(GROUP)):
        size = min(_U(GROUP), _U(end) - group)
        near = _U(0)
        if query.by_overlap:
            for i in range(size):
                distances[i] = _unequal_terms(signatures, group + i, words, plane_words)
                near += _U(distances[i] <= _U(cutoff))
        elif size == _U(GROUP):
            # A fixed count, which becomes straight vector code.
            for i in range(_U(GROUP)):
                distances[i] = _head_distance(head, group + i, words)
                near += _U(distances[i] <= _U(cutoff))
        else:
            for i in range(size):
                distances[i] = _head_distance(head, group + i, words)
                near += _U(distances[i] <= _U(cutoff))
        if near == _U(0):
            continue
        for i in range(size):
            if distances[i] > _U(cutoff):
                continue
            ordinal = _U(ordinals[group + i])
            key = (distances[i] << _U(32)) | ordinal
            if key > bound or np.int64(ordinal) >= before:
                continue
            if part.hides:
                state = states[ordinal]
                if state == DELETED or (state == RETIRED and np.int64(ordinal) < recent):
                    continue
            keys[n], places[n] = key, tag | (group + i)
            n += 1
            within += 1
            histogram[distances[i]] += 1
        while within - histogram[cutoff] >= lists.size:
            within -= histogram[cutoff]
            cutoff -= 1
        if n > keys.shape[0] - GROUP:
            n, bound = _compact(keys, places, n, cutoff, lists.size, bound)
    lists.filled[row], lists.cutoffs[row], lists.within[row], lists.bounds[row] = n, cutoff, within, bound


@njit(nogil=True, cache=True)
def _compact(keys: U64, places: U64, n: int, cutoff: int, size: int, bound: np.uint64) -> tuple[int, np.uint64]:
    """Drop entries beyond the cutoff, and of those at it the newest, so that at most `size` stay.

    Returns:
        How many stay, and the largest key that can still be among the best.
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
    """Leave the `size` nearest images of each shortlist, the older first among equals."""
    for row in range(lists.filled.shape[0]):
        lists.filled[row], _ = _compact(
            lists.keys[row], lists.places[row], lists.filled[row], lists.cutoffs[row], lists.size, lists.bounds[row]
        )


@njit(nogil=True, cache=True)
def compare_part(number: int, part: Part, query: Query, tables: int, min_overlap: int, lists: Shortlists) -> None:
    """Compare the shortlisted images of a part on their whole signatures.

    Each key becomes Hamming distance · 2^40 + ordinal · 2^8 + overlap, or all ones where the overlap is too small.
    """
    signatures, here = part.signatures, _U(number)
    for row in range(lists.filled.shape[0]):
        words, keys, places, count = query.words[row], lists.keys[row], lists.places[row], _U(lists.filled[row])
        for i in range(count):
            ahead = i + _U(AHEAD)
            if ahead < count and places[ahead] >> _U(32) == here:
                for word in range(_U(0), _U(words.shape[0]), _U(LINE_WORDS)):
                    _prefetch(signatures, places[ahead] & LOW_32, word)
            if places[i] >> _U(32) != here:
                continue
            place = places[i] & LOW_32
            distance = _U(0)
            for word in range(_U(words.shape[0])):
                distance += _popcount(signatures[place, word] ^ words[word])
            overlap = _U(tables) - _unequal_terms(signatures, place, words, _U(query.plane_words))
            ordinal = keys[i] & LOW_32
            keys[i] = ((distance << _U(40)) | (ordinal << _U(8)) | overlap) if overlap >= _U(min_overlap) else NONE


@njit(nogil=True, cache=True)
def best_of(lists: Shortlists, k: int, found: Found) -> None:
    """Unpack the K smallest keys of each query, best first."""
    for row in range(lists.filled.shape[0]):
        keys = lists.keys[row, : lists.filled[row]]
        best = np.sort(np.partition(keys, k)[:k]) if len(keys) > k else np.sort(keys)
        for rank in range(len(best)):
            if best[rank] == NONE:
                break
            found.distances[row, rank] = best[rank] >> _U(40)
            found.ordinals[row, rank] = (best[rank] >> _U(8)) & LOW_32
            found.overlaps[row, rank] = best[rank] & _U(0xFF)


@njit(nogil=True, cache=True)
def append_cells(part: Part, states: NDArray[np.uint8], to: Part, ends: NDArray[np.int64]) -> None:
    """Append the live images of each cell of a part to the same cell of a part being written.

    Args:
        states: uint8 [images]; RETIRED and DELETED ones are left out.
        to: the part being written.
        ends: int64 [cells], where each of its cells goes on; moved on.
    """
    for cell in range(len(ends)):
        end = _U(ends[cell])
        for place in range(_U(part.starts[cell]), _U(part.starts[cell + 1])):
            if states[part.ordinals[place]] != LIVE:
                continue
            for word in range(_U(HEAD_WORDS)):
                to.head[word, end] = part.head[word, place]
            for word in range(_U(part.signatures.shape[1])):
                to.signatures[end, word] = part.signatures[place, word]
            to.ordinals[end] = part.ordinals[place]
            end += _U(1)
        ends[cell] = np.int64(end)


@njit(nogil=True, cache=True)
def count_live(part: Part, states: NDArray[np.uint8], sizes: NDArray[np.int64]) -> None:
    """Add the number of live images in each cell of a part to `sizes`, int64 [cells]."""
    for cell in range(len(sizes)):
        for place in range(_U(part.starts[cell]), _U(part.starts[cell + 1])):
            sizes[cell] += states[part.ordinals[place]] == LIVE
