"""A data set of synthetic images on S3, as an existing pipeline would leave it: in order of time, with its clusters.

Files are compressed as pyarrow does by default. The pair vectors of synthetic images have an empty sketch, more than
half of their entries, so an image takes 1.9 kB there, and 2 kB in the store, where one of a real picture takes 3.5 kB.
"""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from neardup_platform.bench.synthetic import FAMILY_IMAGES, image_id, many_images
from neardup_platform.bootstrap.completeness import MANIFEST
from neardup_platform.records import Kind
from neardup_platform.s3_client import ensure_bucket, open_s3
from neardup_platform.scoring.card import Card
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.settings import Settings

FILE_ROWS = 1 << 16
_THREADS = 2
GROUP_ROWS = 1 << 14
# Of the data set, in one cluster, and at most so many.
CROWD_SHARE, MOST_IN_CROWD = 0.05, 10_000


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set on S3.

    Attributes:
        size: of all files, in bytes.
        lsh, pair: float16, the vectors of the head of its last image.
    """

    size: int
    lsh: NDArray[np.float16]
    pair: NDArray[np.float16]


def put_synthetic(
    settings: Settings, name: str, numbers: range, card: Card, report: Callable[[str], None], *, heads: bool
) -> DataSet:
    """Upload images with these numbers, two files at a time.

    Args:
        numbers: a multiple of a family's size at both ends, best.
        heads: whether they name their heads: the first image of each family, and of a large cluster.
    """
    s3, bucket, prefix = open_s3(settings.s3), settings.s3.bucket, f"{settings.bootstrap.prefix}{name}/"
    ensure_bucket(s3, settings.s3)
    first_ms = time.time_ns() // 1_000_000 - 86_400_000

    def put(start: int) -> tuple[str, int, ImageVectors]:
        """Make and upload a file; returns its name and size, and the vectors of the head of its last image."""
        part = np.arange(start, min(start + FILE_ROWS, numbers.stop))
        path = Path(folder) / f"{start:012d}.parquet"
        sought = _write(path, part, numbers, np.random.default_rng([numbers.start, start]), card, first_ms, heads=heads)
        size = path.stat().st_size
        s3.upload_file(str(path), bucket, prefix + path.name)
        path.unlink()
        return path.name, size, sought

    starts, listed, sought = range(numbers.start, numbers.stop, FILE_ROWS), [], None
    with TemporaryDirectory(prefix="neardup-bench-") as folder, ThreadPoolExecutor(_THREADS) as pool:
        for file, size, sought in pool.map(put, starts):  # noqa: B007 -- of the last file
            listed.append({"name": file, "size": size})
            report(f"{min(len(listed) * FILE_ROWS, len(numbers))} of {len(numbers)} images uploaded")
    s3.put_object(Bucket=bucket, Key=prefix + MANIFEST, Body=json.dumps({"files": listed}).encode())
    if sought is None:
        raise ValueError("a data set has at least one image")
    return DataSet(sum(int(str(each["size"])) for each in listed), sought.lsh, sought.pair)


def heads_of(part: NDArray[np.int64], numbers: range) -> NDArray[np.int64]:
    """The numbers of the heads of images."""
    crowd = numbers.start + min(MOST_IN_CROWD, int(CROWD_SHARE * len(numbers)))
    return np.where(part < crowd, numbers.start, np.maximum(part - part % FAMILY_IMAGES, crowd))


def _write(
    path: Path,
    part: NDArray[np.int64],
    numbers: range,
    rng: np.random.Generator,
    card: Card,
    first_ms: int,
    *,
    heads: bool,
) -> ImageVectors:
    """Write a file; returns the vectors of the head of its last image."""
    ids = [image_id(number) for number in part.tolist()]
    named = [image_id(number) for number in heads_of(part, numbers).tolist()]
    columns: dict[str, Any] = {"image_id": ids, "head": pa.array(named if heads else [None] * len(ids), pa.string())}
    images = many_images(rng, len(part), card)
    for kind, vectors in zip((Kind.LSH, Kind.PAIR), images, strict=True):
        columns[kind] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
        columns[f"{kind}_version"] = pa.repeat(card.required_models[kind].version, len(ids))
    columns["event_time_ms"] = pa.array(first_ms + part - numbers.start)
    columns["source_uri"] = [f"s3://pictures/{name}.jpg" for name in ids]
    pq.write_table(
        pa.table(columns),
        path,
        row_group_size=GROUP_ROWS,
        compression="snappy",
        use_dictionary=["head", "lsh_version", "pair_version"],
    )
    head = max(0, int(heads_of(part[-1:], numbers)[0] - part[0]))
    return ImageVectors(images.lsh[head].copy(), images.pair[head].copy())
