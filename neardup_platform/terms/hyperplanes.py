"""From an embedding to its signature: seeded random hyperplanes after centring and whitening.

The first step of candidate search. T·k hyperplanes give T·k sign bits; bits j = 0…k−1 of table t are one term.
All bits together are the signature, stored by bit: plane j holds bit j of every term, padded to a multiple of 64
tables. So the Hamming distance of two signatures is Σ popcount(a ⊕ b), and their overlap, the number of equal terms, is
T − popcount(OR of the planes of a ⊕ b): both from the same words, for any T and k.

The space also has cells (centroids of k-means on the sample), which determine the images that a query scans first.
"""

import hashlib
import io
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import BadArtefact
from neardup_platform.records import FloatVector
from neardup_platform.terms.cells import Cells
from neardup_platform.terms.heads import VERSION as HEADS_VERSION
from neardup_platform.terms.heads import heads_of
from neardup_platform.terms.projection import project

Signatures = NDArray[np.uint64]
Vectors = NDArray[np.float32]
Rows = slice | NDArray[np.int64] | NDArray[np.bool_]

MAX_TABLES, MAX_BITS, MAX_CELLS = 255, 16, 1 << 15
WORD_BITS = 64
# Images hashed together whose distances from fitted cells are kept for the search: a micro-batch.
SHARED_ROWS = 256
SHIPPED = Path(__file__).parent / "term_space.npz"


@dataclass(frozen=True)
class Hashed:
    """Hashed embeddings, as the term index takes them; row i belongs to image i.

    Attributes:
        unit: float32 [n, dim], centred, of length 1.
        signatures: uint64 [n, words].
        affinities: float32 [n, cells], larger for nearer centroids; [n, 0] where the space has fitted cells.
        distances: uint16 [n, cells], of fitted cells; only of a micro-batch, which is both added and searched for.
    """

    unit: Vectors
    signatures: Signatures
    affinities: Vectors
    distances: NDArray[np.uint16] | None = None

    def __len__(self) -> int:
        return len(self.signatures)

    def __getitem__(self, rows: Rows) -> "Hashed":
        distances = None if self.distances is None else self.distances[rows]
        part = Hashed(self.unit[rows], self.signatures[rows], self.affinities[rows], distances)
        if "heads" in self.__dict__:
            part.__dict__["heads"] = self.heads[rows]
        return part

    @cached_property
    def heads(self) -> Signatures:
        """What an index that ranks by cosine holds of each image, uint64 [n, HEAD_WORDS]; see `heads.py`."""
        return heads_of(self.unit)

    @cached_property
    def cells(self) -> NDArray[np.uint16]:
        """The cell of the space nearest to each image, uint16 [n]; see `TermSpace.cells_of`."""
        nearest: NDArray[np.uint16] = self.affinities.argmax(axis=1).astype(np.uint16)
        return nearest


