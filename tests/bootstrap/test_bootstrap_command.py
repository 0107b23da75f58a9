"""`neardup bootstrap` uploads, checks, loads and lists."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from neardup_platform.cli.main import cli
from neardup_platform.errors import BadArtefact, NotFound
from neardup_platform.s3_client import ensure_bucket, open_s3
from neardup_platform.servers.endpoints import environment
from neardup_platform.settings import Settings
from tests.bootstrap.loaded_data_sets import SCHEMA, START_MS, image, row


def run(settings: Settings, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["bootstrap", *arguments], env=environment(settings), standalone_mode=False)


def answer(result: Result) -> Any:
    assert result.exception is None, result.output
    return json.loads(result.stdout)


def folder(place: Path, *rows: dict[str, Any]) -> str:
    place.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows), SCHEMA), place / "rows.parquet")
    return str(place)


@pytest.fixture
def empty(servers: Settings, tmp_path: Path) -> Settings:
    """A bucket of the test's own, and no worker."""
    own = servers.s3.model_copy(update={"bucket": f"command-{tmp_path.name.replace('_', '-')[-40:]}"})
    ensure_bucket(open_s3(own), own)
    return servers.model_copy(update={"s3": own, "home": tmp_path / "home"})


def test_a_folder_is_uploaded_checked_and_listed(empty: Settings, tmp_path: Path) -> None:
    assert answer(run(empty, "--json"))["complete"] == []
    good = folder(tmp_path / "files", row(image(300, START_MS)), row(image(301, START_MS), "l"))
    checked = answer(run(empty, "mine", "--from", good, "--check", "--json"))
    assert (checked["undecided"], checked["halves"], checked["loaded"], checked["bad"]) == (1, 1, None, {})
    (listed,) = answer(run(empty, "--json"))["complete"]
    assert (listed["name"], listed["version"], listed["loaded"]) == ("mine", checked["version"], False)
    assert f"mine@{checked['version']}  1 file" in run(empty).stdout


def test_folders_in_a_folder_are_uploaded_as_other_tools_leave_them(empty: Settings, tmp_path: Path) -> None:
    root = tmp_path / "files"
    for number, name in enumerate(("day=2026-01-01", "tag=ä b+c%2F", "_temporary")):
        folder(root / name, row(image(310 + number, START_MS)))
    (root / "_SUCCESS").write_bytes(b"")
    (root / "._SUCCESS.crc").write_bytes(b"crc")
    checked = answer(run(empty, "nested", "--from", str(root), "--check", "--json"))
    assert (checked["undecided"], checked["bad"]) == (2, {})
    (root / "part.parquet.inprogress").write_bytes(b"")
    refused = run(empty, "nested", "--from", str(root), "--check")
    assert isinstance(refused.exception, BadArtefact)
    assert "'part.parquet.inprogress' does not end with .parquet: rename it" in str(refused.exception)


def test_a_check_that_finds_bad_rows_has_status_1_and_names_them(empty: Settings, tmp_path: Path) -> None:
    spoilt = folder(tmp_path / "files", row(image(300, START_MS)), row(image(301, START_MS), event_time_ms=5))
    result = run(empty, "spoilt", "--from", spoilt, "--check")
    assert result.return_value == 1
    assert "rows.parquet row 1: event_time_ms 5 is before the year 2000" in result.stdout
    assert "bad rows: s3://" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (("nowhere",), NotFound, "there is no data set 'nowhere'"),
        (("a b", "--check"), NotFound, "there is no data set 'a b'"),
        (("a/b", "--from", "FOLDER"), BadArtefact, "rename the folder"),
        (("none", "--from", "EMPTY"), BadArtefact, "has no .parquet files"),
    ],
)
def test_what_cannot_be_loaded_is_named(
    empty: Settings, tmp_path: Path, arguments: tuple[str, ...], error: type[Exception], says: str
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"FOLDER": folder(tmp_path / "files", row(image(300, START_MS))), "EMPTY": str(tmp_path / "empty")}
    result = run(empty, *(places.get(each, each) for each in arguments))
    assert isinstance(result.exception, error)
    assert says in str(result.exception)
