"""The offsets of a Parquet file of a log: its first and last, and what is missing between them.

One column is compared by NumPy. A database for each file took ten times as long, most of it to start.
"""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

Offsets = NDArray[np.int64]


def read_offsets(file: Path) -> Offsets:
    """The offsets of a file, int64 [n], ascending."""
    with pq.ParquetFile(file) as stored:
        return np.sort(stored.read(["kafka_offset"])["kafka_offset"].to_numpy())


def offset_span(offsets: Offsets) -> tuple[int, int] | None:
    """First and last of ascending offsets, or None without any."""
    return (int(offsets[0]), int(offsets[-1])) if len(offsets) else None


def offset_gaps(offsets: Offsets) -> list[tuple[int, int]]:
    """Where ascending offsets do not follow each other, as (first missing, next present)."""
    before = np.flatnonzero(np.diff(offsets) != 1)
    return [(int(offsets[at]) + 1, int(offsets[at + 1])) for at in before]
