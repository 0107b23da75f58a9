"""faiss's indexes of binary vectors, over signatures, as peers in `neardup bench search`.

faiss does not support adding to an index while it is searched, so none of them grows.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from neardup_platform.terms.hyperplanes import Hashed

# faiss's k-means needs 39 vectors per centroid; more make training longer and the index hardly better.
TRAINING_PER_LIST = 39
_TRAINING_ROUNDS = 8


class FaissPeer(ABC):
    """Common behaviour of the peers: bytes in, a file on disk, threads by OpenMP.

    Args:
        size: of an image, in the unit of the index: bits of a signature, or entries of a vector.
        folder: of the index.
    """

    name: str
    settings: tuple[str, ...]
    grows = False

    def __init__(self, size: int, folder: Path) -> None:
        self._size = size
        self._index: Any = None
        self._all_threads = self._threads = faiss.omp_get_max_threads()
        self._file = folder / f"{self.name}.faiss"

    def prepare(self, sample: Hashed, docs: int) -> None:
        """Create the empty index; the sample trains it if necessary."""
        self._index = self._empty(self._input(sample), docs)

    def add(self, images: Hashed) -> None:
        """See `Engine`."""
        self._index.add(self._input(images))

    def save(self) -> None:
        """See `Engine`."""
        self._write()
        self._index = None

    def open(self) -> None:
        """See `Engine`."""
        self._index = self._read()

    def use(self, setting: str, threads: int) -> None:
        """See `Engine`; a setting is a name and a number."""
        self._threads = threads
        self._tune(int(setting.split()[1]) if " " in setting else 0)

    def search(self, queries: Hashed, k: int) -> NDArray[np.int64]:
        """See `Engine`. faiss distributes queries among threads; threads without a query would only add waiting."""
        faiss.omp_set_num_threads(min(self._threads, len(queries)))
        _, ordinals = self._index.search(self._input(queries), k)
        return np.asarray(ordinals)

    def mapped_bytes(self) -> int:
        """None: faiss reads the file into memory."""
        return 0

    def close(self) -> None:
        """See `Engine`."""
        self._index = None
        self._file.unlink(missing_ok=True)
        faiss.omp_set_num_threads(self._all_threads)

    @abstractmethod
    def _empty(self, sample: Any, docs: int) -> Any:
        """An index without images, trained on the sample if necessary."""

    @abstractmethod
    def _input(self, images: Hashed) -> NDArray[Any]:
        """What the index holds of images, [n, …]."""

    @abstractmethod
    def _write(self) -> None:
        """Write the index to its file."""

    @abstractmethod
    def _read(self) -> Any:
        """The index in its file."""

    def _tune(self, value: int) -> None:  # noqa: B027 -- a peer with one setting has nothing to apply
        """Apply the number of a setting."""


class SignaturePeer(FaissPeer):
    """Common behaviour of faiss's indexes of signatures."""

    def _input(self, images: Hashed) -> NDArray[np.uint8]:
        return np.ascontiguousarray(images.signatures).view(np.uint8)

    def _write(self) -> None:
        faiss.write_index_binary(self._index, str(self._file))

    def _read(self) -> Any:
        return faiss.read_index_binary(str(self._file))


class FlatPeer(SignaturePeer):
    """Compares every signature with the query's: exact Hamming distance."""

    name = "faiss.IndexBinaryFlat"
    settings: tuple[str, ...] = ("exhaustive",)

    def _empty(self, sample: NDArray[np.uint8], docs: int) -> Any:  # noqa: ARG002 -- fixed, whatever is added
        return faiss.IndexBinaryFlat(self._size)


class MultiHashPeer(SignaturePeer):
    """64 hash tables of 16 bits, searched at every value within a number of bit flips of the query's."""

    name = "faiss.IndexBinaryMultiHash"
    settings: tuple[str, ...] = ("nflip 0", "nflip 1", "nflip 2")

    def _empty(self, sample: NDArray[np.uint8], docs: int) -> Any:  # noqa: ARG002 -- fixed, whatever is added
        bits = 16
        return faiss.IndexBinaryMultiHash(self._size, min(64, self._size // bits), bits)

    def _tune(self, value: int) -> None:
        self._index.nflip = value


class IvfPeer(SignaturePeer):
    """Signatures in about √docs lists around k-means centres; the nearest lists are compared."""

    name = "faiss.IndexBinaryIVF"
    settings: tuple[str, ...] = ("nprobe 4", "nprobe 16", "nprobe 64", "nprobe 256")

    def _empty(self, sample: NDArray[np.uint8], docs: int) -> Any:
        lists = int(min(np.sqrt(docs), len(sample) // TRAINING_PER_LIST))
        # faiss does not keep the quantizer alive itself.
        self._quantizer = faiss.IndexBinaryFlat(self._size)
        index = faiss.IndexBinaryIVF(self._quantizer, self._size, lists)
        index.cp.niter = _TRAINING_ROUNDS
        index.train(sample[: lists * TRAINING_PER_LIST])
        return index

    def _tune(self, value: int) -> None:
        self._index.nprobe = min(value, self._index.nlist)


class HnswPeer(SignaturePeer):
    """A navigable graph of 32 neighbours per image, searched with a candidate list of a given length."""

    name = "faiss.IndexBinaryHNSW"
    settings: tuple[str, ...] = ("efSearch 200", "efSearch 400", "efSearch 1600")

    def _empty(self, sample: NDArray[np.uint8], docs: int) -> Any:  # noqa: ARG002 -- fixed, whatever is added
        return faiss.IndexBinaryHNSW(self._size, 32)

    def _tune(self, value: int) -> None:
        self._index.hnsw.efSearch = value
