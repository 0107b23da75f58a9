"""Continuous integration, the hooks before a commit and `make` run the same steps."""

import re
from importlib import metadata
from pathlib import Path

import yaml

import neardup_platform

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()


def _recipe(target: str) -> list[str]:
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert found is not None
    return [line.strip().replace("$(BIN)", ".venv/bin") for line in found.group(1).splitlines()]


def test_hooks_before_a_commit_are_the_steps_of_make_lint() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert [hook["entry"] for hook in hooks] == _recipe("lint")


def test_the_workflow_runs_what_ci_runs() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    steps = workflow["jobs"]["test"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    assert "make test" in (ROOT / ".ci/run").read_text()


def test_there_is_one_version() -> None:
    assert metadata.version("neardup-platform") == neardup_platform.__version__
    assert f"## {neardup_platform.__version__}" in (ROOT / "CHANGELOG.md").read_text()
