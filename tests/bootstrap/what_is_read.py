"""Everything that a load reads of some files, by each of the ways in which it reads them."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from neardup_platform.bootstrap.arrow_segments import SegmentFiles
from neardup_platform.bootstrap.parquet_rows import Rows, read_rows
from neardup_platform.bootstrap.parquet_source import Source
from neardup_platform.bootstrap.parquet_vector_pass import Place, row_groups, write_group
from neardup_platform.bootstrap.parquet_vectors import read_vectors
from neardup_platform.bootstrap.row_fates import NONE, Fate, fates_of
from neardup_platform.bootstrap.scanned_rows import Described
from neardup_platform.progress import no_progress
from neardup_platform.records import Kind
from tests.bootstrap.data_files import MODELS, NOW_MS

Vectors = dict[Kind, list[list[float]]]


def what_is_read(sources: Sequence[Source]) -> list[dict[str, Any]]:
    """Each row, as text and numbers, in order; the readers of vectors are compared with each other."""
    rows = read_rows(sources, MODELS, NOW_MS)
    fates, described = fates_of(rows), Described(sources, len(rows), no_progress)
    batches = list(read_vectors(sources, rows, MODELS, np.ones(len(rows), np.bool_)))
    assert not np.concatenate([batch.reasons for batch in batches]).any()
    vectors = {kind: np.concatenate([batch.vectors[kind] for batch in batches]).tolist() for kind in Kind}
    assert _written(sources, rows) == vectors
    read = [
        {
            "image_id": rows.image_id[n].as_py().decode(),
            "head": _text(rows.head[n]),
            "at": int(rows.event_time_ms[n]),
            "uri": _text(described.uri[n]),
            "pdq": (_text(described.pdq[n]), described.quality[n].as_py()),
            "fate": Fate(fates.fate[n]),
            **{kind.value: vectors[kind][n] if rows.present[kind][n] else None for kind in Kind},
        }
        for n in range(len(rows))
    ]
    with tempfile.TemporaryDirectory() as folder, SegmentFiles(Path(folder), rows, fates, MODELS, 2) as segments:
        for batch in batches:
            segments.add(batch)
        sorted_files = [pq.read_table(path) for path, _ in segments.files()]
    _check_sorted(sorted_files, [read[n] for n in fates.undecided().tolist()])
    return read


class _Kept:
    """A target of vectors in memory."""

    def __init__(self, rows: int) -> None:
        self.vectors = {kind: np.zeros((rows, MODELS[kind].dim), np.float16) for kind in Kind}

    def write(self, kind: Kind, images: Any, vectors: Any) -> None:
        """Keep some."""
        self.vectors[kind][images] = vectors


def _written(sources: Sequence[Source], rows: Rows) -> Vectors:
    """What the worker writes into its files."""
    kept = _Kept(len(rows))
    places = [Place(kind, kept, np.where(rows.present[kind], np.arange(len(rows)), NONE)) for kind in Kind]
    for group in row_groups(sources):
        assert list(write_group(group, MODELS, places))[-1:] == [group.first + group.rows][: group.rows]
    return {kind: vectors.tolist() for kind, vectors in kept.vectors.items()}


def _check_sorted(files: Sequence[pa.Table], expected: Sequence[dict[str, Any]]) -> None:
    found = [row for file in files for row in file.to_pylist()]
    assert [(row["image_id"], row["source_uri"], (row["pdq"], row["pdq_quality"])) for row in found] == [
        (row["image_id"], row["uri"], row["pdq"]) for row in expected
    ]
    for kind in Kind:
        assert [np.frombuffer(row[kind.value], "<f2").tolist() for row in found] == [
            row[kind.value] for row in expected
        ]


def _text(value: pa.Scalar) -> str | None:
    content: bytes | None = value.as_py()
    return None if content is None else content.decode()
