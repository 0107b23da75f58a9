"""Reads parts of a Parquet object from S3: some columns, some rows, without the rest."""

import io
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from botocore.exceptions import BotoCoreError, ClientError

from neardup_platform.errors import BadArtefact
from neardup_platform.s3_client import unreadable
from neardup_platform.topic_logs.day_manifest import Rows


def fetch_columns(s3: Any, bucket: str, key: str, columns: list[str], file: Path, rows: Rows | None = None) -> None:
    """Write some columns of an object to a file, a row group at a time in memory.

    Args:
        columns: names; those that the object lacks are left out.
        rows: of the object; None for all.

    Raises:
        NotFound: the object does not exist.
        ServerUnavailable: S3 does not answer or refuses.
        BadArtefact: it is no Parquet file.
    """
    place = f"s3://{bucket}/{key}"
    try:
        with pq.ParquetFile(_Object(s3, bucket, key), pre_buffer=True) as stored:
            names = [name for name in stored.schema_arrow.names if name in columns]
            schema = pa.schema([stored.schema_arrow.field(name) for name in names])
            with pq.ParquetWriter(file, schema, compression="none", use_dictionary=False) as writer:
                for table in _tables(stored, names, rows):
                    writer.write_table(table)
    except pa.ArrowInvalid as error:
        raise BadArtefact(f"{place} is no Parquet file: {error}; materialise its hour again") from error


def _tables(stored: pq.ParquetFile, names: list[str], rows: Rows | None) -> Any:
    """The wanted rows of each row group that has any."""
    begin = rows.first if rows is not None else 0
    end = begin + rows.count if rows is not None else stored.metadata.num_rows
    first = 0
    for number in range(stored.metadata.num_row_groups):
        count = stored.metadata.row_group(number).num_rows
        if first < end and begin < first + count:
            table = stored.read_row_group(number, columns=names)
            yield table.slice(max(0, begin - first), min(end, first + count) - max(begin, first))
        first += count


class _Object(io.RawIOBase):
    """An object as a file that is read at places: each read is a request."""

    def __init__(self, s3: Any, bucket: str, key: str) -> None:
        super().__init__()
        self._s3, self._bucket, self._key, self._at = s3, bucket, key, 0
        self._size = int(self._ask("head_object")["ContentLength"])

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, origin: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[origin]
        self._at = base + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = self._size if size < 0 else min(self._at + size, self._size)
        if end <= self._at:
            return b""
        with closing(self._ask("get_object", Range=f"bytes={self._at}-{end - 1}")["Body"]) as body:
            try:
                content: bytes = body.read()
            except (BotoCoreError, OSError) as error:
                raise unreadable(error, f"s3://{self._bucket}/{self._key}") from error
        self._at += len(content)
        return content

    def _ask(self, call: str, **arguments: Any) -> Any:
        try:
            return getattr(self._s3, call)(Bucket=self._bucket, Key=self._key, **arguments)
        except (ClientError, BotoCoreError) as error:
            raise unreadable(error, f"s3://{self._bucket}/{self._key}") from error