@dataclass(frozen=True)
class TermSpace:
    """Everything that determines the terms of an embedding.

    Attributes:
        model_version: of the `lsh` embedder that the space was fitted for.
        tables: T, 1…255.
        bits: k, 2…16.
        mean: float32 [dim], subtracted first.
        directions: float32 [dim, bits · tables], whitening and hyperplanes multiplied into one matrix; column
            j·tables + t gives bit j of the term of table t.
        centroids: float32 [dim, cells], whitening and centroids multiplied into one matrix.
        fitted: cells that replace those of the centroids; terms do not depend on them.
        by_cosine: whether an index of this space holds heads only, and ranks by the vectors of the images; otherwise it
            holds whole signatures, and ranks by them. Terms do not depend on it either.
    """

    model_version: str
    tables: int
    bits: int
    mean: FloatVector
    directions: Vectors
    centroids: Vectors
    fitted: Cells | None = None
    by_cosine: bool = False

    @property
    def dim(self) -> int:
        """Dimension of the embeddings."""
        return int(self.mean.shape[0])

    @property
    def plane_words(self) -> int:
        """64-bit words of one plane, which holds one bit of every term."""
        return -(-self.tables // WORD_BITS)

    @property
    def words(self) -> int:
        """64-bit words of a signature."""
        return self.bits * self.plane_words

    @property
    def kept_words(self) -> int:
        """64-bit words of a signature that an index holds: all or none."""
        return 0 if self.by_cosine else self.words

    @property
    def cells(self) -> int:
        """Number of cells."""
        return int(self.centroids.shape[1]) if self.fitted is None else len(self.fitted)

    @property
    def fitted_version(self) -> str:
        """The version of the fitted cells; empty for the cells of the space."""
        return "" if self.fitted is None else self.fitted.version

    @property
    def index_version(self) -> str:
        """The version of indexes of this space: of the terms, of fitted cells, and of heads."""
        cells = "" if self.fitted is None else f"+{self.fitted_version}"
        return self.version + cells + (f"+{HEADS_VERSION}" if self.by_cosine else "")

    @cached_property
    def version(self) -> str:
        """`<tables>x<bits>-` and 12 hex digits of the content; differs if any signature could, or any centroid."""
        content = b"".join(array.tobytes() for array in (self.mean, self.directions, self.centroids))
        return f"{self.tables}x{self.bits}-{hashlib.sha256(content + self.model_version.encode()).hexdigest()[:12]}"

    def hash(self, vectors: Vectors) -> Hashed:
        """Hashes embeddings; equal to the last bit in any batch.

        Args:
            vectors: float32 [n, dim], of any length but zero; only directions matter.
        """
        unit = self.centre(vectors)
        signatures, fitted = self.sign(unit), self.fitted
        if fitted is None:
            return Hashed(unit, signatures, _product(unit, self.centroids))
        distances = fitted.distances(signatures) if len(unit) <= SHARED_ROWS else None
        return Hashed(unit, signatures, np.empty((len(unit), 0), np.float32), distances)

    def hash_to_keep(self, vectors: Vectors) -> Hashed:
        """Hashes embeddings that an index is to hold, and that are not searched for.

        As `hash`, but without signatures, which take two thirds of its time, where `Rows.of` does not read them.
        """
        if not self.by_cosine or self.fitted is not None:
            return self.hash(vectors)
        unit = self.centre(vectors)
        return Hashed(unit, np.empty((len(unit), 0), np.uint64), _product(unit, self.centroids))

    def centre(self, vectors: Vectors) -> Vectors:
        """Returns embeddings centred and of length 1; arguments as of `hash`."""
        tiny = np.finfo(np.float32).tiny
        centred = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), tiny) - self.mean
        unit: Vectors = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), tiny)
        return unit

    def sign(self, unit: Vectors) -> Signatures:
        """Returns the signatures, uint64 [n, words], of vectors that are centred and of length 1, float32 [n, dim]."""
        signs = (_product(unit, self.directions) > 0).reshape(len(unit), self.bits, self.tables)
        padded = np.zeros((len(unit), self.bits, self.plane_words * WORD_BITS), np.bool_)
        padded[:, :, : self.tables] = signs
        return np.packbits(padded, axis=2, bitorder="little").view("<u8").reshape(len(unit), self.words)

    def cells_of(self, hashed: Hashed) -> NDArray[np.uint16]:
        """Returns the cell of each image, uint16 [n]."""
        if self.fitted is None:
            return hashed.cells
        if hashed.distances is None:
            return self.fitted.of(hashed.signatures)
        nearest: NDArray[np.uint16] = hashed.distances.argmin(axis=1).astype(np.uint16)
        return nearest

    def nearest_cells(self, hashed: Hashed, count: int) -> list[int]:
        """Returns the cells nearest to the first image, nearest first."""
        one = hashed[:1]
        farness = -one.affinities if self.fitted is None else self.fitted.distances(one.signatures)
        nearest: list[int] = np.argsort(farness[0], kind="stable")[:count].tolist()
        return nearest

    def overlap(self, a: Signatures, b: Signatures) -> NDArray[np.int64]:
        """Returns the number of equal terms of row-aligned (or broadcastable) signatures, 0…tables."""
        planes = np.bitwise_xor(a, b)
        differ = np.bitwise_or.reduce(planes.reshape(*planes.shape[:-1], self.bits, self.plane_words), axis=-2)
        unequal: NDArray[np.int64] = np.bitwise_count(differ).sum(axis=-1, dtype=np.int64)
        return self.tables - unequal


def _product(vectors: Vectors, matrix: Vectors) -> Vectors:
    out = np.empty((len(vectors), matrix.shape[1]), np.float32)
    project(np.ascontiguousarray(vectors, np.float32), np.ascontiguousarray(matrix, np.float32), out)
    return out


def hamming(a: Signatures, b: Signatures) -> NDArray[np.int64]:
    """Returns the number of different bits of row-aligned (or broadcastable) signatures."""
    distance: NDArray[np.int64] = np.bitwise_count(np.bitwise_xor(a, b)).sum(axis=-1, dtype=np.int64)
    return distance


def save_term_space(space: TermSpace, path: Path) -> None:
    """Writes the space as one `.npz` of plain arrays."""
    np.savez_compressed(
        path,
        model_version=np.array(space.model_version),
        shape=np.array([space.tables, space.bits]),
        mean=space.mean,
        directions=space.directions,
        centroids=space.centroids,
    )


def load_term_space(path: Path | None) -> TermSpace:
    """Reads a space; None reads the one shipped for the built-in embedder. Nothing is unpickled.

    Raises:
        BadArtefact: the file is missing or damaged, or its arrays do not fit together.
    """
    path = path or SHIPPED
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            tables, bits = (int(n) for n in arrays["shape"])
            matrices = arrays["mean"], arrays["directions"], arrays["centroids"]
            space = TermSpace(str(arrays["model_version"]), tables, bits, *matrices)
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise BadArtefact(f"term space {path}: {error}; fit it again or unset terms.space") from error
    expected = (space.dim, tables * bits)
    if space.directions.shape != expected or len(space.centroids) != space.dim:
        raise BadArtefact(
            f"term space {path}: directions {space.directions.shape} and centroids {space.centroids.shape} "
            f"do not fit {space.dim} dimensions and {tables}×{bits} bits; fit it again or unset terms.space"
        )
    return space
