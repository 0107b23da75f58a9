"""Proposals become overrides that a worker applies; alarms name clusters; by engine, command line and Dagster."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest

from assets.cluster_proposals import cluster_proposals
from neardup_platform.errors import BadCommand
from neardup_platform.kafka.window import OffsetRange
from neardup_platform.operations.override_csv import read_override_file
from neardup_platform.operations.proposals import kept_file, propose, write_rows
from neardup_platform.reclustering.compared_pairs import Thresholds
from neardup_platform.reclustering.duckdb_alarms import LEAST_BRIDGES, read_alarms
from neardup_platform.reclustering.proposal import at_most, proposals_of, touching
from neardup_platform.s3_client import ensure_bucket, open_s3
from neardup_platform.servers.endpoints import environment
from neardup_platform.settings import Settings
from neardup_platform.testing.images import families
from neardup_platform.testing.worker import InMemoryWorker
from neardup_platform.topic_logs.s3_topic_log import object_key, put_object
from neardup_platform.topic_logs.topic_log import DECISIONS as LOG
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import encode_decision
from resources.platform import PlatformResource
from tests.cli.command_line import run
from tests.reclustering.test_clustering import MERGE, SPLIT, of_names, proposed
from tests.what_if.records import decision, parquet, recorded

HOUR = datetime(2026, 1, 31, 10, tzinfo=UTC)


@pytest.mark.parametrize(("noise", "thresholds"), [(0.4, Thresholds(0.9, 0.9)), (0.5, Thresholds(0.7, 0.6))])
def test_applied_overrides_give_the_clusters_that_were_proposed(
    tmp_path: Path, noise: float, thresholds: Thresholds
) -> None:
    with InMemoryWorker(tmp_path / "home") as worker:
        worker.decide(families(12, 5, noise=noise))
        stored = [pb.Decision.FromString(encode_decision(each)) for each in worker.decisions()]
        found = recorded(tmp_path, stored)
        after = proposed(found, thresholds)
        proposals = proposals_of(found, after)
        assert proposals
        file = tmp_path / "proposals.csv"
        write_rows(file, (row for each in proposals for row in each.rows))
        for row in read_override_file(file):
            given = row.model_dump()
            worker.override(given["action"], given["image_id"], given.get("other_id") or "")
        assert worker.heads() == of_names(found, after.home)


def test_a_part_that_is_cut_off_is_founded_before_others_move_there(tmp_path: Path) -> None:
    found = recorded(tmp_path, SPLIT)
    (split,) = proposals_of(found, proposed(found))
    assert (split.kind, split.head, split.to, split.images, split.founds) == ("split", "a", "c", ("c", "d"), True)
    assert [row[:3] for row in split.rows] == [("alone", "c", ""), ("move", "d", "c")]
    assert split.rows[0].reason == "proposed split: scores 0.300 with its head a"


def test_a_cluster_is_merged_member_by_member_its_head_last(tmp_path: Path) -> None:
    found = recorded(tmp_path, MERGE)
    (merge,) = proposals_of(found, proposed(found))
    assert [row[:3] for row in merge.rows] == [("move", "c", "a"), ("move", "b", "a")]
    assert merge.score == pytest.approx(0.5)
    assert merge.bridge == pytest.approx(0.9)


def test_a_selection_keeps_what_it_needs(tmp_path: Path) -> None:
    """The second split moves an image of another cluster into the part that the first one founds."""
    other = [
        decision(5, "x"),
        decision(6, "y", "x", [("c", 0.95, "a"), ("x", 0.2, "x")], head_score=0.2),
    ]
    found = recorded(tmp_path, [*SPLIT, *other])
    proposals = proposals_of(found, proposed(found))
    assert [(each.head, each.to) for each in proposals] == [("a", "c"), ("x", "c")]
    assert touching(proposals, ["x"]) == proposals
    assert touching(proposals, ["nobody"]) == []
    assert at_most(proposals, 2) == proposals[:1]


def test_alarms_count_every_decision_once(tmp_path: Path) -> None:
    guard = pb.HeldApart(reason="chain-suspected", head="chain", agreed=1, compared=9, size=12)
    decisions = [decision(1, "p", guard=guard)]
    decisions += [decision(n, f"q{n}", bridges=["bridge"]) for n in range(2, 2 + LEAST_BRIDGES)]
    decisions += [decision(n, f"r{n}", "flood", decided_ms=7) for n in range(100, 700)]
    decisions += [decision(900, "s", "small"), decision(901, "t", bridges=["small"])]
    file = parquet(tmp_path, decisions)
    alarms = read_alarms([file, file], tmp_path)
    assert [(each.head, each.reasons) for each in alarms] == [
        ("chain", "chain suspected"),
        ("bridge", "bridges"),
        ("flood", "flood"),
    ]
    assert (alarms[0].held_apart, alarms[1].bridged, alarms[2].most_in_an_hour) == (1, LEAST_BRIDGES, 600)


@pytest.fixture
def log(empty_log: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """A log of one hour with a cluster to split and one that looks like a chain."""
    bucket = f"proposals-{time.time_ns()}"
    settings = empty_log.model_copy(update={"s3": empty_log.s3.model_copy(update={"bucket": bucket})})
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    settings.home.mkdir(parents=True, exist_ok=True)
    guard = pb.HeldApart(reason="chain-suspected", head="a", agreed=1, compared=9, size=12)
    decisions = [*SPLIT, decision(9, "z", guard=guard)]
    s3 = open_s3(settings.s3)
    ensure_bucket(s3, settings.s3)
    put_object(s3, bucket, object_key(LOG, HOUR, 0), parquet(tmp_path, decisions), OffsetRange(0, 0, len(decisions)))
    s3.close()
    return settings


@pytest.mark.slow
def test_the_command_writes_overrides_and_names_clusters(log: Settings, tmp_path: Path) -> None:
    file, hours = tmp_path / "proposals.csv", "2026-01-31T10"
    done = run("propose", "--hours", hours, "--out", str(file), "--json", home=log.home)
    answer = json.loads(done.stdout)
    assert (answer["splits"], answer["merges"], answer["rows"]) == (1, 0, 2)
    assert answer["alarms"][0]["head"] == "a"
    assert [row.model_dump()["image_id"] for row in read_override_file(file)] == ["c", "d"]
    spoken = run("propose", "--hours", hours, "--clusters", "z", home=log.home)
    assert "0 splits and 0 merges" in spoken.stdout
    assert "a: chain suspected" in spoken.stdout
    with pytest.raises(BadCommand, match="above the match threshold"):
        propose(log, [HOUR], Thresholds(0.5, 0.6))


@pytest.mark.slow
def test_the_asset_shows_proposals_and_alarms(log: Settings) -> None:
    result = dg.materialize(
        [cluster_proposals],
        resources={"platform": PlatformResource()},
        run_config={"ops": {"quality__cluster_proposals": {"config": {"hours": "2026-01-31T10"}}}},
    )
    (event,) = result.asset_materializations_for_node("quality__cluster_proposals")
    shown: dict[str, Any] = dict(event.metadata)
    assert (shown["splits"].value, shown["images"].value) == (1, 5)
    assert [row.data["to"] for row in shown["proposals"].records] == ["c"]
    assert [row.data["reasons"] for row in shown["alarms"].records] == ["chain suspected"]
    file = Path(shown["file"].value)
    assert len(read_override_file(file)) == 2
    assert file.parent == log.home / "proposals"
    assert result.run_id in file.name


def test_a_run_keeps_its_file_while_enough_newer_ones_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neardup_platform.operations.proposals.MOST_KEPT", 3)
    for second in range(5):
        kept_file(tmp_path, HOUR + timedelta(seconds=second), f"run{second}").write_text("")
    names = sorted(path.name for path in (tmp_path / "proposals").iterdir())
    assert names == [f"2026-01-31T10000{second}-run{second}.csv" for second in (2, 3, 4)]


def test_no_decision_that_agrees_is_proposed(tmp_path: Path) -> None:
    found = recorded(tmp_path, [decision(1, "a"), decision(2, "b", "a", [("a", 0.9, "a")], head_score=0.9)])
    after = proposed(found)
    assert (after.leaving, after.taken_in, np.array_equal(after.home, found.homes)) == ([], [], True)
