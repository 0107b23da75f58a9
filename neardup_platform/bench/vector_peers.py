"""Indexes of vectors as peers in `neardup bench search`: faiss's with short codes, and graphs.

They get the centred `lsh` vectors. What chooses by short codes ranks by eight bits an entry, as our own index does.
None is searched while it grows.
"""

from abc import abstractmethod
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray
from usearch.index import Index

from neardup_platform.bench.faiss_peers import TRAINING_PER_LIST, FaissPeer
from neardup_platform.bench.search_engine import unit_vectors
from neardup_platform.records import FloatVector
from neardup_platform.terms.hyperplanes import Hashed, TermSpace

# Places of the shortlist for each result: as many as our own index ranks by cosine.
RANKED_PER_RESULT = 10
_GRAPH_NEIGHBOURS = 32
_TRAINING_ROUNDS = 8


class VectorPeer(FaissPeer):
    """Common behaviour of faiss's indexes of vectors.

    Args:
        space: of the images.
        folder: of the index.
    """

    def __init__(self, space: TermSpace, folder: Path) -> None:
        super().__init__(space.dim, folder)
        self._space = space

    def _input(self, images: Hashed) -> FloatVector:
        return np.ascontiguousarray(unit_vectors(images, self._space))

    def _write(self) -> None:
        faiss.write_index(self._index, str(self._file))

    def _read(self) -> Any:
        return faiss.read_index(str(self._file))


class RefinedIvfPeer(VectorPeer):
    """About √docs lists around k-means centres, searched by short codes; the best are ranked by eight bits an entry."""

    settings: tuple[str, ...] = ("nprobe 4", "nprobe 16", "nprobe 64", "nprobe 256")

    def _empty(self, sample: FloatVector, docs: int) -> Any:
        lists = int(min(np.sqrt(docs), len(sample) // TRAINING_PER_LIST))
        index = faiss.index_factory(
            self._size, f"RR,IVF{lists},{self._codes()},Refine(SQ8)", faiss.METRIC_INNER_PRODUCT
        )
        faiss.extract_index_ivf(index).cp.niter = _TRAINING_ROUNDS
        index.train(sample[: lists * TRAINING_PER_LIST])
        return index

    def _tune(self, value: int) -> None:
        self._index.k_factor = RANKED_PER_RESULT
        lists = faiss.extract_index_ivf(self._index)
        lists.nprobe = min(value, lists.nlist)

    @abstractmethod
    def _codes(self) -> str:
        """The part of faiss's description of an index that names the codes."""


class ProductPeer(RefinedIvfPeer):
    """Product codes of four bits for two entries, compared by shuffles of registers (fast scan)."""

    name = "faiss.IndexIVFPQFastScan"

    def _codes(self) -> str:
        return f"PQ{self._size // 2}x4fs"


class RaBitQPeer(RefinedIvfPeer):
    """One bit an entry with RaBitQ's scaling, compared likewise."""

    name = "faiss.IndexIVFRaBitQFastScan"

    def _codes(self) -> str:
        return "RaBitQfs"


class VectorGraphPeer(VectorPeer):
    """A navigable graph over eight bits an entry, searched with a candidate list of a given length."""

    name = "faiss.IndexHNSWSQ"
    settings: tuple[str, ...] = ("efSearch 200", "efSearch 400", "efSearch 1600")

    def _empty(self, sample: FloatVector, docs: int) -> Any:  # noqa: ARG002 -- fixed, whatever is added
        index = faiss.index_factory(self._size, f"HNSW{_GRAPH_NEIGHBOURS}_SQ8", faiss.METRIC_INNER_PRODUCT)
        index.train(sample)
        return index

    def _tune(self, value: int) -> None:
        self._index.hnsw.efSearch = value


class UsearchPeer:
    """usearch's graph over eight bits an entry; see `Engine`."""

    name = "usearch"
    settings: tuple[str, ...] = ("expansion 200", "expansion 400", "expansion 1600")
    grows = False

    def __init__(self, space: TermSpace, folder: Path) -> None:
        self._space, self._file = space, folder / "usearch.index"
        self._threads, self._setting = 1, self.settings[0]
        self._index = self._empty()

    def prepare(self, sample: Hashed, docs: int) -> None:
        """Do nothing: a graph learns nothing beforehand."""

    def add(self, images: Hashed) -> None:
        """See `Engine`."""
        first = len(self._index)
        self._index.add(np.arange(first, first + len(images)), unit_vectors(images, self._space), threads=2)

    def save(self) -> None:
        """See `Engine`."""
        self._index.save(str(self._file))
        self._index = self._empty()

    def open(self) -> None:
        """See `Engine`."""
        self._index = self._empty()
        self._index.load(str(self._file))

    def use(self, setting: str, threads: int) -> None:
        """See `Engine`; a setting is a name and a number, which usearch takes before it reads the file."""
        self._threads = threads
        if setting != self._setting:
            self._setting = setting
            self.open()

    def search(self, queries: Hashed, k: int) -> NDArray[np.int64]:
        """See `Engine`."""
        vectors = unit_vectors(queries, self._space)
        found = self._index.search(vectors, k, threads=min(self._threads, len(vectors)))
        return np.asarray(found.keys).reshape(len(vectors), -1).astype(np.int64)

    def mapped_bytes(self) -> int:
        """None: the file is read into memory."""
        return 0

    def close(self) -> None:
        """See `Engine`."""
        self._index = self._empty()
        self._file.unlink(missing_ok=True)

    def _empty(self) -> Index:
        expansion = int(self._setting.split()[1])
        return Index(
            ndim=self._space.dim,
            metric="cos",
            dtype="i8",
            connectivity=_GRAPH_NEIGHBOURS // 2,
            expansion_search=expansion,
        )
