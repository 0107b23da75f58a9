"""A segment: images with both embeddings in a Parquet file, all of them checked before any is decided.

`ingest/parquet_embeddings.py` has the columns. All but `source_uri` must be there. Rows are decided in their order.
A row that the stream would send to the dead letters is bad for the same reason.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from neardup_platform.errors import BadArtefact
from neardup_platform.ingest.parquet_embeddings import BadRows, EmbeddingFile, Models
from neardup_platform.records import JoinedImage

MAX_ROWS = 5_000_000
# What the columns take in memory when unpacked, all in all; rows are read in parts of it.
MAX_UNPACKED_BYTES = 64 << 30
_CHECKED_ROWS = 4_096


class Segment:
    """A file of this kind.

    Args:
        path: on this machine.
        models: what embeddings must be.
        now_ms: the clock; event times a day ahead of it are refused.

    Raises:
        BadArtefact: it is no Parquet file with these columns, or too large.
    """

    def __init__(self, path: Path, models: Models, now_ms: int) -> None:
        self._file = EmbeddingFile(path, models, now_ms)
        rows, unpacked = len(self._file), self._file.unpacked_bytes
        if rows > MAX_ROWS or unpacked > MAX_UNPACKED_BYTES:
            raise BadArtefact(
                f"it has {rows} rows and {unpacked} bytes unpacked, at most {MAX_ROWS} and "
                f"{MAX_UNPACKED_BYTES} are taken: cut it into several"
            )

    def __len__(self) -> int:
        return len(self._file)

    def check(self, going_on: Callable[[], None] = lambda: None) -> BadRows:
        """Look at every row.

        Args:
            going_on: called for each part of the rows; raises to end it.

        Raises:
            BadArtefact: the file is damaged.
        """
        bad = BadRows()
        for part in self._file.parts(_CHECKED_ROWS):
            going_on()
            bad.add(part.bad)
        return bad

    def images(self, part: int, start: int = 0) -> Iterator[tuple[int, list[JoinedImage]]]:
        """The good rows from row `start` on, in parts; with each the number of rows that it ends at.

        Args:
            part: rows read at once, bad ones included.
            start: a number that an earlier reading with the same `part` gave, or 0.
        """
        return ((read.end, read.images) for read in self._file.parts(part) if read.end > start)
