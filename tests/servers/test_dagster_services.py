"""Dagster's services: a code server for each location, on Unix sockets, shared by webserver and daemon."""

import signal
import stat
from pathlib import Path

import pytest
import yaml

from neardup_platform.servers.dagster_services import dagster_services, stop_order
from neardup_platform.settings import DagsterSettings, KafkaSettings, Settings
from neardup_platform.supervise.home import prepare_home
from neardup_platform.supervise.process import spawn, stop_group
from neardup_platform.supervise.service import Service


def services(home: Path, folder: Path, dagster_home: Path | None = None) -> list[Service]:
    (folder / "defs.py").write_text("import dagster\ndefs = dagster.Definitions()\n")
    (folder / "more.py").write_text("import dagster\ndefs = dagster.Definitions()\n")
    (folder / "workspace.yaml").write_text("load_from: [{python_file: defs.py}, {python_file: more.py}]\n")
    prepare_home(home)
    settings = Settings(
        home=home,
        kafka=KafkaSettings(bootstrap="broker:9092"),
        dagster=DagsterSettings(port=12_001, home=dagster_home),
    )
    return dagster_services(settings, folder / "workspace.yaml", lambda: None)


def test_every_location_has_a_code_server_that_others_cannot_reach(tmp_path: Path) -> None:
    home = tmp_path / "home"
    first, second, webserver, daemon = found = services(home, tmp_path)
    assert [service.name for service in found] == [
        "dagster-code",
        "dagster-code-2-more-py",
        "dagster-webserver",
        "dagster-daemon",
    ]
    sockets = [Path(service.argv[service.argv.index("--socket") + 1]) for service in (first, second)]
    assert {stat.S_IMODE(socket.parent.stat().st_mode) for socket in sockets} == {0o700}
    assert not any("-p" in service.argv or service.ports for service in (first, second, daemon))
    assert first.env["NEARDUP_KAFKA_BOOTSTRAP"] == "broker:9092"
    assert {"dagster-code", "dagster-code-2-more-py", "dagster-webserver"} <= set(daemon.after)
    assert webserver.url == "http://127.0.0.1:12001"
    assert stop_order(found) == ("dagster-daemon", "worker", "dagster-code", "dagster-code-2-more-py")

    first.prepare()
    shared = yaml.safe_load((home / "run" / "dagster-workspace.yaml").read_text())["load_from"]
    assert [entry["grpc_server"]["socket"] for entry in shared] == [str(socket) for socket in sockets]
    assert (home / "dagster" / "dagster.yaml").exists()


def test_a_home_whose_path_is_too_long_for_a_socket_gets_a_private_folder(tmp_path: Path) -> None:
    first, *_ = services(tmp_path / ("long" * 20), tmp_path)
    socket = Path(first.argv[first.argv.index("--socket") + 1])
    assert len(bytes(socket)) <= 100
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    first.on_stopped()
    assert not socket.parent.exists()


def test_an_operators_own_dagster_home_is_used(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    first, *_ = services(tmp_path / "home", tmp_path, theirs)
    assert first.env["DAGSTER_HOME"] == str(theirs)


@pytest.mark.slow
def test_the_code_server_serves_on_its_socket_and_stops(tmp_path: Path) -> None:
    code, *_ = services(tmp_path / "home", tmp_path)
    code.prepare()
    child = spawn(code.argv, code.env, tmp_path / "log")
    try:
        while code.probe() is not None:
            assert child.poll() is None, (tmp_path / "log").read_text()
    finally:
        stop_group(child, code.stop_timeout_s)
    assert child.returncode != -signal.SIGKILL
