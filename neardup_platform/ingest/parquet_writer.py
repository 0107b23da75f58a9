"""Writes images with their embeddings as the Parquet file that `parquet_embeddings.py` reads."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from neardup_platform.errors import BadArtefact
from neardup_platform.files import staged_file
from neardup_platform.ingest.parquet_embeddings import Models
from neardup_platform.records import JoinedImage, Kind


def write_embeddings(path: Path, batches: Iterator[list[JoinedImage]], models: Models) -> int:
    """Write images to a file, atomically; returns their number.

    Raises:
        BadArtefact: the file cannot be written.
    """
    schema = pa.schema(
        [
            ("image_id", pa.string()),
            *((kind.value, pa.list_(pa.float32(), models[kind].dim)) for kind in Kind),
            *((f"{kind}_version", pa.string()) for kind in Kind),
            ("event_time_ms", pa.int64()),
            ("source_uri", pa.string()),
            ("pdq", pa.string()),
            ("pdq_quality", pa.int64()),
        ]
    )
    count = 0
    try:
        with staged_file(path) as staged, pq.ParquetWriter(staged, schema) as writer:
            for images in batches:
                writer.write_batch(_record_batch(images, schema))
                count += len(images)
    except (OSError, pa.ArrowException) as error:
        raise BadArtefact(f"{path} cannot be written: {error}") from error
    return count


def _record_batch(images: list[JoinedImage], schema: pa.Schema) -> pa.RecordBatch:
    columns: list[pa.Array] = [pa.array([image.image_id for image in images], pa.string())]
    for kind in Kind:
        listed = schema.field(kind.value).type
        matrix = np.array([image.embedding(kind).vector for image in images], np.float32).reshape(-1)
        columns.append(pa.FixedSizeListArray.from_arrays(pa.array(matrix), listed.list_size))
    columns += [pa.array([image.embedding(kind).model_version for image in images], pa.string()) for kind in Kind]
    columns.append(pa.array([image.event_time_ms for image in images], pa.int64()))
    columns.append(pa.array([image.source_uri for image in images], pa.string()))
    hashes = [image.pdq for image in images]
    columns.append(pa.array([pdq.bits.hex() if pdq else None for pdq in hashes], pa.string()))
    columns.append(pa.array([pdq.quality if pdq else None for pdq in hashes], pa.int64()))
    return pa.RecordBatch.from_arrays(columns, schema=schema)
