"""The PDQ hashes of banks in memory, and which of them are near the hash of a picture.

The search is exact: every hash is compared (hamming_kernels.py). A hash takes 40 bytes, so a million take 40 MB.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neardup_platform.records import Label, PdqHash
from neardup_platform.store.store_pb2 import LabelRecord
from neardup_platform.stream.banks.hamming_kernels import nearest

# Bits in which a picture may differ from the hash of a bank, as the reference implementation advises:
# https://github.com/facebook/ThreatExchange/tree/main/pdq#matching
MAX_DISTANCE = 31
# Hashes in all banks together.
MAX_HASHES = 1_000_000

Words = NDArray[np.uint64]
# Id of the label, bank, policy, action.
Terms = tuple[str, str, str, str]


def words_of(hashes: Collection[bytes]) -> Words:
    """Return hashes of 32 bytes as words, uint64 [n, 4]."""
    return np.frombuffer(b"".join(hashes), np.uint64).reshape(len(hashes), 4).copy()


class BankHashes:
    """Hashes, each with the label of the images that it matches.

    Args:
        stored: the hashes of all banks.
    """

    def __init__(self, stored: Iterable[LabelRecord] = ()) -> None:
        self._words = np.empty((4, 0), np.uint64)
        self._banks, self._terms = np.empty(0, np.int32), np.empty(0, np.int32)
        self._bank_numbers: dict[str, int] = {}
        self._term_numbers: dict[Terms, int] = {}
        self._extend((raw.pdq, (raw.label_id, raw.bank, raw.policy, raw.action)) for raw in (r.label for r in stored))

    def __len__(self) -> int:
        return self._words.shape[1]

    def put(self, labels: Iterable[Label]) -> None:
        """Add hashes that are not there.

        Args:
            labels: of the images that they match, with `pdq` and without `image_id`.
        """
        self._extend(
            (bytes.fromhex(label.pdq), (label.label_id, label.bank, label.policy, label.action)) for label in labels
        )

    def _extend(self, entries: Iterable[tuple[bytes, Terms]]) -> None:
        hashes, banks, numbers = list[bytes](), list[int](), list[int]()
        for pdq, terms in entries:
            hashes.append(pdq)
            banks.append(self._bank_numbers.setdefault(terms[1], len(self._bank_numbers)))
            numbers.append(self._term_numbers.setdefault(terms, len(self._term_numbers)))
        self._labels = [
            Label(label_id, bank, "", policy, action) for label_id, bank, policy, action in self._term_numbers
        ]
        self._words = np.ascontiguousarray(np.concatenate([self._words, words_of(hashes).T], axis=1))
        self._banks = np.concatenate([self._banks, np.array(banks, np.int32)])
        self._terms = np.concatenate([self._terms, np.array(numbers, np.int32)])

    def remove(self, bank: str, hashes: Collection[bytes]) -> None:
        """Remove hashes that a bank has."""
        rows, _ = self.nearest(words_of(hashes), 0)
        kept = np.ones(len(self), np.bool_)
        kept[rows[:, self._bank_numbers[bank]]] = False
        self._words = np.ascontiguousarray(self._words[:, kept])
        self._banks, self._terms = self._banks[kept], self._terms[kept]

    def nearest(self, queries: Words, most: int = MAX_DISTANCE) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Find the nearest hash of each bank.

        Args:
            queries: uint64 [q, 4].
            most: distance up to which a hash counts.

        Returns:
            int64 [q, banks] each: its row, −1 for none, and its distance, `most` + 1 for none.
        """
        shape = len(queries), len(self._bank_numbers)
        rows, distances = np.full(shape, -1, np.int64), np.full(shape, most + 1, np.int64)
        if len(self):
            nearest(queries, self._words, self._banks, rows, distances)
        return rows, distances

    def label(self, row: int, distance: int) -> Label:
        """Return the label of an image that a hash matches, without its id."""
        terms = self._labels[int(self._terms[row])]
        return replace(terms, pdq=self._words[:, row].tobytes().hex(), distance=distance)

    def matching(self, hashes: Sequence[PdqHash | None]) -> list[list[Label]]:
        """Return the labels of pictures, one a bank, the nearest first; without the ids of the images."""
        found = [list[Label]() for _ in hashes]
        able = {row: pdq.bits for row, pdq in enumerate(hashes) if pdq is not None and pdq.reliable}
        if not len(self) or not able:
            return found
        places = list(able)
        rows, distances = self.nearest(words_of(able.values()))
        for query, bank in zip(*np.nonzero(rows >= 0), strict=True):
            label = self.label(int(rows[query, bank]), int(distances[query, bank]))
            found[places[query]].append(label)
        return [sorted(labels, key=lambda label: (label.distance, label.bank)) for labels in found]
