"""Whatever the code offers is in the reference, and the committed reference is what the code gives."""

import ast
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

import neardup_platform
from neardup_platform.settings import Settings
from neardup_platform.stream.commands import COMMANDS
from neardup_platform.stream.control.cancellation import CANCEL
from neardup_platform.supervise.worker_metrics import COUNTERS
from scripts.reference.metrics_page import api_metrics
from scripts.reference.pages import DOCS, pages

PAGES = pages()


@pytest.mark.parametrize("name", PAGES)
def test_generated_page_is_up_to_date(name: str) -> None:
    path = DOCS / name
    text = path.read_text() if path.is_file() else ""
    assert text == PAGES[name], f"docs/{name} is out of date: run `make reference`"


def test_every_setting_is_documented() -> None:
    undocumented = [
        f"{section}.{name}"
        for section, field in Settings.model_fields.items()
        for name, setting in getattr(field.annotation, "model_fields", {"": field}).items()
        if not setting.description
    ]
    assert undocumented == []


@pytest.mark.parametrize("name", [name for name in PAGES if name.startswith("reference/")])
def test_no_row_lacks_its_meaning(name: str) -> None:
    """Descriptions come from the code, so an empty last cell is something undocumented there."""
    if name in ("reference/topics.md", "reference/python.md"):
        return  # `image_id`, `score` and their like say it themselves.
    bare = [line for line in PAGES[name].splitlines() if line.startswith("| ") and line.endswith("|  |")]
    assert bare == []


def test_every_metric_of_the_api_is_documented() -> None:
    assert all(text for _, text in api_metrics())


def test_every_counter_of_the_worker_is_documented() -> None:
    """Names given to `step.count(...)` and `state.counters[...]` in the stream."""
    counted = set()
    for path in (Path(neardup_platform.__file__).parent / "stream").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            name = None
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "count":
                name = node.args[0] if node.args else None
            elif isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith(".counters"):
                name = node.slice
            if isinstance(name, ast.Constant):
                counted.add(str(name.value))
    assert len(counted) > 5
    assert counted <= COUNTERS.keys()


def test_what_prompt_commands_mean_to_long_ones_is_written_for_each_pair() -> None:
    """The tables of ADR 16: each has a row for every prompt command, and every long one has a column in one."""
    text = (DOCS / "adr" / "0016-short-commands-do-not-wait.md").read_text()
    tables = [table.splitlines() for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)]
    prompt = sorted([spec.arguments.command for spec in COMMANDS if spec.prompt] + [CANCEL])
    assert [sorted(_names(row.split("|")[1] for row in table)) for table in tables] == [prompt] * len(tables)
    columns = _names(name for table in tables for name in table[0].split("|"))
    assert sorted(columns) == sorted(spec.arguments.command for spec in COMMANDS if not spec.prompt)
    bare = [row for table in tables for row in table if not all(cell.strip() for cell in row.split("|")[2:-1])]
    assert bare == []


def _names(cells: Iterable[str]) -> list[str]:
    return [name for cell in cells for name in re.findall(r"`([a-z-]+)`", cell)]
