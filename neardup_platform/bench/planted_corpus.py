"""A corpus of any size with real pictures planted in it: the corpus of `neardup bench search`.

Synthetic images are drawn from an `ImageTree` in families of near-duplicates; a family is within one chunk of the
corpus, at random places. Everything is determined by the seed and the chunk's number, so a corpus of ten million is a
larger sample of the same population as a corpus of one million, and no chunk depends on another. The real pictures, and
the synthetic relatives in their families, are at random places over the whole corpus. Vectors are centred and of length
1.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neardup_platform.bench.image_tree import KEPT_OF_FAMILY, Vectors, child, grow_tree, unit_rows
from neardup_platform.bench.synthetic import FAMILY_IMAGES
from neardup_platform.errors import SetupError

CHUNK_IMAGES = 1 << 16
_AHEAD = 2
_FAMILY_SIGMA = 1.0
_TREE, _PLACES, _CHUNK = range(3)


@dataclass(frozen=True)
class Planted:
    """Real pictures.

    Attributes:
        unit: float32 [n, dim], centred, of length 1.
        groups: int64 [n]; the same number = near-duplicates of one another; −1 = resembles no other picture.
    """

    unit: Vectors
    groups: NDArray[np.int64]


class PlantedCorpus:
    """`docs` images, some of them real.

    Attributes:
        docs: number of images.
        ordinals: int64 [n], the places of the planted pictures.

    Raises:
        SetupError: `docs` is less than twice the planted pictures and their synthetic relatives.
    """

    def __init__(self, planted: Planted, docs: int, seed: int) -> None:
        self.docs = docs
        self._seed = seed
        rng = self._rng(_TREE)
        chains = _chains(planted.groups)
        self._tree = grow_tree(planted.unit[chains], planted.unit[chains], rng)
        relatives = np.repeat(self._tree.families, _family_sizes(rng, len(chains)) - 1, axis=0)
        images = child(relatives, KEPT_OF_FAMILY, self._tree.noise(rng, len(relatives)))
        self._planted = np.concatenate([planted.unit, unit_rows(images)])
        if docs < 2 * len(self._planted):
            raise SetupError(
                f"{docs} images are too few to plant {len(planted.unit)} pictures and {len(images)} synthetic "
                f"relatives: use at least {2 * len(self._planted)}"
            )
        self._places = self._rng(_PLACES, docs).choice(docs, len(self._planted), replace=False)
        self.ordinals = self._places[: len(planted.unit)]

    @property
    def chunk_count(self) -> int:
        """The number of chunks of the corpus."""
        return -(-self.docs // CHUNK_IMAGES)

    def chunks(self) -> Iterator[Vectors]:
        """The corpus in order, float32 [≤ CHUNK_IMAGES, dim] each, generated ahead on two threads."""
        with ThreadPoolExecutor(_AHEAD, thread_name_prefix="corpus") as pool:
            ahead: list[Future[Vectors]] = []
            for number in range(self.chunk_count + _AHEAD):
                if number < self.chunk_count:
                    ahead.append(pool.submit(self._chunk, number))
                if number >= _AHEAD:
                    yield ahead.pop(0).result()

    def newcomers(self) -> Vectors:
        """CHUNK_IMAGES images that are not in the corpus, to add while it is searched."""
        return self._synthetic(self.chunk_count)

    def _chunk(self, number: int) -> Vectors:
        first = number * CHUNK_IMAGES
        images = self._synthetic(number)[: self.docs - first]
        here = np.flatnonzero(self._places // CHUNK_IMAGES == number)
        images[self._places[here] - first] = self._planted[here]
        return images

    def _synthetic(self, number: int) -> Vectors:
        rng = self._rng(_CHUNK, number)
        sizes = _family_sizes(rng, CHUNK_IMAGES)
        sizes = sizes[: np.searchsorted(np.cumsum(sizes), CHUNK_IMAGES) + 1]
        family_of = rng.permutation(np.repeat(np.arange(len(sizes)), sizes)[:CHUNK_IMAGES])
        families = self._tree.new_families(rng, len(sizes))
        return unit_rows(child(families[family_of], KEPT_OF_FAMILY, self._tree.noise(rng, CHUNK_IMAGES)))

    def _rng(self, *purpose: int) -> np.random.Generator:
        return np.random.Generator(np.random.SFC64([self._seed, *purpose]))


def _chains(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows to place in the tree: the first picture of each group, then the distractors."""
    numbers, first = np.unique(groups, return_index=True)
    return np.concatenate([first[numbers >= 0], np.flatnonzero(groups < 0)])


def _family_sizes(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    """Images of each family, int64 [count], at least 1: log-normal with the original system's mean."""
    location = np.log(FAMILY_IMAGES) - _FAMILY_SIGMA**2 / 2
    return np.maximum(1, np.rint(rng.lognormal(location, _FAMILY_SIGMA, count))).astype(np.int64)
