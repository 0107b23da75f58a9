"""`workspace.yaml` and `dagster.yaml`: every location is served, and no file of an operator is overwritten."""

import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.instance.config import PoolGranularity

from neardup_platform.errors import SetupError
from neardup_platform.servers.dagster_workspace import code_locations, prepare_dagster_home, write_workspace


def workspace(folder: Path, text: str) -> Path:
    file = folder / "workspace.yaml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("entry", "name", "arguments"),
    [
        ("python_module: jobs.definitions", "jobs.definitions", ["--module-name", "jobs.definitions"]),
        (
            "python_module: {module_name: jobs, location_name: mine, attribute: defs}",
            "mine",
            ["--module-name", "jobs"],
        ),
        ("python_package: {package_name: jobs}", "jobs", ["--package-name", "jobs"]),
        ("autoload_defs_module: jobs", "jobs", ["--autoload-defs-module-name", "jobs"]),
    ],
)
def test_a_python_code_location_is_served(tmp_path: Path, entry: str, name: str, arguments: list[str]) -> None:
    ([found], others) = code_locations(workspace(tmp_path, f"load_from:\n  - {entry}\n"))
    assert (found.name, found.python, others) == (name, sys.executable, [])
    assert found.arguments[:2] == tuple(arguments)
    assert found.arguments[2:4] == ("--working-directory", str(tmp_path))
    assert found.arguments[-2:] == ("--location-name", name)
    assert ("--attribute" in found.arguments) == ("attribute" in entry)


def test_a_python_file_is_relative_to_the_workspace(tmp_path: Path) -> None:
    ([found], _) = code_locations(
        workspace(tmp_path, "load_from:\n  - python_file: {relative_path: a/defs.py, executable_path: /venv/python}\n")
    )
    assert found.arguments[:2] == ("--python-file", str(tmp_path / "a/defs.py"))
    assert (found.name, found.python) == ("defs.py", "/venv/python")


def test_every_location_is_served_and_external_code_servers_are_passed_through(tmp_path: Path) -> None:
    server = {"grpc_server": {"host": "elsewhere", "port": 4266, "location_name": "theirs"}}
    entries = [{"python_file": "one.py"}, {"python_file": "two.py"}, server]
    locations, others = code_locations(workspace(tmp_path, yaml.safe_dump({"load_from": entries})))
    assert [location.name for location in locations] == ["one.py", "two.py"]
    shared = tmp_path / "shared.yaml"
    write_workspace(shared, {"one.py": Path("/run/1.sock"), "two.py": Path("/run/2.sock")}, others)
    assert yaml.safe_load(shared.read_text())["load_from"] == [
        {"grpc_server": {"socket": "/run/1.sock", "location_name": "one.py"}},
        {"grpc_server": {"socket": "/run/2.sock", "location_name": "two.py"}},
        server,
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no Python code"),
        ("load_from: []", "lists no Python code"),
        ("load_from: [{grpc_server: {port: 1}}]", "lists no Python code"),
        ("load_from: [{python_fiel: a.py}]", "python_fiel under load_from is not supported"),
        ("load_from: [{python_module: {attribute: a}}]", "needs module_name"),
        ("load_from: [{python_file: a/x.py}, {python_file: b/x.py}]", "two locations named 'x.py'"),
    ],
)
def test_a_workspace_that_cannot_be_served_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SetupError, match=message):
        code_locations(workspace(tmp_path, text))


def test_a_missing_workspace_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="is missing"):
        code_locations(tmp_path / "workspace.yaml")


def test_the_instance_file_is_created_once_and_an_operators_is_not_changed(tmp_path: Path) -> None:
    prepare_dagster_home(tmp_path / "new")
    made = tmp_path / "new" / "dagster.yaml"
    assert yaml.safe_load(made.read_text())["telemetry"] == {"enabled": False}

    theirs = "storage:\n  postgres:\n    postgres_url: postgresql://dagster@db/dagster\n"
    made.write_text(theirs)
    prepare_dagster_home(tmp_path / "new")
    assert made.read_text() == theirs


def test_batch_work_takes_its_turn_beside_the_worker(tmp_path: Path) -> None:
    prepare_dagster_home(tmp_path / "new")
    with dg.DagsterInstance.from_config(str(tmp_path / "new")) as instance:
        concurrency = instance.get_concurrency_config()
    assert concurrency.pool_config.default_pool_limit == 1
    assert concurrency.pool_config.pool_granularity is PoolGranularity.RUN
    assert concurrency.run_queue_config is not None
    assert concurrency.run_queue_config.max_concurrent_runs == 4


def test_an_unwritable_dagster_home_is_reported_with_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="NEARDUP_DAGSTER_HOME"):
        prepare_dagster_home(tmp_path / "file" / "dagster")
