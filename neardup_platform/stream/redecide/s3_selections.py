"""Selections on S3: Parquet files of image ids, uploaded by a sender and fetched by the worker for `redecide`."""

import hashlib
import io
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from botocore.exceptions import BotoCoreError, ClientError

from neardup_platform.errors import BadArtefact, BadCommand, ServerUnavailable
from neardup_platform.s3_client import read_bounded

PREFIX = "selections"
COLUMN = "image_id"
# Above this many the whole corpus is decided again with less work.
MAX_IMAGES = 1_000_000
MAX_BYTES = 256 << 20


class NothingSelected(BadCommand):
    """A selection without any image."""


def check_number(images: int) -> None:
    """Check how many images are selected.

    Raises:
        NothingSelected: none.
        BadCommand: too many.
    """
    if not images:
        raise NothingSelected("no image is selected, so there is nothing to decide again")
    if images > MAX_IMAGES:
        raise BadCommand(
            f"{images} images are selected, at most {MAX_IMAGES} are allowed: split the selection, or decide all "
            "images again (`neardup reprocess` without a selection)"
        )


def put_selection(s3: Any, bucket: str, image_ids: Sequence[str]) -> str:
    """Upload image ids, in their order; returns the key, which depends on them alone.

    Raises:
        BadCommand: there are none, or too many.
        ServerUnavailable: S3 does not answer, or refuses.
    """
    check_number(len(image_ids))
    out = io.BytesIO()
    pq.write_table(pa.table({COLUMN: pa.array(image_ids, pa.string())}), out, compression="zstd")
    key = f"{PREFIX}/{hashlib.sha256(out.getvalue()).hexdigest()}.parquet"
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=out.getvalue())
    except (BotoCoreError, ClientError) as error:
        raise ServerUnavailable(f"writing s3://{bucket}/{key} failed: {error}") from error
    return key


def fetch_selection(s3: Any, bucket: str, key: str) -> tuple[list[str], bytes]:
    """Read image ids, each once, in their order; and the SHA-256 of the object.

    Raises:
        BadArtefact: it is no such file, or too large.
        BadCommand: it names none, or too many.
        NotFound: there is no such object.
        ServerUnavailable: S3 does not answer.
    """
    place = f"s3://{bucket}/{key[:500]}"
    data = read_bounded(s3, bucket, key, MAX_BYTES)
    if len(data) > MAX_BYTES:
        raise BadArtefact(f"{place} has more than {MAX_BYTES >> 20} MiB: split it")
    try:
        file = pq.ParquetFile(io.BytesIO(data))
        check_number(file.metadata.num_rows)
        column = file.read([COLUMN])[COLUMN].cast(pa.string())
    except (pa.ArrowException, KeyError) as error:
        raise BadArtefact(f"{place} is no Parquet file with a text column {COLUMN}: {error}") from error
    return list(dict.fromkeys(column.drop_null().to_pylist())), hashlib.sha256(data).digest()
