"""Claims about compacted days, on a real S3 server: whatever is read of an hour, whenever, is what was materialised."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from neardup_platform.errors import BadArtefact, NotFound, ServerUnavailable
from neardup_platform.kafka.record_block import LogRecord
from neardup_platform.kafka.window import OffsetRange
from neardup_platform.s3_client import ensure_bucket, open_s3
from neardup_platform.settings import LogSettings, Settings
from neardup_platform.topic_logs import s3_compaction, s3_hours
from neardup_platform.topic_logs.day_manifest import Rows, StoredPart
from neardup_platform.topic_logs.duckdb_rows import rows_seen
from neardup_platform.topic_logs.message_rows import is_map
from neardup_platform.topic_logs.offset_continuity import Breaks, find_breaks
from neardup_platform.topic_logs.parquet_log import write_parquet
from neardup_platform.topic_logs.s3_compaction import CompactedDay, compact_day, divided
from neardup_platform.topic_logs.s3_hours import fetch_hour
from neardup_platform.topic_logs.s3_topic_log import listed, object_key, put_object, stored_parts, stored_ranges
from neardup_platform.topic_logs.topic_log import DECISIONS as LOG
from neardup_platform.topic_logs.topic_log import LOGS, TopicLog
from neardup_platform.wire import neardup_pb2 as pb

DAY = datetime(2026, 3, 1, tzinfo=UTC)
HOURS = [DAY + n * timedelta(hours=1) for n in range(24)]
PARTITIONS = 2
# Of each hour and partition.
RECORDS = 3


class Stored:
    """A bucket of its own with a day of decisions."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        own = settings.s3.model_copy(update={"bucket": f"days-{time.time_ns()}"})
        self.settings = settings.model_copy(update={"s3": own})
        self.s3, self.bucket, self.folder = open_s3(own), own.bucket, folder
        ensure_bucket(self.s3, own)

    def fill(self, hours: Sequence[datetime] = HOURS) -> None:
        for hour in hours:
            for partition in range(PARTITIONS):
                self.put(hour, partition)

    def put(self, hour: datetime, partition: int, more: int = 0, log: str = "a", name: str = "") -> None:
        """Materialise an hour of a partition; an hour has RECORDS messages, and `more` that arrived late."""
        first, count = HOURS.index(hour) * RECORDS, RECORDS + more
        decided = [
            pb.Decision(event_id=f"{log}{partition}/{first + n}", image_id="i", sequence=n) for n in range(count)
        ]
        for each in decided:
            each.candidates.add(image_id="other", score=0.5)
        stamp = round(hour.timestamp() * 1_000)
        records = [LogRecord(partition, first + n, stamp, each.SerializeToString()) for n, each in enumerate(decided)]
        file = self.folder / "put.parquet"
        write_parquet(LOG, [records], file)
        key = object_key(LOG, hour, partition, name)
        put_object(self.s3, self.bucket, key, file, OffsetRange(partition, first, first + count, log=log))

    def compact(
        self, later: timedelta = timedelta(), hours: Sequence[datetime] = HOURS, **limits: float
    ) -> CompactedDay:
        now = datetime.now(UTC) + later
        return compact_day(LogSettings(**limits), self.s3, self.bucket, LOG, hours, now)

    def read(self, hour: datetime, columns: Sequence[str] = ()) -> list[dict[str, Any]] | None:
        """What a reader gets of an hour."""
        folder = self.folder / f"read-{time.time_ns()}"
        folder.mkdir()
        files = fetch_hour(self.s3, self.bucket, LOG, hour, folder, columns)
        return None if files is None else [row for file in files for row in pq.read_table(file).to_pylist()]

    def all(self) -> list[Any]:
        return [self.read(hour) for hour in HOURS]

    def keys(self, prefix: str) -> list[str]:
        return [item["Key"] for item in listed(self.s3, self.bucket, prefix)]


@pytest.fixture
def stored(servers: Settings, tmp_path: Path) -> Iterator[Stored]:
    made = Stored(servers, tmp_path)
    yield made
    made.s3.close()


GRACE = timedelta(hours=13)


