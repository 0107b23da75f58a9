from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.kafka.record_block import LogRecord
from neardup_platform.kafka.window import OffsetRange
from neardup_platform.topic_logs import parquet_log
from neardup_platform.topic_logs.offset_continuity import content_breaks, seam_breaks
from neardup_platform.topic_logs.parquet_log import ROW_GROUP_ROWS, row_groups, write_parquet
from neardup_platform.topic_logs.parquet_offsets import Offsets, offset_gaps, offset_span, read_offsets
from neardup_platform.topic_logs.topic_log import DECISIONS as LOG
from neardup_platform.wire.codec import encode_decision
from tests.decisions_log.test_kafka_materialise import decision


def written(offsets: list[int], file: Path) -> Offsets:
    """The offsets of a file of records, as they are read from it."""
    write_parquet(LOG, [[LogRecord(0, offset, 5, b"") for offset in offsets]], file)
    return read_offsets(file)


def test_gaps_and_repeats_are_located(tmp_path: Path) -> None:
    assert offset_gaps(written([5, 6, 9, 10, 12], tmp_path / "gaps")) == [(7, 9), (11, 12)]
    assert offset_gaps(written([5, 6, 6, 7], tmp_path / "repeats")) == [(7, 6)]
    assert offset_gaps(written([9, 5, 6], tmp_path / "disorder")) == [(7, 9)]
    assert offset_gaps(written([], tmp_path / "empty")) == []
    assert offset_span(written([], tmp_path / "empty")) is None
    assert offset_span(written([5, 9], tmp_path / "span")) == (5, 9)


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 100))
def test_a_seam_is_intact_exactly_when_the_hours_touch(first: int, end: int, begin: int) -> None:
    before, now = OffsetRange(0, min(first, end), end), OffsetRange(0, begin, begin + 5)
    assert (seam_breaks({0: before}, {0: now}, "early", "late") == []) == (begin == end)


def test_a_partition_is_compared_only_with_itself() -> None:
    before = {0: OffsetRange(0, 0, 10), 1: OffsetRange(1, 0, 20)}
    now = {0: OffsetRange(0, 10, 30), 1: OffsetRange(1, 20, 20), 2: OffsetRange(2, 0, 3)}
    assert seam_breaks(before, now, "early", "late") == []
    assert seam_breaks({}, now, "early", "late") == []
    assert "partition 1 has no object" in seam_breaks(before, {0: now[0]}, "early", "late")[0]


def test_an_object_must_contain_the_offsets_in_its_metadata() -> None:
    offsets = OffsetRange(3, 10, 20)
    assert content_breaks(offsets, (10, 19), [], 0, "h") == []
    assert content_breaks(OffsetRange(3, 10, 10), None, [], 0, "h") == []
    assert content_breaks(offsets, (10, 18), [], 0, "h")
    assert content_breaks(offsets, None, [], 0, "h")
    many = content_breaks(offsets, (10, 19), [(n, n + 1) for n in range(11, 19)], 0, "h")
    assert many[-1].endswith("and 3 more gaps")
    assert all("materialise h again" in line for line in many[:-1])


@given(st.sets(st.integers(10, 19)), st.sets(st.integers(10, 19)))
def test_offsets_of_transactions_are_not_missed_and_others_are(empty: set[int], lost: set[int]) -> None:
    """Whatever an object lacks beyond the offsets that hold no message is reported, wherever it is."""
    kept = np.array(sorted(set(range(10, 20)) - empty - lost), np.int64)
    found = content_breaks(OffsetRange(3, 10, 20), offset_span(kept), offset_gaps(kept), len(empty), "h")
    assert bool(found) == bool(lost - empty)


def test_an_offset_twice_or_of_another_hour_is_reported_whatever_else_is_missing() -> None:
    offsets = OffsetRange(3, 10, 20)
    assert content_breaks(offsets, (10, 19), [(15, 14)], 0, "h")
    assert content_breaks(offsets, (9, 18), [], 0, "h")
    assert content_breaks(offsets, (11, 20), [], 0, "h")


def test_row_groups_are_bounded_and_every_row_is_written(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    values = encode_decision(decision(1))
    count = 2 * ROW_GROUP_ROWS + 7
    records = [LogRecord(0, offset, 5, values) for offset in range(count)]
    write_parquet(LOG, (records[n : n + 3_000] for n in range(0, count, 3_000)), tmp_path / "file")
    written = pq.ParquetFile(tmp_path / "file")
    assert written.metadata.num_rows == count
    assert written.schema_arrow.equals(LOG.schema)
    largest = max(written.metadata.row_group(n).num_rows for n in range(written.metadata.num_row_groups))
    assert largest == ROW_GROUP_ROWS


@given(st.lists(st.integers(0, 40), max_size=12), st.data())
def test_the_same_records_give_the_same_row_groups_however_they_are_divided(
    sizes: list[int], data: st.DataObject
) -> None:
    records = [LogRecord(0, n, 5, bytes([n]) * size) for n, size in enumerate(sizes)]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(records)), max_size=4)))
    batches = [records[begin:end] for begin, end in pairwise([0, *cuts, len(records)])]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(parquet_log, "ROW_GROUP_ROWS", 3)
        patched.setattr(parquet_log, "ROW_GROUP_BYTES", 60)
        at_once = [list(map(group.value, range(len(group)))) for group in row_groups([records])]
        divided = [list(map(group.value, range(len(group)))) for group in row_groups(batches)]
    assert divided == at_once
    assert [value for group in at_once for value in group] == [record.value for record in records]
    assert all(len(group) <= 3 and (sum(map(len, group)) <= 60 or len(group) == 1) for group in at_once)


def test_what_is_not_a_decision_becomes_a_row_of_nulls_in_its_place() -> None:
    (row,) = LOG.table([LogRecord(2, 8, 1_000, b"\xff\xff")]).to_pylist()
    assert row["event_id"] is None
    assert (row["kafka_partition"], row["kafka_offset"]) == (2, 8)
