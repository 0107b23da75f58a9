"""The rows of a load that are decided one by one: those withheld from the bulk, then those of the rest.

Both have an order that does not change between attempts, so a position in it says how far a load has come.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from neardup_platform.errors import BadArtefact
from neardup_platform.ingest.parquet_embeddings import BadRow, EmbeddingFile
from neardup_platform.records import Kind, ModelSpec
from neardup_platform.stream.loading.given_heads import GivenImage

_NARROW_ROWS = 65_536

Chunk = tuple[int, list[GivenImage], list[BadRow]]


class Withheld(Protocol):
    """Images that are decided one by one, in their order; see `WithheldImages`."""

    def __len__(self) -> int:
        """How many."""

    def heads(self) -> Iterator[tuple[str, str]]:
        """The id and the given head of each."""

    def part(self, start: int, end: int) -> list[GivenImage]:
        """Some of them."""


class RestRows:
    """The rows, which are read in chunks.

    Args:
        withheld: images of the bulk that are decided one by one, in their order.
        files: Parquet files with the columns of a data set, in their order.
        models: the models that embeddings must be of.
        now_ms: the clock, Unix milliseconds.
    """

    def __init__(
        self, withheld: Withheld, files: Sequence[Path], models: Mapping[Kind, ModelSpec], now_ms: int
    ) -> None:
        self._withheld, self._files, self._models, self._now_ms = withheld, files, models, now_ms

    def heads(self, end: int) -> Iterator[tuple[str, str]]:
        """The ids and given heads of the rows before position `end`."""
        yield from islice(_chain(self._withheld.heads(), self._files), end)

    def chunks(self, rows: int, start: int) -> Iterator[Chunk]:
        """The rows from position `start` on, about `rows` at once: where a chunk ends, its images, its bad rows."""
        for at in range(min(start, len(self._withheld)), len(self._withheld), rows):
            end = min(at + rows, len(self._withheld))
            yield end, self._withheld.part(at, end), []
        first = len(self._withheld)
        for path in self._files:
            file = EmbeddingFile(path, self._models, self._now_ms)
            pairs = _narrow(path)
            end = 0
            for part in file.parts(rows):
                begun, end = end, part.end
                heads = dict(islice(pairs, end - begun))
                bad = {row.row for row in part.bad}
                good = (row for row in range(begun, end) if row not in bad)
                images = [
                    GivenImage(image, heads[image.image_id])
                    for row, image in zip(good, part.images, strict=True)
                    if first + row >= start
                ]
                if first + end > start:
                    yield first + end, images, [row for row in part.bad if first + row.row >= start]
            first += len(file)


def _chain(first: Iterator[tuple[str, str]], files: Sequence[Path]) -> Iterator[tuple[str, str]]:
    yield from first
    for path in files:
        yield from _narrow(path)


def _narrow(path: Path) -> Iterator[tuple[str, str]]:
    try:
        for batch in pq.ParquetFile(path).iter_batches(batch_size=_NARROW_ROWS, columns=["image_id", "head"]):
            ids, heads = (batch.column(name).cast(pa.string()).to_pylist() for name in ("image_id", "head"))
            yield from zip(ids, heads, strict=True)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise BadArtefact(f"the rest of a load cannot be read from {path}: {error}") from error
