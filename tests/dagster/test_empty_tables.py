"""Tables of metadata without rows: of a snapshot before the first image, an empty data set, an empty answer."""

from typing import Any

import dagster as dg

from assets.bootstrap import described
from assets.snapshots import materialization
from jobs.operations.metadata import rows
from neardup_platform.bootstrap.report import CheckReport
from neardup_platform.operations.kafka_bootstrap import Bootstrapped
from neardup_platform.settings import Settings
from neardup_platform.stream.snapshots.snapshot_manifest import Manifest

LOADED = ("decided", "loaded", "known", "conflicting", "forgotten", "published", "skipped")


def records_of(shown: object) -> list[dict[str, Any]]:
    assert isinstance(shown, dg.TableMetadataValue)
    return [dict(record.data) for record in shown.records]


def test_a_snapshot_of_a_store_that_has_read_nothing_is_shown() -> None:
    manifest = Manifest(
        *("1700000000000-0123abcd", 1_700_000_000_000, "c1", "a test", 1, "store", 0, 0, 0, "", {}),
        *("", "classifier", "", "settings", ()),
    )
    shown = materialization(Settings(), manifest)
    assert records_of(shown.metadata["positions"]) == []


def test_a_data_set_without_rows_is_shown() -> None:
    check = CheckReport(0, 0, 0, 0, 0, 0, {}, 0, 0, 0, 0, vectors=True, examples=())
    shown = described(Bootstrapped("empty", "0" * 16, check, "s3://b/r", "", "s3://b/d", dict.fromkeys(LOADED, 0)))
    assert records_of(shown["rows_by_fate"]) == records_of(shown["images_by_outcome"]) == []


def test_an_answer_that_lists_nothing_is_shown() -> None:
    assert records_of(rows([])) == []
    assert records_of(rows([{"a": 1, "b": None}])) == [{"a": 1}]
