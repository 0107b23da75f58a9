"""What the compacted files of a day hold: which rows of them are which object of which hour. Pure.

    s3://{bucket}/logs-by-day/{name of the log}/day=YYYY-MM-DD/{generation}-{number}.parquet
    s3://{bucket}/logs-by-day/{name of the log}/day=YYYY-MM-DD/manifest.json

Rows are in the order of hours, Kafka partitions and offsets, those of one object of an hour together. The manifest is
written last: what it does not name does not count. An object of an hour that exists counts instead of its rows here,
so that an hour which is materialised again is never hidden.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from neardup_platform.errors import BadArtefact
from neardup_platform.kafka.window import OffsetRange
from neardup_platform.topic_logs.topic_log import TopicLog

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a file: `count` from `first` on."""

    file: str
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class StoredPart:
    """The messages of an hour in one Kafka partition, of one log.

    Attributes:
        key: of its object.
        offsets: of its messages.
        cut: whether Kafka may have deleted messages of the hour before it was materialised.
        etag: of the object; the same content has the same one.
        rows: where its rows are in a compacted day; None where the object itself is read.
        empty: how many of its offsets hold no message: of transactions, their markers and aborted messages.
    """

    key: str
    offsets: OffsetRange
    cut: bool = False
    etag: str = ""
    rows: Rows | None = None
    empty: int = 0


@dataclass(frozen=True, slots=True)
class DayManifest:
    """A compacted day.

    Attributes:
        compacted_ms: when, Unix milliseconds.
        parts: in the order of their rows, all with `rows` and the `etag` of the object that they were.
    """

    compacted_ms: int
    parts: tuple[StoredPart, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """Keys of its files, in order."""
        return tuple(dict.fromkeys(part.rows.file for part in self.parts if part.rows is not None))

    def of_hour(self, prefix: str) -> list[StoredPart]:
        """The parts whose objects were in the folder of an hour."""
        return [part for part in self.parts if part.key.startswith(prefix)]


def days_prefix(of: TopicLog) -> str:
    """The folder of all days of a log."""
    return f"logs-by-day/{of.name}/"


def day_prefix(of: TopicLog, day: datetime) -> str:
    """The folder of a day."""
    return f"{days_prefix(of)}day={day:%Y-%m-%d}/"


def manifest_key(of: TopicLog, day: datetime) -> str:
    """The key of the manifest of a day."""
    return f"{day_prefix(of, day)}manifest.json"


def generation(parts: Sequence[StoredPart]) -> str:
    """12 hex digits that stand for the content of some parts."""
    return hashlib.sha256(json.dumps([_identity(part) for part in parts]).encode()).hexdigest()[:12]


def same_content(one: Sequence[StoredPart], other: Sequence[StoredPart]) -> bool:
    """Whether parts are the same objects with the same content, wherever they are read from."""
    return [_identity(part) for part in one] == [_identity(part) for part in other]


def _identity(part: StoredPart) -> list[str | int | bool]:
    offsets = part.offsets
    return [part.key, part.etag, offsets.partition, offsets.first, offsets.next, offsets.log, part.cut]


def encode_manifest(manifest: DayManifest) -> bytes:
    """JSON."""
    return json.dumps({"format": _FORMAT, **asdict(manifest)}).encode()


def decode_manifest(content: bytes, place: str) -> DayManifest:
    """Decode what `encode_manifest` returns.

    Raises:
        BadArtefact: it is no such manifest, or one of a later version.
    """
    try:
        raw = json.loads(content)
        if raw["format"] != _FORMAT:
            raise BadArtefact(f"{place} has format {raw['format']}, this version reads {_FORMAT}: upgrade")
        parts = [
            StoredPart(
                part["key"],
                OffsetRange(**part["offsets"]),
                bool(part["cut"]),
                part["etag"],
                Rows(**part["rows"]),
                int(part.get("empty", 0)),
            )
            for part in raw["parts"]
        ]
        return DayManifest(int(raw["compacted_ms"]), tuple(parts))
    except (ValueError, KeyError, TypeError) as error:
        raise BadArtefact(f"{place} is no manifest of a day: {error!r}; materialise the day again") from error
