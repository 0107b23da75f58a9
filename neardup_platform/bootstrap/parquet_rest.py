"""Writes images of the rest as Parquet files with the columns of a data set (parquet_rows.py)."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from neardup_platform.bootstrap.row_checks import Models
from neardup_platform.bootstrap.scanned_rows import HEAD_ID
from neardup_platform.files import staged_file
from neardup_platform.records import Kind
from neardup_platform.scoring.vectors import Float16, ImageVectors


def write_rest(path: Path, images: pa.Table, vectors: ImageVectors, models: Models) -> None:
    """Write a file, durably.

    Args:
        images: the table of the scan, n rows.
        vectors: of the same images.

    Raises:
        OSError: the disk is full or broken.
    """
    hashes = [None if value is None else value.hex() for value in images.column("pdq").to_pylist()]
    qualities = zip(hashes, images.column("pdq_quality").to_pylist(), strict=True)
    columns = {
        "image_id": images.column("image_id"),
        "head": images.column(HEAD_ID),
        "lsh": _lists(vectors.lsh),
        "pair": _lists(vectors.pair),
        **{f"{kind}_version": pa.repeat(models[kind].version, len(images)) for kind in Kind},
        "event_time_ms": images.column("event_time_ms"),
        "source_uri": images.column("source_uri"),
        "pdq": pa.array(hashes, pa.string()),
        "pdq_quality": pa.array([None if pdq is None else quality for pdq, quality in qualities], pa.int64()),
    }
    with staged_file(path) as staged:
        pq.write_table(pa.table(columns), staged, compression="none")


def _lists(vectors: Float16) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(vectors).reshape(-1)), vectors.shape[1])
