"""Claims about the command line while no server is running."""

import json
import time
from pathlib import Path

import click
import pytest

from neardup_platform.cli import cli
from neardup_platform.settings import Settings
from neardup_platform.supervise.heartbeat import Heartbeat, Phase, write_heartbeat
from tests.cli.command_line import run, run_process

COMMANDS = (Path(__file__).parents[2] / "docs" / "reference" / "commands.md").read_text()


def commands(group: click.Group) -> list[tuple[str, click.Command]]:
    return [
        (f"{name} {inner}", leaf) if inner else (name, leaf)
        for name, command in group.commands.items()
        for inner, leaf in (command.commands.items() if isinstance(command, click.Group) else [("", command)])
    ]


@pytest.mark.parametrize(("name", "command"), commands(cli), ids=lambda value: value if isinstance(value, str) else "")
def test_command_is_documented_with_an_example(name: str, command: click.Command) -> None:
    assert command.help
    assert f"neardup {name}" in (command.epilog or "")
    assert f"## neardup {name}\n" in COMMANDS


@pytest.mark.parametrize(("name", "command"), commands(cli), ids=lambda value: value if isinstance(value, str) else "")
def test_command_prints_json_on_request(name: str, command: click.Command) -> None:
    assert name == "worker" or any("--json" in parameter.opts for parameter in command.params)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("lookup", "x"), "neardup up"),
        (("members", "x"), "neardup up"),
        (("ingest", "."), "neardup up"),
        (("worker",), "neardup up"),
        (("evaluate", "nowhere.csv"), "nowhere.csv"),
    ],
)
def test_error_is_one_line_that_says_what_to_do(arguments: tuple[str, ...], says: str, tmp_path: Path) -> None:
    done = run_process(*arguments, home=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("neardup: ")
    assert says in line


def test_wrong_usage_has_status_2(tmp_path: Path) -> None:
    assert run("ingest", home=tmp_path).returncode == 2
    assert run("members", "x", "--limit", "0", home=tmp_path).returncode == 2
    assert "lookup -- -dash.jpg" in run("lookup", "-odd.jpg", home=tmp_path).stderr
    assert run("rollback", home=tmp_path).returncode == 2
    assert run("rollback", "1700000000000-0123abcd", "--undo", home=tmp_path).returncode == 2


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("NEARDUP_TERMS_MAX_CANDIDATES", "0", "terms.max_candidates"),
        ("NEARDUP_API_REFRESH_MS", "5", "api.refresh_ms"),
        ("NEARDUP_SCORING_THRESHOLD", "2", "scoring.threshold"),
    ],
)
def test_bad_setting_is_named_with_its_value(variable: str, value: str, says: str, tmp_path: Path) -> None:
    done = run("status", home=tmp_path, **{variable: value})
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert says in done.stderr
    assert value in done.stderr


def test_status_answers_when_nothing_runs(tmp_path: Path) -> None:
    answer = json.loads(run("status", "--json", home=tmp_path).stdout)
    assert answer["ready"] is False
    assert answer["worker"]["alive"] is False
    assert set(answer) >= {"urls", "images", "clusters", "state_digest", "settings"}


def test_status_says_that_the_index_cannot_be_written(tmp_path: Path) -> None:
    for problem in (0.0, 1.0):
        write_heartbeat(tmp_path, Heartbeat(1, 1, 1, Phase.RUNNING, {"index_problem": problem}))
        said = run("status", home=tmp_path).stdout
        assert ("free some disk" in said) == bool(problem)


def test_status_reports_the_progress_of_a_start_and_of_a_long_command(tmp_path: Path) -> None:
    now_ms = time.time_ns() // 1_000_000
    beat = Heartbeat(1, now_ms, now_ms, Phase.STARTING, progress="hashing images, 120,000 of 1,000,000")
    write_heartbeat(tmp_path, beat)
    assert "starting: hashing images, 120,000 of 1,000,000" in run("status", home=tmp_path).stdout
    write_heartbeat(tmp_path, Heartbeat(1, now_ms, now_ms, Phase.RUNNING, progress="restore: comparing clusters"))
    said = run("status", home=tmp_path).stdout
    assert "starting" not in said
    assert "command  restore: comparing clusters" in said


def test_secrets_are_masked(tmp_path: Path) -> None:
    done = run(
        "status",
        "--json",
        home=tmp_path,
        NEARDUP_S3_ACCESS_KEY="name",
        NEARDUP_S3_SECRET_KEY="hush-hush",
        NEARDUP_API_TOKEN="whisper-whisper-whisper",
    )
    assert "hush-hush" not in done.stdout
    assert "whisper" not in done.stdout


def test_the_fingerprint_changes_only_with_settings_that_affect_decisions() -> None:
    base = Settings()
    assert base.model_copy(update={"home": Path("/elsewhere")}).fingerprint() == base.fingerprint()
    terms = base.terms.model_copy(update={"min_overlap": 2})
    assert base.model_copy(update={"terms": terms}).fingerprint() != base.fingerprint()
    terms = base.terms.model_copy(update={"max_queries_per_s": 5.0, "max_waiting_queries": 7})
    assert base.model_copy(update={"terms": terms}).fingerprint() == base.fingerprint()


def test_a_pause_is_reported_and_reverted(tmp_path: Path) -> None:
    assert json.loads(run("pause", "--json", home=tmp_path).stdout)["paused_by"]
    assert json.loads(run("status", "--json", home=tmp_path).stdout)["worker"]["paused_by"]
    assert json.loads(run("resume", "--json", home=tmp_path).stdout)["paused_by"] is None
