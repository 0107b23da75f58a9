"""Parts of a file are given back to the disk."""

import errno
from pathlib import Path

import pytest

from neardup_platform.punched_files import can_punch_holes, punch_hole

PAGE = 4_096


def test_a_hole_takes_no_disk_and_reads_as_zeros(tmp_path: Path) -> None:
    assert can_punch_holes(tmp_path)
    path = tmp_path / "rows"
    path.write_bytes(b"x" * 16 * PAGE)
    with path.open("r+b") as file:
        assert punch_hole(file.fileno(), PAGE + 7, 8 * PAGE)
        assert punch_hole(file.fileno(), 0, 0)
    content = path.read_bytes()
    assert content == b"x" * (PAGE + 7) + bytes(8 * PAGE) + b"x" * (7 * PAGE - 7)
    assert path.stat().st_blocks * 512 < 12 * PAGE


def test_a_file_that_is_not_open_for_writing_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_bytes(b"x")
    with path.open("rb") as file, pytest.raises(OSError, match="Bad file descriptor") as raised:
        punch_hole(file.fileno(), 0, 1)
    assert raised.value.errno == errno.EBADF
