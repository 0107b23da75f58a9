"""Cells fitted to the images of a store: which of them are scanned for a query.

A cell is a signature, and an image belongs to the cell whose signature is nearest. So segments that were sorted by
other cells are sorted again from what they hold, and neither terms nor decisions depend on the cells beyond which
images a query is compared with. Without fitted cells those of the term space are used.

Signatures → **Hamming distances of all cells** → the cell of an image, or those that hold enough images for a query.
"""

import hashlib
import io
import re
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import BadArtefact
from neardup_platform.files import replace_file
from neardup_platform.terms.cell_kernels import choose_cells, compare_cells
from neardup_platform.terms.parts import U64, Plan, empty_plan

# Images whose cells are determined at once, which takes 16 KB each.
_ROWS = 128
MAX_CELLS = 1 << 15
VERSION_PATTERN = r"cells[0-9a-f]{12}"


@dataclass(frozen=True)
class Cells:
    """Fitted cells.

    Attributes:
        terms_version: of the term space of the signatures.
        signatures: uint64 [cells, words].
    """

    terms_version: str
    signatures: U64

    def __len__(self) -> int:
        return len(self.signatures)

    @cached_property
    def version(self) -> str:
        """`cells` and 12 hex digits of the content."""
        return f"cells{hashlib.sha256(self.signatures.tobytes()).hexdigest()[:12]}"

    def of(self, signatures: U64) -> NDArray[np.uint16]:
        """Returns the cell of each image, uint16 [n], given uint64 [n, words]; the lower number among equals."""
        cells = np.empty(len(signatures), np.uint16)
        for first in range(0, len(signatures), _ROWS):
            rows = slice(first, first + _ROWS)
            cells[rows] = self.distances(signatures[rows]).argmin(axis=1)
        return cells

    def distances(self, signatures: U64) -> NDArray[np.uint16]:
        """Returns the Hamming distances of all cells, uint16 [n, cells], given uint64 [n, words]."""
        found = np.empty((len(signatures), len(self)), np.uint16)
        compare_cells(signatures, self.signatures, found)
        return found

    def plan(self, distances: NDArray[np.uint16], sizes: NDArray[np.int64], early: int, scan: int) -> Plan:
        """Returns the nearest cells that hold `scan` images, with all that are equally near.

        Args:
            distances: uint16 [q, cells], of the queries.
            sizes: int64 [cells], images of each.
            early: images in the cells scanned first.
            scan: images in all cells scanned, at least.
        """
        plan = empty_plan(len(distances), len(self))
        held = np.empty(64 * self.signatures.shape[1] + 1, np.int64)
        choose_cells(distances, sizes, early, scan, held, plan)
        return plan


def cells_path(home: Path, version: str) -> Path:
    """Returns where fitted cells of a version are kept under `NEARDUP_HOME`."""
    return home / "cells" / f"{version}.npz"


def cells_of_index(version: str) -> str:
    """Returns the version of the fitted cells in that of an index; empty for the cells of the term space."""
    return next((part for part in version.split("+")[1:] if re.fullmatch(VERSION_PATTERN, part)), "")


def save_cells(cells: Cells, path: Path) -> None:
    """Replaces the file by these cells, as one `.npz` of plain arrays.

    Raises:
        OSError: the disk is full or broken; an earlier file stays.
    """
    content = io.BytesIO()
    np.savez(content, terms_version=np.array(cells.terms_version), signatures=cells.signatures)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, content.getvalue())


def load_cells(path: Path, terms_version: str, words: int) -> Cells:
    """Reads cells. Nothing is unpickled.

    Raises:
        BadArtefact: the file is missing, damaged, or of another term space.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            cells = Cells(str(arrays["terms_version"]), np.ascontiguousarray(arrays["signatures"]))
        found = cells.signatures
        if found.dtype != np.uint64 or found.ndim != 2 or not 1 <= len(found) <= MAX_CELLS or found.shape[1] != words:
            raise ValueError(
                f"signatures are {found.dtype} {list(found.shape)}, expected uint64 [1…{MAX_CELLS}, {words}]"
            )
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise BadArtefact(f"cells {path}: {error}; fit them again or unset terms.cells") from error
    if cells.terms_version != terms_version:
        raise BadArtefact(
            f"cells {path}: they are of terms {cells.terms_version}, the term space is {terms_version}: "
            "fit them again or unset terms.cells"
        )
    return cells
