"""From an embedding to its terms: seeded random hyperplanes after centring and whitening.

The first step of candidate search. T·k hyperplanes give T·k sign bits; each run of k bits is one term of one
table. Two vectors at angle θ agree in one bit with probability p = 1 − θ/π (Charikar 2002, "Similarity
estimation techniques from rounding algorithms"), hence in one term with p^k, and share a number of terms that
is Binomial(T, p^k) over random hyperplanes.
"""

import hashlib
import io
import zipfile
from dataclasses import dataclass
from functools import cached_property
from math import comb
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import BadArtefact
from neardup_platform.records import FloatVector

Terms = NDArray[np.uint16]
MAX_BITS = 16
SHIPPED = Path(__file__).parent / "term_space.npz"


@dataclass(frozen=True)
class TermSpace:
    """Everything that decides which terms an embedding has.

    Attributes:
        model_version: the `lsh` embedder that the space was fitted for.
        mean: float32 [dim], subtracted first.
        directions: float32 [dim, tables · bits], whitening and hyperplanes multiplied into one matrix.
    """

    model_version: str
    tables: int
    bits: int
    mean: FloatVector
    directions: NDArray[np.float32]

    @property
    def dim(self) -> int:
        """Dimension of the embeddings."""
        return int(self.mean.shape[0])

    @cached_property
    def version(self) -> str:
        """Changes when any term could: `<tables>x<bits>-` and 12 hex digits of the content."""
        content = self.mean.tobytes() + self.directions.tobytes() + self.model_version.encode()
        return f"{self.tables}x{self.bits}-{hashlib.sha256(content).hexdigest()[:12]}"

    def terms(self, vectors: NDArray[np.float32]) -> Terms:
        """Hash embeddings.

        Args:
            vectors: float32 [n, dim], any length; only directions matter.

        Returns:
            uint16 [n, tables], the first bit of each term its most significant.
        """
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        signs = (unit - self.mean) @ self.directions > 0
        weights = (1 << np.arange(self.bits - 1, -1, -1)).astype(np.float32)
        grouped = signs.reshape(len(vectors), self.tables, self.bits)
        # Exact in float32: a term is below 2^16.
        terms: Terms = (grouped.astype(np.float32) @ weights).astype(np.uint16)
        return terms


def fit_term_space(
    sample: NDArray[np.float32], model_version: str, *, tables: int, bits: int, whitening: float, seed: int
) -> TermSpace:
    """Fit centring and whitening on a sample and draw the hyperplanes.

    Args:
        sample: float32 [n, dim] embeddings of diverse images.
        tables: T, 1…255.
        bits: k, 1…16.
        whitening: exponent of the eigenvalues: 0 leaves the spread as it is, 0.5 evens it out wholly.
        seed: of the hyperplanes; the same seed and sample give the same terms.
    """
    if not (1 <= tables <= 255 and 1 <= bits <= MAX_BITS):
        raise ValueError(f"tables {tables} must be 1…255 and bits {bits} 1…{MAX_BITS}")
    unit = sample / np.linalg.norm(sample, axis=1, keepdims=True)
    mean = unit.mean(axis=0, dtype=np.float64)
    variances, axes = np.linalg.eigh(np.cov(unit - mean, rowvar=False, dtype=np.float64))
    floor = variances.max() * 1e-6
    whiten = axes * np.maximum(variances, floor) ** -whitening
    planes = np.random.default_rng(seed).standard_normal((len(variances), tables * bits))
    directions = whiten @ planes
    directions /= np.linalg.norm(directions, axis=0)
    return TermSpace(model_version, tables, bits, mean.astype(np.float32), directions.astype(np.float32))


def share_probability(cosine: float, tables: int, bits: int, at_least: int = 1) -> float:
    """Probability that two centred and whitened vectors share at least so many terms (module docstring).

    Args:
        cosine: −1…1, between the vectors after centring and whitening.
    """
    agree = 1.0 - float(np.arccos(np.clip(cosine, -1.0, 1.0))) / np.pi
    share = agree**bits
    fewer = (comb(tables, n) * share**n * (1 - share) ** (tables - n) for n in range(at_least))
    return 1.0 - sum(fewer)


def save_term_space(space: TermSpace, path: Path) -> None:
    """Write the space as one `.npz` of plain arrays."""
    np.savez_compressed(
        path,
        model_version=np.array(space.model_version),
        shape=np.array([space.tables, space.bits]),
        mean=space.mean,
        directions=space.directions,
    )


def load_term_space(path: Path | None) -> TermSpace:
    """Read a space; None is the one shipped for the built-in embedder. Nothing is unpickled.

    Raises:
        BadArtefact: the file is missing, damaged, or its arrays do not fit together.
    """
    path = path or SHIPPED
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            tables, bits = (int(n) for n in arrays["shape"])
            space = TermSpace(str(arrays["model_version"]), tables, bits, arrays["mean"], arrays["directions"])
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise BadArtefact(f"term space {path}: {error}; fit it again or unset terms.space") from error
    if space.directions.shape != (space.dim, tables * bits):
        raise BadArtefact(
            f"term space {path}: directions {space.directions.shape}, expected {(space.dim, tables * bits)}"
        )
    return space
