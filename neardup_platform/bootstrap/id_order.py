"""The order of ids by their bytes, in which the tables of the store have them. Pure."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neardup_platform.bootstrap.record_kernels import Numbers, Texts

_WORD = 8


def order_of(ids: Texts) -> Numbers:
    """The rows of distinct ids in the order of their bytes, int64 [n].

    Eight bytes are compared at once, as one number; only rows that are equal so far are sorted by the next eight. No id
    has a zero byte, so shorter ones can be filled up with them.
    """
    rows = len(ids.starts) - 1
    order, tied, group = np.arange(rows), np.arange(rows), np.zeros(rows, np.int64)
    for at in range(0, int(np.diff(ids.starts).max(initial=0)), _WORD):
        words = _words(ids, order[tied], at)
        if len(words) and words.min() == words.max():
            continue
        by_word = np.lexsort((words, group)) if group[-1:].any() else np.argsort(words)
        words, group = words[by_word], group[by_word]
        order[tied] = order[tied[by_word]]
        begins = np.r_[True, (words[1:] != words[:-1]) | (group[1:] != group[:-1])]
        again = ~(begins & np.r_[begins[1:], True])
        tied, group = tied[again], np.cumsum(begins)[again] - 1
        if not len(tied):
            break
    return order


def order_by_length(ids: Texts, order: Numbers) -> Numbers:
    """The rows by the length of their ids and then by their bytes, as keys that begin with the length have them.

    Args:
        order: of the bytes alone.
    """
    lengths = np.diff(ids.starts).astype(np.uint16)
    return order[np.argsort(lengths[order], kind="stable")]


@njit(nogil=True, cache=True)
def _words(ids: Texts, rows: Numbers, at: int) -> NDArray[np.uint64]:
    """The eight bytes of each id from `at` on, as a big-endian number."""
    words = np.zeros(len(rows), np.uint64)
    for k in range(len(rows)):
        start, end = ids.starts[rows[k]] + at, ids.starts[rows[k] + 1]
        word = np.uint64(0)
        for byte in range(_WORD):
            word = word << np.uint64(8)
            if start + byte < end:
                word |= np.uint64(ids.data[start + byte])
        words[k] = word
    return words
