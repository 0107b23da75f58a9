"""The files for Prometheus and Grafana name metrics that exist, tell what to do, and are what their tools accept.

`promtool` (Debian's package prometheus) checks rules and runs their unit tests where it is installed; what these files
claim about this project is checked everywhere.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from neardup_platform.supervise.worker_metrics import WORKER_METRICS
from scripts.reference.metrics_page import api_metrics

DOCS = Path(__file__).parents[2] / "docs"
FOLDER = DOCS / "monitoring"
RULES = yaml.safe_load((FOLDER / "neardup-rules.yml").read_text())["groups"][0]["rules"]
RULE_TESTS = yaml.safe_load((FOLDER / "neardup-rules-test.yml").read_text())["tests"]
DASHBOARD = json.loads((FOLDER / "grafana-dashboard.json").read_text())
NAMES = [rule["alert"] for rule in RULES]
# What a histogram of Prometheus' text format consists of.
METRICS = {f"neardup_worker_{name}" for name in WORKER_METRICS} | {
    name + end for name, _ in api_metrics() for end in ("", "_bucket", "_sum", "_count")
}
_METRIC = re.compile(r"\bneardup_\w+")


def panels() -> Iterator[dict[str, Any]]:
    yield from (panel for panel in DASHBOARD["panels"] if panel["type"] != "row")


def expressions() -> list[str]:
    shown = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [*(rule["expr"] for rule in RULES), *shown]


@pytest.mark.parametrize("expression", expressions())
def test_every_metric_of_a_rule_or_panel_exists(expression: str) -> None:
    named = set(_METRIC.findall(expression)) or {"up"}
    assert named - {"up"} <= METRICS
    assert expression.count("(") == expression.count(")")
    assert expression.count("{") == expression.count("}")


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_every_rule_says_what_to_do_and_where_that_is_described(rule: dict[str, Any]) -> None:
    told = rule["annotations"]
    assert set(told) == {"summary", "description", "next_step", "runbook_url"}
    assert all(told.values())
    assert rule["labels"]["severity"] in ("warning", "critical")
    address, _, anchor = told["runbook_url"].removeprefix("https://docs.example.org/neardup/").partition("#")
    page = (DOCS / address.replace(".html", ".md")).read_text()
    headings = {re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in page.splitlines()}
    assert not anchor or anchor in headings


def test_every_rule_has_a_test_of_when_it_fires_and_when_not() -> None:
    assert len(set(NAMES)) == len(NAMES)
    tests = {test["name"]: test["promql_expr_test"] for test in RULE_TESTS}
    assert set(NAMES) <= set(tests)
    for name in NAMES:
        assert [len(each["exp_samples"]) for each in tests[name]] == [0, 1]
    whole = ("nothing fires while all is well", "nothing fires for what somebody paused")
    for name in whole:
        assert [each["exp_samples"] for each in tests[name]] == [[]]


def test_promtool_accepts_the_configuration_and_the_rules_do_as_their_tests_say() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        # Not a reason to check nothing: what it would parse is YAML with these keys.
        config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
        assert config["rule_files"] == ["neardup-rules.yml"]
        assert [job["job_name"] for job in config["scrape_configs"]] == ["neardup"]
        assert all(set(rule) == {"alert", "expr", "for", "labels", "annotations"} for rule in RULES)
        return
    for command in (("check", "config", "prometheus.yml"), ("test", "rules", "neardup-rules-test.yml")):
        done = subprocess.run([promtool, *command], cwd=FOLDER, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_has_the_structure_that_grafana_imports() -> None:
    assert {"title", "uid", "schemaVersion", "panels", "templating", "time"} <= set(DASHBOARD)
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    assert {each["name"] for each in DASHBOARD["templating"]["list"]} == {"datasource", "instance"}
    for panel in panels():
        assert panel["type"] in ("stat", "timeseries")
        assert panel["title"]
        assert panel["description"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert all('instance=~"$instance"' in target["expr"] for target in panel["targets"])
        assert [target["refId"] for target in panel["targets"]] == [chr(65 + n) for n in range(len(panel["targets"]))]


def test_panels_of_the_dashboard_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + across, place["y"] + down) for across in range(place["w"]) for down in range(place["h"])}
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells
