"""Dagster's services: the user's workspace file becomes one shared code server."""

import signal
from pathlib import Path

import pytest
import yaml

from neardup_platform.embedded.dagster_services import CODE_PORT, code_location, dagster_services
from neardup_platform.embedded.endpoints import DAGSTER_PORT
from neardup_platform.embedded.process import spawn, stop_group
from neardup_platform.errors import SetupError
from neardup_platform.settings import KafkaSettings, Settings

PORTS = {DAGSTER_PORT: 12_001, CODE_PORT: 12_002}


def workspace(folder: Path, text: str) -> Path:
    file = folder / "workspace.yaml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("entry", "name", "arguments"),
    [
        ("python_module: jobs.definitions", "neardup", ["--module-name", "jobs.definitions"]),
        (
            "python_module: {module_name: jobs, location_name: mine, attribute: defs}",
            "mine",
            ["--module-name", "jobs"],
        ),
        ("python_package: {package_name: jobs}", "neardup", ["--package-name", "jobs"]),
    ],
)
def test_a_python_code_location_is_served(tmp_path: Path, entry: str, name: str, arguments: list[str]) -> None:
    found, served = code_location(workspace(tmp_path, f"load_from:\n  - {entry}\n"))
    assert found == name
    assert served[:2] == arguments
    assert served[2:4] == ["--working-directory", str(tmp_path)]
    assert served[-2:] == ["--location-name", name]
    assert ("--attribute" in served) == ("attribute" in entry)


def test_a_python_file_is_taken_relative_to_the_workspace(tmp_path: Path) -> None:
    _, served = code_location(workspace(tmp_path, "load_from:\n  - python_file: {relative_path: a/defs.py}\n"))
    assert served[:2] == ["--python-file", str(tmp_path / "a/defs.py")]


@pytest.mark.parametrize("text", ["", "load_from: []", "load_from: [{grpc_server: {port: 1}}]"])
def test_a_workspace_without_python_code_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SetupError, match="lists no python_file"):
        code_location(workspace(tmp_path, text))


def test_a_missing_workspace_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="is missing"):
        code_location(tmp_path / "workspace.yaml")


@pytest.mark.slow
def test_the_code_server_serves_and_stops(tmp_path: Path) -> None:
    (tmp_path / "defs.py").write_text("import dagster\ndefs = dagster.Definitions()\n")
    file = workspace(tmp_path, "load_from:\n  - python_file: defs.py\n")
    settings = Settings(home=tmp_path / "home", kafka=KafkaSettings(bootstrap="broker:9092"))
    code, webserver, daemon = dagster_services(settings, PORTS, file, lambda: None)
    code.prepare()
    assert yaml.safe_load((tmp_path / "home/dagster/dagster.yaml").read_text())["telemetry"] == {"enabled": False}
    assert code.env["NEARDUP_KAFKA_BOOTSTRAP"] == "broker:9092"
    assert "dagster-webserver" in daemon.after
    assert webserver.url == "http://127.0.0.1:12001"
    child = spawn(code.argv, code.env, tmp_path / "log")
    try:
        while code.probe() is not None:
            assert child.poll() is None, (tmp_path / "log").read_text()
    finally:
        stop_group(child, code.stop_timeout_s)
    assert child.returncode != -signal.SIGKILL
