"""A hand-over as an operator does it: a real worker in shadow, killed, compared, cut over, and back into shadow."""

import io
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from assets.handover_parity import handover_parity
from neardup_platform.bench.synthetic import embeddings, image_id
from neardup_platform.cli import cli
from neardup_platform.client import Client
from neardup_platform.handover.s3_other import place_of
from neardup_platform.kafka.publisher import make_producer
from neardup_platform.s3_client import ensure_bucket, open_s3
from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card
from neardup_platform.serving.app import build_app
from neardup_platform.settings import HandoverSettings, Settings
from neardup_platform.testing import eventually
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import encode_embedding
from neardup_platform.wire.topics import DECISIONS, EMBEDDINGS
from resources.platform import PlatformResource
from tests.conftest import emptied
from tests.dagster.conftest import no_models
from tests.dagster.operation_run import Run, variables
from tests.serving.conftest import listening
from tests.stream.worker_process import read_topic, running, start

pytestmark = pytest.mark.slow

HOUR = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOURS = "2026-03-01T12"


@pytest.fixture
def shadowed(servers: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A worker whose store began in shadow, which was killed and started again, and an API over the store."""
    settings = emptied(servers, tmp_path_factory.mktemp("shadowed") / "home")
    ensure_bucket(open_s3(settings.s3), settings.s3)
    settings = settings.model_copy(update={"handover": HandoverSettings(least_images=10)})
    first = start(settings, more={"NEARDUP_WORKER_SHADOW": "true"})
    try:
        publish(settings, range(24))
        eventually(settings.store_path.exists)
        with listening(build_app(settings, no_models)) as http:
            settings = settings.model_copy(update={"api": settings.api.model_copy(update={"port": http.base_url.port})})
            with Client.from_settings(settings) as api:
                eventually(lambda: api.status().images == 24)
            first.kill()
            first.wait()
            with running(settings), variables(settings):
                yield settings
    finally:
        first.kill()
        first.wait()


def publish(settings: Settings, numbers: range) -> None:
    """Publish images of which three at a time are the same."""
    producer, models = make_producer(settings.kafka), read_card(SHIPPED_FOLDER).required_models
    for number in numbers:
        for half in embeddings(number // 3, models, time.time_ns() // 1_000_000):
            named = replace(half, image_id=image_id(number))
            producer.send(EMBEDDINGS[half.kind], key=named.image_id.encode(), value=encode_embedding(named))
    producer.flush()
    producer.close()


def put_theirs(settings: Settings, heads: Mapping[str, str]) -> None:
    out = io.BytesIO()
    pq.write_table(pa.table({"image_id": list(heads), "head": list(heads.values())}), out)
    bucket, prefix = place_of(settings, HOUR)
    open_s3(settings.s3).put_object(Bucket=bucket, Key=f"{prefix}part-0.parquet", Body=out.getvalue())


def compared() -> tuple[dict[str, Any], dict[str, dg.AssetCheckEvaluation]]:
    """What the asset's page shows of the hour."""
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [handover_parity],
            partition_key=f"{HOUR:%Y-%m-%d-%H:00}",
            resources={"platform": PlatformResource()},
            instance=instance,
        )
        (event,) = result.asset_materializations_for_node("handover__parity")
        shown = {name: value.value for name, value in event.metadata.items()}
        return shown, {each.check_name: each for each in result.get_asset_check_evaluations()}


def said(*command: str) -> dict[str, Any]:
    answer = CliRunner().invoke(cli, [*command, "--json"], standalone_mode=False)
    assert answer.exception is None, answer.output
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def decisions(settings: Settings) -> list[pb.Decision]:
    return [pb.Decision.FromString(value) for value in read_topic(settings, DECISIONS)]


def test_a_pipeline_is_taken_over_when_the_clusters_agree_and_handed_back(shadowed: Settings) -> None:
    with Client.from_settings(shadowed) as api:
        publish(shadowed, range(24, 36))
        eventually(lambda: api.status().images == 36)
        (shadow,) = api.status().shadows
        assert (api.status().in_shadow, shadow.by, shadow.withheld) == (True, "", 36)
        assert decisions(shadowed) == []
        ours = api.lookup_many(image_id(number) for number in range(36))
        broken = sorted(set(ours.values()))[:2]
        same = broken[0]

        # The other pipeline has nothing of two clusters together, and an image that was never sent here.
        apart = {image: image if head in broken else f"k-{head}" for image, head in ours.items()}
        put_theirs(shadowed, {**apart, "stranger": "stranger", "": "nobody"})
        shown, checks = compared()
        gate, good = checks["ready_to_cut_over"], checks["other_output_is_good"]
        assert (gate.passed, good.passed, gate.severity) == (False, False, dg.AssetCheckSeverity.WARN)
        assert "clusters agree by" in (gate.description or "")
        assert "1 no-image-id" in (good.description or "")
        assert (shown["images"], shown["decided"], shown["bad_rows"], shown["merged"]) == (37, 36, 1, 2)
        worst = shown["disagreements"].records[0].data
        assert (worst["kind"], worst["cluster"], worst["parts"], worst["pairs"]) == ("merged", same, 3, 3)
        refused = Run("cut_over", hours=HOURS, dry_run=False)
        assert "not ready to cut over: " in refused.failure
        assert "needs a reason" in Run("cut_over", hours=HOURS, dry_run=False, force=True).failure
        assert api.status().in_shadow

        # It agrees, and names one cluster as ours does.
        put_theirs(shadowed, {image: head if head == same else f"k-{head}" for image, head in ours.items()})
        planned = Run("cut_over", hours=HOURS).shown
        differ = sum(head != same for head in ours.values())
        assert (planned["ready"], planned["agreement"], planned["other_heads"]) == (True, 1.0, differ)
        assert "a cut-over would publish every decision after 36" in planned["summary"]
        printed = said("parity", "--hours", HOURS)
        assert [printed[name] for name in ("ready", "identical", "coverage")] == [True, len(set(ours.values())), 1.0]
        assert said("cut-over", "--hours", HOURS)["withheld"] == 36
        assert decisions(shadowed) == []

        taken = Run("cut_over", hours=HOURS, dry_run=False, publish_differences=True).shown
        assert (taken["published_after"], taken["withheld"], taken["published"]) == (36, 36, differ)
        eventually(lambda: not api.status().in_shadow)
        publish(shadowed, range(36, 42))
        eventually(lambda: api.status().images == 42)
        eventually(lambda: len(decisions(shadowed)) == differ + 6)
        found = decisions(shadowed)
        assert {each.image_id: each.head for each in found if each.cause} == {
            image: head for image, head in ours.items() if head != same
        }
        assert sorted(each.sequence for each in found) == list(range(37, 37 + differ + 6))
        assert "not in shadow" in Run("cut_over", hours=HOURS, dry_run=False).failure

        assert "no decision would be published" in Run("undo_cut_over").shown["summary"]
        assert Run("undo_cut_over", dry_run=False).shown["published_to"] == 42 + differ
        publish(shadowed, range(42, 48))
        eventually(lambda: api.status().images == 48)
        assert said("cut-over", "--undo", "--yes")["shadow"] == "before"
        # The result of that command was published after whatever the decisions before it would have been.
        assert len(decisions(shadowed)) == differ + 6
        assert [each.withheld for each in api.status().shadows] == [36, 6]
