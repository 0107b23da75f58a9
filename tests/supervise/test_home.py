"""The home: one owner, private files that are replaced atomically, remembered ports."""

import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from neardup_platform.errors import HomeInUse, SetupError
from neardup_platform.files import create_file, read_json, write_json
from neardup_platform.servers.ports import check_available, choose, is_free
from neardup_platform.supervise import home as home_module
from neardup_platform.supervise.home import mark_of, owned, prepare_home


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    prepare_home(folder)
    return folder


def test_a_second_owner_gets_an_error_that_names_the_first_and_what_to_do(home: Path) -> None:
    in_use = pytest.raises(HomeInUse, match=rf"in use by process {os.getpid()}: .*neardup down.*NEARDUP_HOME")
    with owned(home), in_use as error, owned(home):
        pass
    assert "\n" not in str(error.value)


def test_a_home_whose_owner_was_killed_can_be_owned_again(home: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from neardup_platform.supervise.home import owned\n"
        "with owned(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(home)], check=False).returncode == -9
    with owned(home):
        pass


def test_a_full_disk_is_refused_with_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home_module, "disk_shortage", lambda home: f"the disk of {home} is full")
    with pytest.raises(SetupError, match="full: free some space, or set NEARDUP_HOME"):
        prepare_home(tmp_path)


def test_a_shortage_names_what_is_free_and_what_is_needed(tmp_path: Path) -> None:
    assert home_module.disk_shortage(tmp_path, min_free_bytes=1) is None
    assert "MB needed" in str(home_module.disk_shortage(tmp_path, min_free_bytes=1 << 62))


def test_a_home_that_cannot_be_created_is_a_setup_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="set NEARDUP_HOME"):
        prepare_home(tmp_path / "file" / "home")


def test_the_mark_is_generated_once_and_differs_between_homes(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    prepare_home(other)
    assert mark_of(home) == mark_of(home) != mark_of(other)


def test_a_private_file_is_not_overwritten(home: Path) -> None:
    create_file(home / "secret", "first")
    with pytest.raises(FileExistsError):
        create_file(home / "secret", "second")
    assert (home / "secret").read_text() == "first"
    assert stat.S_IMODE((home / "secret").stat().st_mode) == 0o600
    assert [path.name for path in home.glob(".secret*")] == []


@pytest.mark.parametrize("damage", ["", "{", "[1]", '"text"'])
def test_a_damaged_state_file_reads_as_empty(home: Path, damage: str) -> None:
    (home / "state.json").write_text(damage)
    assert read_json(home / "state.json") == {}
    write_json(home / "state.json", {"a": 1})
    assert read_json(home / "state.json") == {"a": 1}


def test_ports_are_remembered(home: Path) -> None:
    first = choose(home, ["one", "two"])
    assert choose(home, ["one", "two"]) == first
    assert len(set(first.values())) == 2


def test_a_remembered_port_taken_by_another_process_is_replaced(home: Path) -> None:
    first = choose(home, ["one", "two"])
    with socket.create_server(("127.0.0.1", first["one"])):
        second = choose(home, ["one", "two"])
    assert second["one"] != first["one"]
    assert second["two"] == first["two"]


def test_a_port_whose_twin_is_taken_is_replaced(home: Path) -> None:
    first = choose(home, ["one"], twin_offset=10_000)
    with socket.create_server(("127.0.0.1", first["one"] + 10_000)):
        assert choose(home, ["one"], twin_offset=10_000) != first


def test_two_names_never_share_a_port(home: Path) -> None:
    port = choose(home, ["one"])["one"]
    (home / "run" / "ports.json").write_text(json.dumps({"one": port, "two": port}))
    chosen = choose(home, ["one", "two"])
    assert chosen["one"] != chosen["two"]


def test_a_configured_port_that_is_taken_is_an_error_that_names_the_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert not is_free(port)
        with pytest.raises(SetupError, match=rf"api\.port = {port} is taken.*NEARDUP_API_PORT=0"):
            check_available("api.port", port)
