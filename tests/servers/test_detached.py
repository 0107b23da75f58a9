"""The platform in the background: a failed start is reported, and stopping is always safe."""

import socket
from pathlib import Path

import pytest

from neardup_platform.errors import HomeInUse, SetupError
from neardup_platform.servers import detached
from neardup_platform.settings import ApiSettings, Settings
from neardup_platform.supervise.home import mark_of, owned, prepare_home
from neardup_platform.supervise.process import marked


def test_a_home_in_use_is_reported_by_the_starting_process(tmp_path: Path) -> None:
    prepare_home(tmp_path)
    with owned(tmp_path), pytest.raises(HomeInUse, match="neardup down"):
        detached.start_detached(Settings(home=tmp_path))


def test_a_failed_start_leaves_no_process_and_gives_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(SetupError, match="Java is missing"):
        detached.start_detached(Settings(home=tmp_path))
    assert marked(mark_of(tmp_path)) == []
    with owned(tmp_path):
        pass


def test_a_taken_port_that_was_requested_is_reported(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Settings(home=tmp_path, api=ApiSettings(port=taken.getsockname()[1]))
        with pytest.raises(SetupError, match="NEARDUP_API_PORT=0"):
            detached.start_detached(settings)


def test_stopping_a_stopped_platform_does_nothing(tmp_path: Path) -> None:
    assert detached.stop(Settings(home=tmp_path / "never")) is False
    assert not (tmp_path / "never").exists()


def test_the_status_of_a_home_where_nothing_runs(tmp_path: Path) -> None:
    assert detached.platform_status(Settings(home=tmp_path / "never")) == {
        "ready": False,
        "supervisor": {"alive": False, "pid": None},
        "services": {},
        "urls": {"dagster": "", "api": "", "explorer": ""},
    }
