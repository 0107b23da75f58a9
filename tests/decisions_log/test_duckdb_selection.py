"""Claims about queries of operators over a decisions log: they read its rows, and nothing else."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from neardup_platform.decisions_log.duckdb_selection import check_query, selected_ids
from neardup_platform.errors import BadCommand
from neardup_platform.kafka.record_block import LogRecord
from neardup_platform.topic_logs.topic_log import DECISIONS as LOG
from neardup_platform.wire import neardup_pb2 as pb


@pytest.fixture
def log(tmp_path: Path) -> list[Path]:
    """Two files; the second one was written before decisions had kinds."""
    decisions = [
        pb.Decision(event_id=f"{n}", sequence=n, image_id=f"i{n % 5}", head="i0", score=n / 10, kind="same")
        for n in range(10)
    ]
    table = LOG.table([LogRecord(0, n, 1_000, each.SerializeToString()) for n, each in enumerate(decisions)])
    files = [tmp_path / "new.parquet", tmp_path / "old.parquet"]
    pq.write_table(table.slice(0, 6), files[0])
    pq.write_table(table.slice(6).drop_columns(["kind"]), files[1])
    return files


def chosen(log: list[Path], query: str, most: int = 100, seconds: float = 30.0) -> list[str]:
    return selected_ids(log, check_query(query), most, seconds)


def test_ids_come_once_in_the_order_of_the_query(log: list[Path]) -> None:
    assert chosen(log, "select image_id, score from decisions order by score desc") == ["i4", "i3", "i2", "i1", "i0"]
    assert chosen(log, "with old as (from decisions where kind is null) select image_id from old;") == [
        "i1",
        "i2",
        "i3",
        "i4",
    ]
    assert chosen(log, "select null as image_id from decisions") == []


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("delete from decisions", "(DELETE), one `select` is expected"),
        ("copy decisions to '/tmp/out.csv'", "(COPY)"),
        ("select 1; drop table decisions", "has 2 statements"),
        ("attach '/tmp/other.db'", "(ATTACH)"),
        ("set enable_external_access = true", "(SET)"),
        ("", "has 0 statements"),
        ("selec image_id", "cannot be read"),
        ("select image_id from decisions" + " " * 20_000, "20030 bytes, at most 20000"),
        ("select head from decisions", "one named image_id is expected"),
        ("select image_id from nothing", "nothing"),
        ("select image_id from read_csv('/etc/passwd')", "the query fails"),
        ("select content as image_id from read_text('/etc/hostname')", "the query fails"),
        ("select image_id from 's3://bucket/file.parquet'", "the query fails"),
    ],
)
def test_what_does_more_than_read_the_log_is_refused(log: list[Path], query: str, says: str) -> None:
    with pytest.raises(BadCommand, match="query") as refused:
        chosen(log, query)
    assert says in str(refused.value)


def test_files_beside_the_log_and_damaged_ones_are_not_read(
    log: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "other.parquet"
    elsewhere.write_bytes(log[0].read_bytes())
    with pytest.raises(BadCommand, match="the query fails"):
        chosen(log, "select image_id from '{}'".format(elsewhere))  # noqa: S608, UP032 -- our own path
    log[1].write_bytes(b"no Parquet")
    with pytest.raises(BadCommand, match="the query fails"):
        chosen(log, "select image_id from decisions")


def test_the_number_of_ids_and_the_work_are_bounded(log: list[Path]) -> None:
    with pytest.raises(BadCommand, match="more than 3 rows"):
        chosen(log, "select image_id from decisions", most=3)
    endless = "select max(a.range + b.range) || '' as image_id from range(10000000) a, range(10000000) b"
    with pytest.raises(BadCommand, match="took more than"):
        chosen(log, endless, seconds=0.2)
