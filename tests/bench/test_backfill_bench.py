"""What `neardup bench backfill` asks the webserver is what Dagster understands; the benchmark itself takes minutes."""

import dagster as dg
import pytest
from dagster_graphql.schema import create_schema
from graphql import parse, validate

from assets.topic_logs import hours
from definitions import defs
from neardup_platform.bench.backfill import ASSETS, DONE, LAUNCH, RUNS, STATUS, bench_backfill
from neardup_platform.errors import SetupError


@pytest.mark.parametrize("question", [LAUNCH, STATUS, RUNS, DONE])
def test_dagster_understands_the_question(question: str) -> None:
    assert validate(create_schema().graphql_schema, parse(question)) == []


def test_every_log_and_every_hourly_measure_is_part_of_the_backfill() -> None:
    graph = defs.resolve_asset_graph()
    hourly = {key for key in graph.materializable_asset_keys if graph.get(key).partitions_def == hours}
    assert {dg.AssetKey(path) for path in ASSETS} == hourly - {dg.AssetKey(["handover", "parity"])}


def test_hours_that_the_disk_cannot_hold_are_refused_before_anything_is_published() -> None:
    with pytest.raises(SetupError, match=r"take 180000000 GB in Kafka and on S3, [0-9]+ GB are free"):
        bench_backfill(10**12, 24, 0, pytest.fail)
