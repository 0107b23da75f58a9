"""Rows that are brought into memory at a start."""

import logging
import os
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from neardup_platform.scoring.warm_rows import WarmRows, read_into_memory
from tests.scoring.test_vectors import filled, writer

SIZE = 12 << 20


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows"
    path.write_bytes(os.urandom(SIZE))
    return path


def bytes_read() -> int:
    """What this process has read of files so far, from the disk or from memory."""
    return int(psutil.Process().io_counters().read_chars)


def test_a_file_is_read_whole_and_once(rows: Path) -> None:
    before = bytes_read()
    WarmRows(rows, SIZE).wait()
    assert SIZE <= bytes_read() - before < 2 * SIZE


def test_a_part_is_read_until_it_is_stopped(rows: Path) -> None:
    before = bytes_read()
    read_into_memory(rows, 2 << 20, 5 << 20, lambda: False)
    part = bytes_read() - before
    assert 3 << 20 <= part < 5 << 20
    read_into_memory(rows, 0, SIZE, lambda: True)
    assert bytes_read() - before - part < 1 << 20


def test_what_is_larger_than_the_free_memory_stays_on_disk(rows: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = bytes_read()
    with caplog.at_level(logging.INFO):
        WarmRows(rows, psutil.virtual_memory().total).wait()
    assert bytes_read() - before < SIZE
    assert f"{rows} stays on disk" in caplog.text


def test_a_file_that_is_missing_or_short_ends_the_reading(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    WarmRows(tmp_path / "missing", 1).wait()
    assert "is read when it is needed" in caplog.text
    (tmp_path / "short").write_bytes(b"12")
    WarmRows(tmp_path / "short", SIZE).wait()
    WarmRows(tmp_path / "short", SIZE).stop()


def test_a_table_warms_its_rows_and_can_be_closed_meanwhile(tmp_path: Path) -> None:
    filled(tmp_path, 2_000)
    for _ in range(3):
        with closing(writer(tmp_path, 2_000)) as table:
            table.warm()
            assert len(table) == 2_000
