"""The rows of the other pipeline's files, each valid or counted with its reason.

Files of an hour → **head of each image; bad rows by reason** → comparison
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from neardup_platform.errors import BadArtefact, BadMessage
from neardup_platform.handover.s3_other import COLUMNS, OtherFile
from neardup_platform.ingest.parquet_columns import integers, texts
from neardup_platform.wire.validation import checked_id

_SHOWN = 10


@dataclass(slots=True)
class OtherHour:
    """What the other pipeline decided in an hour.

    Attributes:
        heads: of each image, by its last row.
        rows: all of them.
        repeated: rows about an image that has another row.
        bad: rows that are not used, by reason.
        bad_examples: the first of them: file, row from 0 on, reason.
    """

    heads: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    repeated: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    bad_examples: list[Mapping[str, str | int]] = field(default_factory=list)

    @property
    def bad_rows(self) -> int:
        """Rows that are not used."""
        return self.bad.total()


def read_rows(files: Sequence[OtherFile]) -> OtherHour:
    """Read files whose columns are checked (s3_other.py), in order; of two rows of one time the later counts.

    Raises:
        BadArtefact: a file is damaged; the text names it.
    """
    hour, decided_ms = OtherHour(), dict[str, int]()
    for file in files:
        row = 0
        try:
            for batch in pq.ParquetFile(file.path).iter_batches(columns=COLUMNS):
                columns = (texts(batch, "image_id"), texts(batch, "head"), integers(batch, "decided_ms").to_pylist())
                for image_id, head, at_ms in zip(*columns, strict=True):
                    _add(hour, decided_ms, (image_id, head, at_ms), file.uri, row)
                    row += 1
        except BadArtefact as error:
            raise BadArtefact(f"{file.uri}: {error}") from error
        except (pa.ArrowException, OSError) as error:
            raise BadArtefact(f"{file.uri} is damaged: {error}. Write it again, then compare again") from error
    return hour


def _add(
    hour: OtherHour,
    decided_ms: dict[str, int],
    row: tuple[bytes | None, bytes | None, int | None],
    uri: str,
    number: int,
) -> None:
    hour.rows += 1
    try:
        image_id, head = _text("image_id", row[0]), _text("head", row[1])
    except BadMessage as error:
        hour.bad[error.reason] += 1
        if len(hour.bad_examples) < _SHOWN:
            hour.bad_examples.append({"file": uri, "row": number, "reason": str(error)})
        return
    at_ms = row[2] or 0
    if image_id in hour.heads:
        hour.repeated += 1
        if at_ms < decided_ms[image_id]:
            return
    hour.heads[image_id], decided_ms[image_id] = head, at_ms


def _text(name: str, value: bytes | None) -> str:
    if not value:
        raise BadMessage(f"no-{name.replace('_', '-')}", f"{name} is empty")
    try:
        return checked_id(value.decode())
    except UnicodeDecodeError as error:
        raise BadMessage("not-utf-8", f"{name} is not UTF-8: {value[:40]!r}") from error