def test_every_hour_reads_the_same_before_and_after_its_objects_are_deleted(stored: Stored) -> None:
    stored.fill()
    before = stored.all()
    done = stored.compact()
    assert (done.written, done.rows, done.parts, done.files) == (True, 24 * PARTITIONS * RECORDS, 24 * PARTITIONS, 1)
    assert done.deleted == 0
    assert len(stored.keys("logs/")) == 24 * PARTITIONS
    assert stored.all() == before
    later = stored.compact(GRACE)
    assert (later.written, later.deleted) == (False, 24 * PARTITIONS)
    assert stored.keys("logs/") == []
    assert stored.all() == before
    for hour in HOURS[1:]:
        assert find_breaks(stored.s3, stored.bucket, LOG, hour) == Breaks()
    (one, *_) = stored.read(HOURS[5], ["event_id", "kafka_offset"]) or ()
    assert one == {"event_id": "a0/15", "kafka_offset": 15}


def test_the_files_of_a_day_are_in_one_order_and_any_tool_reads_them(stored: Stored) -> None:
    stored.fill()
    stored.compact()
    (key,) = [key for key in stored.keys("logs-by-day/") if key.endswith(".parquet")]
    stored.s3.download_file(stored.bucket, key, str(stored.folder / "day"))
    table = pq.read_table(stored.folder / "day")
    assert table.schema.equals(LOG.schema)
    order = [(row["kafka_timestamp"], row["kafka_partition"], row["kafka_offset"]) for row in table.to_pylist()]
    assert order == sorted(order)


def test_an_hour_that_is_materialised_again_counts_at_once_and_the_day_is_compacted_again(stored: Stored) -> None:
    stored.fill()
    stored.compact()
    stored.compact(GRACE)
    first = set(stored.keys("logs-by-day/"))
    stored.put(HOURS[3], 1, more=2)
    found = stored.read(HOURS[3]) or []
    # The other partition is read from the day meanwhile.
    assert [row["event_id"] for row in found] == ["a0/9", "a0/10", "a0/11", *(f"a1/{n}" for n in range(9, 14))]
    again = stored.compact()
    assert (again.written, again.rows) == (True, 24 * PARTITIONS * RECORDS + 2)
    assert stored.read(HOURS[3]) == found
    assert first < set(stored.keys("logs-by-day/")), "files of the first are kept for readers of its manifest"
    later = stored.compact(2 * GRACE)
    assert later.deleted == 2, "the object of the hour, and the file of the first compaction"
    assert stored.read(HOURS[3]) == found
    assert stored_ranges(stored.s3, stored.bucket, LOG, HOURS[3])[1].next == 14


def test_an_hour_materialised_again_to_the_same_content_changes_nothing(stored: Stored) -> None:
    stored.fill()
    stored.compact()
    stored.put(HOURS[7], 0)
    assert not stored.compact().written


def test_an_object_that_changed_within_the_grace_time_is_never_deleted(stored: Stored) -> None:
    stored.fill()
    stored.compact()
    stored.put(HOURS[3], 1, more=2)
    deleted = s3_compaction._clean_up(stored.s3, stored.bucket, LOG, datetime.now(UTC) + timedelta(hours=1))
    assert deleted == 24 * PARTITIONS - 1
    assert stored.keys("logs/") == [object_key(LOG, HOURS[3], 1)]


def test_a_day_lacks_no_hour(stored: Stored) -> None:
    stored.fill(HOURS[:-1])
    with pytest.raises(NotFound, match="not materialised for 2026-03-01T23: materialise"):
        stored.compact()
    assert stored.compact(hours=HOURS[:-1]).written


def test_large_objects_stay_as_they_are(stored: Stored) -> None:
    stored.fill(HOURS[:2])
    done = stored.compact(hours=HOURS[:2], compact_below_mb=0.0001)
    assert (done.written, done.files) == (False, 0)
    assert stored.keys("logs-by-day/") == []


def test_two_logs_of_one_partition_stay_in_their_order(stored: Stored) -> None:
    stored.fill(HOURS[:2])
    stored.put(HOURS[1], 0, log="b", name="bbbbbbbb")
    before = stored.read(HOURS[1])
    stored.compact(hours=HOURS[:2])
    stored.compact(GRACE, HOURS[:2])
    assert stored.read(HOURS[1]) == sorted(before or (), key=lambda row: row["kafka_partition"])
    assert stored_ranges(stored.s3, stored.bucket, LOG, HOURS[1])[0].log == "b"


