"""Claims about what commands print: one module prints, and no printed value controls the terminal."""

import ast
import io
import json
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

import neardup_platform.cli
from neardup_platform.cli import cli
from neardup_platform.cli.output import complain, emit
from neardup_platform.cli.override_commands import _describe_list
from neardup_platform.cli.question_commands import _describe_decision, _describe_search
from neardup_platform.scoring.active_models import active_models
from neardup_platform.settings import Settings
from tests.cli.command_line import run

FOLDER = Path(neardup_platform.cli.__file__).parent


def test_only_one_module_prints() -> None:
    for path in FOLDER.glob("*.py"):
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        names = {ast.unparse(call) for call in calls}
        printing = {"print", "click.echo", "click.secho", "click.confirm", "sys.stdout.write", "sys.stderr.write"}
        assert path.name == "output.py" or not names & printing, path.name


def test_text_is_escaped_and_json_is_exact(capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"reason": "\x1b[31mred\nforged", "image_id": "[red]a\u202fb"}
    emit(answer, as_json=False, human=lambda a: f"{a['image_id']}: {a['reason']}\nend")
    assert capsys.readouterr().out == "[red]a\u202fb: \\x1b[31mred\\x0aforged\nend\n"
    emit(answer, as_json=True, human=lambda _: "")
    assert capsys.readouterr().out == '{"reason": "\\u001b[31mred\\nforged", "image_id": "[red]a\u202fb"}\n'


def test_an_error_is_one_line_and_keeps_its_spaces(capsys: pytest.CaptureFixture[str]) -> None:
    complain("no such image:\n  'a\u202fb\x1b'")
    assert capsys.readouterr().err == "neardup: no such image: 'a\u202fb\\x1b'\n"


def test_an_argument_in_a_usage_error_is_escaped(tmp_path: Path) -> None:
    done = run("members", "x", "--limit", "\x1b[2J", home=tmp_path)
    assert done.returncode == 2
    assert "\x1b" not in done.stderr


def test_forget_without_an_answer_names_the_option_to_use(tmp_path: Path) -> None:
    for stdin in ("", None):
        done = CliRunner().invoke(cli, ["forget", "x"], input=stdin, standalone_mode=False)
        assert isinstance(done.exception, click.UsageError)
        assert "--yes" in done.exception.message
    done = CliRunner().invoke(cli, ["forget", "a\x1b"], input="n\n", standalone_mode=False)
    assert (done.return_value, "a\\x1b is not forgotten" in done.output) == (1, True)


def test_a_list_of_images_to_forget_is_read_before_anything_is_asked(tmp_path: Path) -> None:
    file = tmp_path / "takedowns.csv"
    file.write_text("image_id\na.jpg\nb.jpg\n")
    done = CliRunner().invoke(cli, ["forget", "--csv", str(file)], input="n\n", standalone_mode=False)
    assert (done.return_value, "forget the 2 images of" in done.output) == (1, True)
    for arguments in (["forget"], ["forget", "a.jpg", "--csv", str(file)]):
        done = CliRunner().invoke(cli, arguments, standalone_mode=False)
        assert "either IMAGE_ID or --csv" in str(done.exception.message)
    file.write_text("id\na.jpg\n")
    done = CliRunner().invoke(cli, ["forget", "--csv", str(file), "--yes"], standalone_mode=False)
    assert "must have the column image_id once, and no other" in str(done.exception)


@pytest.mark.parametrize(
    ("action", "more", "says"),
    [
        ("move", {}, "a belongs with b, in whichever cluster that is"),
        ("alone", {"other_id": ""}, "a founds a cluster and joins none; others may join it"),
        ("forbid", {}, "a and b are never in one cluster"),
        ("merge", {}, "the cluster of a is one with that of b"),
        ("split", {}, "a split off from b, never again in one cluster"),
        ("split", {"image_ids": ["c"]}, "a and 1 more image split off from b, never again in one cluster"),
        ("quarantine", {}, "the cluster of a is in quarantine: no new image joins it by its matches"),
        ("quarantine", {"bank": "pages"}, "in quarantine for bank pages: no new image"),
    ],
)
def test_an_override_is_listed_with_what_it_does(action: str, more: dict[str, Any], says: str) -> None:
    found = {"override_id": "o1", "action": action, "image_id": "a", "other_id": "b", "image_ids": [], "bank": ""}
    listed = _describe_list({"overrides": [{**found, "at_ms": 0, "issued_by": "me", "reason": "why", **more}]})
    assert listed.startswith("o1  1970-01-01 00:00:00Z  ")
    assert listed.endswith(", by me: why")
    assert says in listed


def test_a_picture_unlike_every_head_is_reported_without_a_cluster() -> None:
    found = {"seen_before": True, "cluster": None, "matches": [], "images_searched": 3, "guard": None, "labels": []}
    assert (
        _describe_search(found) == "seen before: like 0 images, but unlike the head of any cluster (3 images searched)"
    )
    assert "in the cluster of a" in _describe_search({**found, "cluster": "a"})
    guard = {"reason": "chain-suspected", "head": "b", "agreed": 3, "compared": 8, "size": 9}
    held_apart = _describe_search({**found, "guard": guard})
    assert "like only 3 of the 8 compared in the cluster of b" in held_apart
    quarantined = _describe_search({**found, "guard": guard | {"reason": "quarantined"}})
    assert "but the cluster of b is in quarantine" in quarantined


def test_a_search_says_that_a_picture_is_undistinctive() -> None:
    found = {"seen_before": False, "cluster": None, "matches": [], "images_searched": 3, "labels": []}
    assert "undistinctive" in _describe_search({**found, "undistinctive": True})
    assert "undistinctive" not in _describe_search({**found, "undistinctive": False})


def test_a_decision_says_when_it_was_made() -> None:
    decision = {
        "summary": "Founded a cluster.",
        "sequence": 7,
        "decided_ms": 1_700_000_000_000,
        "candidates_found": 0,
        "threshold": 0.7,
        "head_threshold": 0.3,
        "terms_version": "t",
        "classifier_version": "c",
        "candidates": [],
        "labels": [],
        "cluster_labels": [],
        "quarantined": False,
        "structures": [],
        "bridges": [],
    }
    assert "decision 7 at 2023-11-14 22:13:20Z, 0 candidates" in _describe_decision(decision)


def test_output_works_with_any_terminal_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setattr(sys, "argv", ["neardup", "--version"])
    neardup_platform.cli.main()
    assert shown.errors == "backslashreplace"


def test_embeddings_shows_what_is_accepted_while_nothing_runs(tmp_path: Path) -> None:
    answer = json.loads(run("embeddings", "--json", home=tmp_path).stdout)
    for kind, model in active_models(Settings()).items():
        assert answer["models"][kind] == {"version": model.version, "dim": model.dim, "newer": []}
    assert answer["source"] == "settings"
    said = run("embeddings", home=tmp_path, NEARDUP_JOIN_NEWER_LSH='["next"]').stdout
    assert "newer: next" in said
    assert "does not answer" in said
