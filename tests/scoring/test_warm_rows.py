"""Rows that are brought into memory at a start."""

import ctypes
import logging
import mmap
import os
from contextlib import closing
from pathlib import Path

import numpy as np
import psutil
import pytest

from neardup_platform.scoring.warm_rows import WarmRows
from tests.scoring.test_vectors import filled, writer

SIZE = 12 << 20


def resident(path: Path) -> float:
    """Share of a file's pages that are in memory."""
    size = path.stat().st_size
    with path.open("rb") as file, closing(mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ)) as mapped:
        content = np.frombuffer(mapped, np.uint8)
        pages = np.zeros(-(-size // mmap.PAGESIZE), np.uint8)
        libc = ctypes.CDLL(None, use_errno=True)
        pointers = (ctypes.c_void_p(content.ctypes.data), ctypes.c_size_t(size), ctypes.c_void_p(pages.ctypes.data))
        assert libc.mincore(*pointers) == 0, os.strerror(ctypes.get_errno())
        del content
    return float((pages & 1).mean())


@pytest.fixture
def cold(tmp_path: Path) -> Path:
    """A file of which nothing is in memory."""
    path = tmp_path / "rows"
    path.write_bytes(os.urandom(SIZE))
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if resident(path):
        pytest.skip("this file system keeps all files in memory")
    return path


def test_a_file_is_in_memory_afterwards(cold: Path) -> None:
    WarmRows(cold, SIZE).wait()
    assert resident(cold) == 1


def test_what_is_larger_than_the_free_memory_stays_on_disk(cold: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        WarmRows(cold, psutil.virtual_memory().total).wait()
    assert resident(cold) == 0
    assert f"{cold} stays on disk" in caplog.text


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