def test_an_hour_of_an_earlier_version_has_its_new_columns_null(stored: Stored) -> None:
    stored.fill(HOURS[:1])
    key = object_key(LOG, HOURS[0], 0)
    stored.s3.download_file(stored.bucket, key, str(stored.folder / "old"))
    old = duckdb.read_parquet(str(stored.folder / "old")).project(
        "* exclude (labels, candidates), "
        "[{'image_id': c.image_id, 'overlap': c.overlap, 'score': c.score, 'head': c.head} for c in candidates] "
        "as candidates"
    )
    old.write_parquet(str(stored.folder / "older"))
    put_object(stored.s3, stored.bucket, key, stored.folder / "older", OffsetRange(0, 0, RECORDS, log="a"))
    stored.compact(hours=HOURS[:1])
    stored.compact(GRACE, HOURS[:1])
    found = stored.read(HOURS[0]) or []
    assert [row["labels"] for row in found] == [None] * RECORDS + [[]] * RECORDS
    assert found[0]["candidates"] == [{"image_id": "other", "overlap": 0, "score": 0.5, "head": "", "kind": None}]


def test_columns_of_a_later_version_are_never_lost(stored: Stored) -> None:
    stored.fill(HOURS[:1])
    file = stored.folder / "later"
    pq.write_table(LOG.schema.empty_table().append_column("invented", pa.array([], pa.int8())), file)
    put_object(stored.s3, stored.bucket, object_key(LOG, HOURS[0], 0), file, OffsetRange(0, 0, 0, log="a"))
    with pytest.raises(BadArtefact, match="invented"):
        stored.compact(hours=HOURS[:1])


