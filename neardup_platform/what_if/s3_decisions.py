"""Where recorded decisions come from: the decisions log of chosen hours on S3, or else the store of this machine.

The store holds the same messages as the log, so both become Parquet files of one schema. It is read as a RocksDB
secondary: nothing is written to it, and the worker is not disturbed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from neardup_platform.errors import NotFound, ServerUnavailable, SetupError
from neardup_platform.kafka.record_block import LogRecord
from neardup_platform.s3_client import open_s3
from neardup_platform.settings import Settings
from neardup_platform.store.layout import Table
from neardup_platform.store.secondary import SecondaryStore
from neardup_platform.store.view import StoreView
from neardup_platform.topic_logs.parquet_log import ROW_GROUP_ROWS, write_parquet
from neardup_platform.topic_logs.s3_hours import fetch_hour
from neardup_platform.topic_logs.topic_log import DECISIONS
from neardup_platform.wire import neardup_pb2 as pb

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class DecisionFiles:
    """Decisions as Parquet files.

    Attributes:
        source: `log`, or `store` where no hour was materialised.
        hours_missing: hours that are in neither, ISO 8601; only of a log.
    """

    files: list[Path]
    source: Literal["log", "store"]
    hours_missing: list[str]


def get_decisions(settings: Settings, hours: Sequence[datetime], folder: Path) -> DecisionFiles:
    """Downloads the decisions of some hours; reads them from the store if none of the hours is in the log.

    Args:
        settings: resolved.
        hours: starts of hours, ascending.
        folder: existing; receives the files.

    Raises:
        NotFound: the hours are not in the log, and there is no store on this machine.
        ServerUnavailable: S3 does not answer.
    """
    files, missing = _from_log(open_s3(settings.s3), settings.s3.bucket, hours, folder)
    if files:
        return DecisionFiles(files, "log", missing)
    begin, end = hours[0], hours[-1] + _HOUR
    file = folder / "store.parquet"
    try:
        with opened_store(settings, folder / "secondary") as store:
            write_parquet(DECISIONS, _batches(store, _ms(begin), _ms(end)), file)
    except SetupError as error:
        raise NotFound(
            f"s3://{settings.s3.bucket}/logs/decisions/ has none of the {len(hours)} hours from {begin:%Y-%m-%dT%H}: "
            f"materialise logs/decisions for them, or run this on the worker's machine ({error})"
        ) from error
    return DecisionFiles([file], "store", [])


@contextmanager
def opened_store(settings: Settings, scratch: Path) -> Iterator[StoreView]:
    """The store of this machine as of one moment, for reading.

    Raises:
        SetupError: there is none.
    """
    if not (settings.store_path / "CURRENT").exists():
        raise SetupError(f"there is no store at {settings.store_path}")
    try:
        store = SecondaryStore(settings.store_path, scratch)
    except ServerUnavailable as error:
        raise SetupError(str(error)) from error
    try:
        yield store
    finally:
        store.close()


def _from_log(s3: Any, bucket: str, hours: Sequence[datetime], folder: Path) -> tuple[list[Path], list[str]]:
    files, missing = list[Path](), list[str]()
    for hour in hours:
        found = fetch_hour(s3, bucket, DECISIONS, hour, folder)
        files += found or []
        if found is None:
            missing.append(f"{hour:%Y-%m-%dT%H}")
    return files, missing


def _batches(store: StoreView, begin_ms: int, end_ms: int) -> Iterator[list[LogRecord]]:
    """The decisions of a time, in the order of the store; a batch at a time in memory."""
    batch: list[LogRecord] = []
    for number, (_, value) in enumerate(store.scan(Table.HISTORY)):
        decided_ms = pb.Decision.FromString(value).decided_ms
        if begin_ms <= decided_ms < end_ms:
            batch.append(LogRecord(0, number, decided_ms, value))
        if len(batch) >= ROW_GROUP_ROWS:
            yield batch
            batch = []
    yield batch


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000)
