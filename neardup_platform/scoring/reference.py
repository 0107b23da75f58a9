"""How crowded the surroundings of an image are: its likeness to a fixed set of other images, the reference.

Vectors → **crowding** → second look. Whatever resembles many pictures that have nothing to do with it, such as one more
receipt or QR code, needs better evidence to count as a copy than a picture that stands out. Score normalisation does
the same with background images (Pizzi et al., *A Self-Supervised Descriptor for Image Copy Detection*, 2022). The
reference is part of the classifier, so the first picture of a kind in a stream is judged like the thousandth, and a
score depends on nothing but its two images.
"""

import hashlib
from collections.abc import Sequence
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import BadArtefact
from neardup_platform.scoring.features import Block, widened
from neardup_platform.scoring.kernels import crowding
from neardup_platform.scoring.vectors import Float16, ImageVectors

# Mean likeness to the members of these ranks, from 0, most similar first. The very first is left out: it may be a copy.
RANKS = ((1, 5), (5, 20), (20, 60))
PARTS, DISTANCES = ("lsh", "shape", "colour"), ("near", "around", "far")
CROWDING = tuple(f"{part}_{distance}" for part in PARTS for distance in DISTANCES)
_BOUNDS = np.array(RANKS, np.int64)


class Part(NamedTuple):
    """Entries start…stop − 1 of one of the vectors."""

    of_lsh: bool
    start: int
    stop: int


def parts_of(lsh_dim: int, blocks: Sequence[Block]) -> tuple[Part, ...]:
    """Returns what is compared with the reference: all of `lsh`, the first spectrum, and the last block of cosines.

    Raises:
        ValueError: the pair vector has no such block.
    """
    shapes = [block for block in blocks if block.comparison == "dihedral"]
    colours = [block for block in blocks if block.comparison == "cosine"]
    if not shapes or not colours:
        raise ValueError("a second look needs a dihedral and a cosine block in the pair vector")
    return Part(True, 0, lsh_dim), *(Part(False, block.start, block.stop) for block in (shapes[0], colours[-1]))


class Reference:
    """The images to compare with.

    Args:
        rows: float16 [images, entries of all parts], as `excerpt` returns them; of fewer images than the last rank, the
            least similar one counts for the ranks that are missing.
        parts: of the vectors.

    Raises:
        ValueError: there are no images, or the entries are not those of the parts.
    """

    def __init__(self, rows: Float16, parts: Sequence[Part]) -> None:
        bounds = np.cumsum([0, *(part.stop - part.start for part in parts)])
        if not len(rows) or rows.shape[1] != bounds[-1]:
            raise ValueError(f"a reference of shape {rows.shape} is empty or has other parts than the vectors")
        self.parts = tuple(parts)
        wide = widened(rows, np.arange(len(rows)))
        self._tables = [_unit(wide[:, start:stop]) for start, stop in pairwise(bounds)]

    def crowding(
        self, vectors: ImageVectors, rows: NDArray[np.int64], others: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Returns the crowding of images, float32 [n, len(CROWDING)], −1…1; each row's depends on its image alone.

        Args:
            vectors: of the images.
            rows: int64 [n], their rows there.
            others: bool [n, reference], the members to compare each with; None for all.
        """
        return self._crowding(_pieces(vectors, rows, self.parts), _BOUNDS, others)

    def nearest(self, vectors: ImageVectors) -> NDArray[np.float32]:
        """Returns the first column of the crowding of every image, float32 [n], without computing the others."""
        rows = np.arange(len(vectors.lsh))
        return self._crowding(_pieces(vectors, rows, self.parts[:1]), _BOUNDS[:1], None)[:, 0]

    def _crowding(
        self, pieces: Sequence[NDArray[np.float32]], ranks: NDArray[np.int64], others: NDArray[np.bool_] | None
    ) -> NDArray[np.float32]:
        """Crowding by the first parts, of which `pieces` has one each, at some ranks: float32 [n, parts · ranks]."""
        if others is None:
            others = np.ones((len(pieces[0]), len(self._tables[0])), np.bool_)
        columns = [np.empty((len(pieces[0]), len(ranks)), np.float32) for _ in pieces]
        for table, piece, out in zip(self._tables, pieces, columns, strict=False):
            crowding(table, piece, others, ranks, out)
        return np.hstack(columns)


def write_reference(rows: Float16, path: Path) -> str:
    """Writes the content of a reference as `.npy`; returns its SHA-256."""
    buffer = BytesIO()
    np.save(buffer, rows, allow_pickle=False)
    path.write_bytes(buffer.getvalue())
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def read_reference(path: Path) -> Float16:
    """Reads the content of a reference, float16 [images, entries].

    Raises:
        BadArtefact: it cannot be read, or is no such array.
    """
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BadArtefact(f"{path} cannot be read ({error}): restore it or train again") from error
    if not isinstance(rows, np.ndarray) or rows.dtype != np.float16 or rows.ndim != 2 or not np.isfinite(rows).all():
        raise BadArtefact(f"{path} is not finite float16 in two dimensions: train again")
    return rows


def excerpt(vectors: ImageVectors, rows: NDArray[np.int64], parts: Sequence[Part]) -> Float16:
    """Returns the parts of some images side by side, float16 [n, entries]: the content of a reference."""
    sides = [(vectors.lsh if part.of_lsh else vectors.pair)[rows, part.start : part.stop] for part in parts]
    return np.ascontiguousarray(np.hstack(sides), np.float16)


def _pieces(vectors: ImageVectors, rows: NDArray[np.int64], parts: Sequence[Part]) -> list[NDArray[np.float32]]:
    lsh, pair = widened(vectors.lsh, rows), widened(vectors.pair, rows)
    return [np.ascontiguousarray((lsh if part.of_lsh else pair)[:, part.start : part.stop]) for part in parts]


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)
