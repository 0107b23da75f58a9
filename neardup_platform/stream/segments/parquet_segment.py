"""A segment: images with both embeddings in a Parquet file, all of which are checked before any is decided.

`ingest/parquet_embeddings.py` lists the columns; all but `source_uri` are required. Rows are decided in file order.
A row is bad for the same reasons for which the stream dead-letters a message.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from neardup_platform.errors import BadArtefact
from neardup_platform.ingest.parquet_embeddings import BadRows, EmbeddingFile, Models
from neardup_platform.records import JoinedImage

MAX_ROWS = 5_000_000
# Memory of all columns when unpacked; rows are read in chunks.
MAX_UNPACKED_BYTES = 64 << 30
_CHECKED_ROWS = 4_096


class Segment:
    """A segment on this machine.

    Args:
        models: the models that embeddings must be of.
        now_ms: the clock, Unix milliseconds; event times more than a day ahead of it are bad.

    Raises:
        BadArtefact: it is not a Parquet file with these columns, or is too large.
    """

    def __init__(self, path: Path, models: Models, now_ms: int) -> None:
        self._file = EmbeddingFile(path, models, now_ms)
        rows, unpacked = len(self._file), self._file.unpacked_bytes
        if rows > MAX_ROWS or unpacked > MAX_UNPACKED_BYTES:
            raise BadArtefact(
                f"it has {rows} rows and {unpacked} bytes unpacked, at most {MAX_ROWS} and "
                f"{MAX_UNPACKED_BYTES} are allowed: split it"
            )

    def __len__(self) -> int:
        return len(self._file)

    def check(self, check_cancelled: Callable[[], None] = lambda: None) -> BadRows:
        """Check every row.

        Args:
            check_cancelled: called for each chunk of rows; raises to stop the check.

        Raises:
            BadArtefact: the file is damaged.
        """
        bad = BadRows()
        for part in self._file.parts(_CHECKED_ROWS):
            check_cancelled()
            bad.add(part.bad)
        return bad

    def images(self, chunk: int, start: int = 0) -> Iterator[tuple[int, list[JoinedImage]]]:
        """The good rows from row `start` on, in chunks, each with the row that it ends at.

        Args:
            chunk: rows read at once, bad ones included.
            start: an end that an earlier call with the same `chunk` returned, or 0.
        """
        return ((read.end, read.images) for read in self._file.parts(chunk) if read.end > start)
