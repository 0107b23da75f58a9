from pathlib import Path

import pytest

from definitions import defs
from neardup_platform.supervise.heartbeat import paused_by


def test_the_jobs_pause_and_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARDUP_HOME", str(tmp_path))
    run = defs.resolve_job_def("pause_stream_worker").execute_in_process()
    assert paused_by(tmp_path) == f"Dagster run {run.run_id}"
    assert defs.resolve_job_def("resume_stream_worker").execute_in_process().success
    assert paused_by(tmp_path) is None


def test_resuming_without_a_pause_succeeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARDUP_HOME", str(tmp_path))
    assert defs.resolve_job_def("resume_stream_worker").execute_in_process().success
