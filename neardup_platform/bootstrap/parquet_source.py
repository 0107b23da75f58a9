"""A Parquet file of a data set, opened and read so that memory is bounded, with errors that name a column.

Source → **row group by row group, in batches** → rows (`parquet_rows.py`), vectors (`parquet_vectors.py`,
`parquet_vector_pass.py`).

Arrow reads the columns of a row group as a whole, which takes the fewest requests. Where a row group is large, as of
tools that write a single one, it reads pieces of them instead. A page is always read as a whole.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from neardup_platform.errors import BadArtefact
from neardup_platform.terminal_text import one_line

# A larger row group is read in pieces, which takes twice the time: only its columns of vectors are larger than a piece.
_GROUP_BYTES = 256 << 20
_PIECE_BYTES = 8 << 20
_END_BYTES = 8
_FAULTS = (OSError, ValueError, pa.ArrowException)
# How to write a file again, by what an error of Arrow says.
_STEPS = {
    "crypt": " without encryption",
    "more than 64 bits": " with integers of 64 bits instead of 128, or without that column",
    "spanned by list offsets": " with lists instead of arrays (`FLOAT[]` instead of `FLOAT[n]`), or with another tool",
}


@dataclass(frozen=True, slots=True)
class Source:
    """A file of a data set.

    Attributes:
        name: for messages: its key, or a path.
        open: returns a path on this machine or a file that can be sought; called again for each reading.
    """

    name: str
    open: Callable[[], Path | io.RawIOBase]


class OpenSource:
    """A file that is open until the end of the `with` statement.

    Attributes:
        parquet: for its schema and metadata.
        signed: whether something follows the footer: the signature of a file in which only columns are encrypted. Arrow
            ends the process when it is asked for the statistics of such a column; when it is read, it raises.

    Raises:
        BadArtefact: it is not a Parquet file; names it.
    """

    def __init__(self, source: Source) -> None:
        self.name = source.name
        try:
            opened = source.open()
            self.parquet = pq.ParquetFile(opened, pre_buffer=False)
            metadata = self.parquet.metadata
            self.signed = _is_signed(opened, metadata.serialized_size)
            groups = range(metadata.num_row_groups)
            if max((metadata.row_group(group).total_byte_size for group in groups), default=0) > _GROUP_BYTES:
                self.parquet.close()
                self.parquet = pq.ParquetFile(opened, metadata=metadata, pre_buffer=False, buffer_size=_PIECE_BYTES)
        except _FAULTS as error:
            raise BadArtefact(f"{self.name}: it is not a readable Parquet file: {_in_words(error)}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.parquet.close(force=True)

    @contextmanager
    def named(self) -> Iterator[None]:
        """Put the name of the file before what is found wrong with its content.

        Raises:
            BadArtefact: instead of one without the name, and of what Arrow raises.
        """
        try:
            yield
        except BadArtefact as error:
            raise BadArtefact(f"{self.name}: {error}") from error
        except _FAULTS as error:
            raise BadArtefact(f"{self.name}: its values cannot be read: {_in_words(error)}") from error

    def batches(self, group: int, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """The rows of a row group.

        Args:
            columns: those that the file lacks are left out.
            rows: of a batch, at most.

        Raises:
            BadArtefact: a column cannot be read; names it.
        """
        present = [name for name in columns if name in self.parquet.schema_arrow.names]
        try:
            yield from self.parquet.iter_batches(batch_size=rows, row_groups=[group], columns=present)
        except _FAULTS as error:
            broken = next((f"column {name!r} of " for name in present if self._is_broken(group, name, rows)), "")
            raise BadArtefact(f"{self.name}: {broken}row group {group} cannot be read: {_in_words(error)}") from error

    def _is_broken(self, group: int, name: str, rows: int) -> bool:
        try:
            for _ in self.parquet.iter_batches(batch_size=rows, row_groups=[group], columns=[name]):
                pass
        except _FAULTS:
            return True
        return False


def _is_signed(opened: Path | io.RawIOBase | io.BufferedReader, footer_bytes: int) -> bool:
    if isinstance(opened, Path):
        with opened.open("rb") as file:
            return _is_signed(file, footer_bytes)
    opened.seek(-_END_BYTES, io.SEEK_END)
    return int.from_bytes(opened.read(_END_BYTES)[:4], "little") != footer_bytes


def _in_words(error: Exception) -> str:
    text = one_line(str(error))
    step = next((step for found, step in _STEPS.items() if found in text), ", or with another tool")
    return f"{text}: write it again{step}"
