"""What a bulk load hands to the worker: a folder of files, and a sealed manifest that is written last.

| in the folder | |
|---|---|
| `tables/*.sst` | rows of the store's tables, in order of their keys, as `store/layout.py` writes them |
| `*.segment` | segments of the term index that hold the images not retired |
| `images.arrow` | one row for each ordinal, in order: see `IMAGES_SCHEMA` |
| `rest-*.parquet` | rows of clusters that touch what the store knows, in order of decision: the columns of a data set |
| `bulk.json` | the manifest |

The rows of the two vector files are not in the folder: they are written in place, at the ordinals that the worker has
reserved. Nothing reads them before the load is taken in.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa

from neardup_platform.files import read_sealed, write_sealed

MANIFEST = "bulk.json"
IMAGES = "images.arrow"
TABLES = "tables"

# Row i belongs to ordinal `first_ordinal` + i. `head` is the i of the head of the image's cluster; `pdq` has 32 bytes.
# Written when the data set is scanned, before the numbers are reserved. `row` and `pair_row` are rows of the data set.
IMAGES_SCHEMA = pa.schema(
    [
        ("image_id", pa.large_string()),
        ("head", pa.int64()),
        ("retired", pa.bool_()),
        ("event_time_ms", pa.int64()),
        ("source_uri", pa.large_string()),
        ("pdq", pa.large_binary()),
        ("pdq_quality", pa.uint8()),
        ("row", pa.int64()),
        ("pair_row", pa.int64()),
    ]
)


@dataclass(frozen=True, slots=True)
class BulkFiles:
    """The manifest.

    Attributes:
        data_set: name and version, as `name@version`.
        first_ordinal: the first reserved ordinal.
        first_sequence: the first reserved sequence number.
        images: ordinals and sequence numbers used, from the first ones on.
        clusters: founded.
        digest: what the images add to the state digest (`store/layout.py`), an integer below 2^128.
        checkpoint_ordinals: ordinals of the store that the images were compared with: it knows none of these images,
            and no head. Images decided since must be compared when the load is taken in.
        tables: names of the files in `tables/`, each with its size in bytes. Their content has checksums of its own.
        segments: the same of the segments.
        rest: the same of the files of the rest, in order of decision.
        counters: what the images add to counters of the store, by name.
    """

    data_set: str
    first_ordinal: int
    first_sequence: int
    images: int
    clusters: int
    digest: int
    checkpoint_ordinals: int
    tables: dict[str, int]
    segments: dict[str, int]
    rest: dict[str, int]
    counters: dict[str, int]

    @property
    def end_ordinal(self) -> int:
        """The ordinal after the last one."""
        return self.first_ordinal + self.images


def write_manifest(folder: Path, files: BulkFiles) -> None:
    """Seal a folder whose files are complete and synced.

    Raises:
        OSError: the disk is full or broken.
    """
    content = asdict(files)
    content["digest"] = f"{files.digest:032x}"
    write_sealed(folder / MANIFEST, content)


def read_manifest(folder: Path) -> BulkFiles | None:
    """Return the manifest; None if the folder is not complete.

    Raises:
        ValueError: it is damaged.
    """
    content = read_sealed(folder / MANIFEST)
    if content is None:
        return None
    content["digest"] = int(content["digest"], 16)
    return BulkFiles(**content)
