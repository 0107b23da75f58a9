import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import yaml

from definitions import defs
from tests.dagster.supervised import ROOT


def test_loading_imports_neither_tensorflow_nor_a_client_library() -> None:
    heavy = ["tensorflow", "keras", "numba", "faiss", "sklearn", "kafka", "boto3", "pyarrow", "duckdb"]
    program = (
        "import sys, definitions\n"
        "definitions.defs.get_repository_def().load_all_definitions()\n"
        f"print(*[name for name in {heavy} if name in sys.modules])"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert loaded == []


def test_loading_needs_no_settings_and_makes_no_files(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NEARDUP_")}
    home = tmp_path / "home"
    subprocess.run(
        [sys.executable, "-c", "import definitions"],
        cwd=ROOT,
        env={**environment, "NEARDUP_HOME": str(home)},
        check=True,
    )
    assert not home.exists()


def test_the_sensor_and_the_schedule_run_by_default() -> None:
    assert defs.resolve_sensor_def("stream_worker_sensor").default_status is dg.DefaultSensorStatus.RUNNING
    schedule = defs.resolve_schedule_def("decisions_log_schedule")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING


def test_every_job_explains_itself() -> None:
    jobs = [job for job in defs.resolve_all_job_defs() if not job.name.startswith("__")]
    assert {job.name for job in jobs} >= {"stream_worker", "pause_stream_worker", "resume_stream_worker"}
    assert [job.name for job in jobs if not job.description] == []


def test_the_workspace_loads_this_location_from_any_folder(tmp_path: Path) -> None:
    entry = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"][0]["python_file"]
    assert (ROOT / entry["working_directory"] / entry["relative_path"]).samefile(ROOT / "definitions.py")
    answer = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-w", str(ROOT / "workspace.yaml")],
        cwd=tmp_path,
        env={**os.environ, "DAGSTER_HOME": str(tmp_path), "DAGSTER_DISABLE_TELEMETRY": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr[-2_000:]
