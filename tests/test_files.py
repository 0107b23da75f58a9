"""Atomic and durable files: readers see the old or the new content, and a failed write leaves no trace."""

import os
import stat
from pathlib import Path

import pytest

from neardup_platform.files import create_file, read_sealed, replace_file, staged_file, write_sealed


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_replaced_and_nothing_else_stays(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "state"
    for content in ("old", b"new"):
        replace_file(path, content, durable=durable)
    assert (path.read_text(), files(tmp_path)) == ("new", ["state"])


def test_a_private_file_is_private_and_another_follows_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        replace_file(tmp_path / "secret", "1", private=True)
        replace_file(tmp_path / "shared", "1")
    finally:
        os.umask(old)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("secret", "shared")]
    assert modes == [0o600, 0o644]


def test_a_failed_replacement_keeps_the_old_file_and_leaves_no_trace(tmp_path: Path) -> None:
    # A folder cannot be replaced by a file.
    (tmp_path / "state").mkdir()
    with pytest.raises(OSError, match="directory"):
        replace_file(tmp_path / "state", "new")
    assert files(tmp_path) == ["state"]


def test_the_rest_of_a_killed_writer_is_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", lambda *_, **__: None)
        patched.setattr(Path, "replace", lambda *_: None)
        replace_file(path, "half", durable=False)
    assert len(files(tmp_path)) == 1
    replace_file(path, "new", private=True)
    assert (path.read_text(), files(tmp_path)) == ("new", ["state"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_is_created_once(tmp_path: Path) -> None:
    create_file(tmp_path / "mark", "first")
    with pytest.raises(FileExistsError):
        create_file(tmp_path / "mark", "second")
    assert ((tmp_path / "mark").read_text(), files(tmp_path)) == ("first", ["mark"])


def test_a_staged_file_keeps_its_suffix_and_appears_only_when_complete(tmp_path: Path) -> None:
    path = tmp_path / "vectors.npz"
    with staged_file(path) as staged:
        staged.write_text("complete")
        assert (staged.suffix, path.exists()) == (".npz", False)
    assert (path.read_text(), files(tmp_path)) == ("complete", ["vectors.npz"])
    with pytest.raises(ValueError, match="failed"):
        write_half(path)
    assert (path.read_text(), files(tmp_path)) == ("complete", ["vectors.npz"])


def write_half(path: Path) -> None:
    with staged_file(path) as staged:
        staged.write_text("half")
        raise ValueError("failed")


@pytest.mark.parametrize("damage", ["", "{", '{"crc": 1, "content": "{}"}', '{"content": "{}"}', "[]"])
def test_a_damaged_sealed_file_is_an_error(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "manifest.json"
    write_sealed(path, {"a": 1})
    assert read_sealed(path) == {"a": 1}
    path.write_text(damage)
    with pytest.raises(ValueError, match=r".+"):
        read_sealed(path)
