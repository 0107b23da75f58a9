"""Splitting labelled pictures into parts so that no evaluated picture is used in training. Pure.

Groups and fingerprints → **part of each row** → training on the other parts, evaluation on this one.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from neardup_platform.errors import SetupError
from neardup_platform.learning.classifier.training_pictures import Fingerprints


def parts_of(groups: Sequence[str], pictures: Fingerprints, folds: int, seed: int) -> NDArray[np.int64]:
    """Assign rows to parts: whole groups, and files that are identical byte for byte, stay together.

    Groups are assigned first and distractors afterwards, each in a random order drawn with `seed`, so that every part
    has its share of both.

    Args:
        groups: of each row, empty for a distractor.
        pictures: fingerprint of each row's file; 0 if there is none.
        folds: number of parts, at least 2.
        seed: of the order.

    Returns:
        int64 [len(groups)], 0…folds − 1.

    Raises:
        SetupError: there are fewer groups of two or more pictures than parts.
    """
    families = _families(groups, pictures)
    size, named = np.bincount(families), np.zeros(families.max() + 1, np.bool_)
    named[families[np.array([bool(group) for group in groups])]] = True
    to_find = np.flatnonzero(named & (size > 1))
    if len(to_find) < folds:
        raise SetupError(
            f"{folds} folds need as many groups of two or more pictures, and there are {len(to_find)}: "
            f"use at most --folds {len(to_find)}"
        )
    rng = np.random.default_rng(seed)
    rest = np.setdiff1d(np.arange(len(size)), to_find)
    part = np.empty(len(size), np.int64)
    part[np.concatenate([rng.permutation(to_find), rng.permutation(rest)])] = np.arange(len(size)) % folds
    return part[families]


def _families(groups: Sequence[str], pictures: Fingerprints) -> NDArray[np.int64]:
    """Number rows so that those that must stay together have the same number."""
    n = len(groups)
    names = [group or f"\0{row}" for row, group in enumerate(groups)]
    by_name = np.unique(names, return_inverse=True)[1]
    prints = [int(print_) or -1 - row for row, print_ in enumerate(pictures)]
    by_print = np.unique(np.array(prints, object), return_inverse=True)[1]
    rows = np.arange(n)
    ends = np.concatenate([n + by_name, 2 * n + by_print])
    graph = coo_array((np.ones(2 * n), (np.concatenate([rows, rows]), ends)), shape=(3 * n, 3 * n))
    found = connected_components(graph, directed=False)[1][:n]
    return np.asarray(np.unique(found, return_inverse=True)[1], np.int64)