def test_files_that_do_not_hold_what_the_objects_do_are_not_used(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored.fill(HOURS[:2])
    whole = s3_compaction._row_groups
    monkeypatch.setattr(s3_compaction, "_row_groups", lambda tables: (t.slice(0, len(t) - 1) for t in whole(tables)))
    with pytest.raises(BadArtefact, match="it is not used"):
        stored.compact(hours=HOURS[:2])
    assert [key for key in stored.keys("logs-by-day/") if key.endswith("manifest.json")] == []


def test_an_hour_that_changes_while_its_day_is_compacted_is_not_lost(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored.fill(HOURS[:2])
    whole = s3_compaction._row_groups

    def interrupted(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
        yield from whole(tables)
        stored.put(HOURS[0], 0, more=1)

    monkeypatch.setattr(s3_compaction, "_row_groups", interrupted)
    with pytest.raises(ServerUnavailable, match="meanwhile"):
        stored.compact(hours=HOURS[:2])
    assert len(stored.read(HOURS[0]) or ()) == PARTITIONS * RECORDS + 1


def test_a_reader_whose_object_is_deleted_continues_with_the_day(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored.fill(HOURS[:2])
    before = stored.read(HOURS[1])
    stored.compact(hours=HOURS[:2])
    found = stored_parts(stored.s3, stored.bucket, LOG, HOURS[1])
    stored.compact(GRACE, HOURS[:2])
    answers = iter([found])
    real = s3_hours.stored_parts
    monkeypatch.setattr(s3_hours, "stored_parts", lambda *place: next(answers, None) or real(*place))
    assert stored.read(HOURS[1]) == before


@pytest.mark.parametrize("step", ["_put", "_sizes", "_clean_up", "_delete"])
def test_a_compaction_killed_at_any_step_leaves_what_counted_and_is_completed_by_the_next(
    stored: Stored, step: str
) -> None:
    """Killed at the first call of a function, as by the kernel; for `_put`, once at each of its calls."""
    stored.fill(HOURS[:2])
    before = [stored.read(hour) for hour in HOURS[:2]]
    for call in range(1, 4 if step == "_put" else 2):
        assert killed(stored, step, call) in (-signal.SIGKILL, 0)
        assert [stored.read(hour) for hour in HOURS[:2]] == before
    stored.compact(2 * GRACE, HOURS[:2])
    stored.compact(4 * GRACE, HOURS[:2])
    assert [stored.read(hour) for hour in HOURS[:2]] == before
    assert stored.keys("logs/") == []
    assert len(stored.keys("logs-by-day/")) == 2, "one file and its manifest"


def killed(stored: Stored, step: str, call: int) -> int:
    """Compact in a process that kills itself before the given call of a function; returns how it ended."""
    program = f"""
import os, signal, sys
from datetime import datetime, timedelta, UTC
from neardup_platform.s3_client import open_s3
from neardup_platform.settings import LogSettings, Settings
from neardup_platform.topic_logs import s3_compaction
from neardup_platform.topic_logs.topic_log import DECISIONS
calls, real = [], s3_compaction.{step}
def dying(*arguments):
    calls.append(1)
    if len(calls) == {call}:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments)
s3_compaction.{step} = dying
settings = Settings()
hours = [datetime(2026, 3, 1, n, tzinfo=UTC) for n in range(2)]
s3 = open_s3(settings.s3)
for later in (0, 13):
    now = datetime.now(UTC) + timedelta(hours=later)
    s3_compaction.compact_day(LogSettings(), s3, settings.s3.bucket, DECISIONS, hours, now)
"""
    s3 = stored.settings.s3
    assert s3.secret_key is not None
    assert s3.access_key is not None
    environment = {
        **os.environ,
        "NEARDUP_S3_ENDPOINT": str(s3.endpoint),
        "NEARDUP_S3_BUCKET": s3.bucket,
        "NEARDUP_S3_ACCESS_KEY": s3.access_key.get_secret_value(),
        "NEARDUP_S3_SECRET_KEY": s3.secret_key.get_secret_value(),
    }
    return subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode


def test_a_manifest_that_cannot_be_read_is_an_error_and_never_an_empty_hour(stored: Stored) -> None:
    stored.fill(HOURS[:1])
    stored.compact(hours=HOURS[:1])
    stored.compact(GRACE, HOURS[:1])
    (key,) = [key for key in stored.keys("logs-by-day/") if key.endswith("manifest.json")]
    whole = json.loads(stored.s3.get_object(Bucket=stored.bucket, Key=key)["Body"].read())
    for damaged in (b"{", json.dumps({**whole, "format": 2}).encode(), json.dumps({"format": 1}).encode()):
        stored.s3.put_object(Bucket=stored.bucket, Key=key, Body=damaged)
        with pytest.raises(BadArtefact):
            stored.read(HOURS[0])


def test_a_file_ends_after_the_object_with_which_it_is_large_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_compaction, "FILE_BYTES", 100)
    parts = [StoredPart(str(n), OffsetRange(0, 0, 1)) for n in range(5)]
    again = [StoredPart(f"x{n}", OffsetRange(0, 0, 1), rows=Rows("file", n, 1)) for n in range(3)]
    sizes = {"0": 60, "1": 60, "2": 99, "3": 1, "4": 7, "file": 90}
    grouped = [[part.key for part in group] for group in divided([*parts, *again], sizes)]
    assert grouped == [["0", "1"], ["2", "3"], ["4", "x0", "x1", "x2"]]


def test_hours_without_messages_keep_their_offsets(stored: Stored) -> None:
    for hour in HOURS[:3]:
        stored.put(hour, 0, more=-RECORDS)
    stored.put(HOURS[2], 1)
    before = [stored.read(hour) for hour in HOURS[:3]]
    stored.compact(hours=HOURS[:3])
    stored.compact(GRACE, HOURS[:3])
    assert stored.keys("logs/") == []
    assert [stored.read(hour) for hour in HOURS[:3]] == before == [[], [], before[2]]
    assert stored_ranges(stored.s3, stored.bucket, LOG, HOURS[1])[0] == OffsetRange(0, 3, 3, log="a")
    assert find_breaks(stored.s3, stored.bucket, LOG, HOURS[1]).within == ()


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.name)
def test_rows_of_every_log_are_told_apart_and_found_again(log: TopicLog, tmp_path: Path) -> None:
    messages = [log.message(**{log.identity: str(n)}) for n in range(4)]
    for n, message in enumerate(messages):
        for field in message.DESCRIPTOR.fields:
            if is_map(field):
                key = "left" if n % 2 else "right"
                getattr(message, field.name)[key] = "x" if field.message_type.fields[1].cpp_type == 9 else n
    records = [LogRecord(0, n, 5, message.SerializeToString()) for n, message in enumerate(messages)]
    write_parquet(log, [records], tmp_path / "all")
    parts = []
    for part in (records[:1], records[1:1], records[1:]):
        write_parquet(log, [part], tmp_path / "part")
        parts += rows_seen(log, tmp_path / "part")
    assert rows_seen(log, tmp_path / "all", [(0, 1), (1, 0), (1, 3)]) == parts
    assert [each.rows for each in parts] == [1, 0, 3]
    assert rows_seen(log, tmp_path / "all") != rows_seen(log, tmp_path / "part")
    changed = [*records[:3], records[3]._replace(value=messages[2].SerializeToString())]
    write_parquet(log, [changed], tmp_path / "changed")
    assert rows_seen(log, tmp_path / "changed") != rows_seen(log, tmp_path / "all")
