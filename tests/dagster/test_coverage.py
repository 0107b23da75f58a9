"""The assets `quality/coverage` and `quality/drift`, run by Dagster on a real Kafka and a real S3 server."""

import time
from datetime import UTC, datetime

import dagster as dg
import pytest

from assets.coverage import coverage
from assets.decisions_log import decisions_log
from assets.drift import drift
from assets.topic_logs import topic_logs
from neardup_platform.hourly_quality.s3_profiles import find_profile, profile_key
from neardup_platform.kafka.publisher import make_producer
from neardup_platform.s3_client import open_s3
from neardup_platform.servers.endpoints import environment
from neardup_platform.settings import Settings
from neardup_platform.topic_logs.topic_log import DECISIONS, LSH_EMBEDDINGS, PAIR_EMBEDDINGS
from neardup_platform.wire import neardup_pb2 as pb
from resources.platform import PlatformResource
from tests.dagster.test_decisions_log import HOUR, NEXT

LOGS = [decisions_log, *topic_logs]


@pytest.fixture
def settings(empty_log: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """As a run gets them, from the environment. The bucket does not exist yet."""
    s3 = empty_log.s3.model_copy(update={"bucket": f"log-{time.time_ns()}"})
    settings = empty_log.model_copy(update={"s3": s3})
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    return settings


def publish(settings: Settings, *images: str, decided: frozenset[str]) -> None:
    """Announce images in `HOUR`, and decide some of them 40 ms later."""
    producer, at_ms = make_producer(settings.kafka), round(HOUR.timestamp() * 1_000)
    for image_id in images:
        for log, kind in ((LSH_EMBEDDINGS, pb.KIND_LSH), (PAIR_EMBEDDINGS, pb.KIND_PAIR)):
            value = pb.EmbeddingReady(image_id=image_id, kind=kind).SerializeToString()
            producer.send(log.topic, key=b"k", value=value, timestamp_ms=at_ms)
        if image_id in decided:
            value = pb.Decision(event_id=image_id, image_id=image_id, head=image_id).SerializeToString()
            producer.send(DECISIONS.topic, key=b"k", value=value, timestamp_ms=at_ms + 40)
    producer.flush()
    producer.close()


@pytest.mark.slow
def test_an_hour_is_measured_from_its_logs_and_checked(settings: Settings) -> None:
    publish(settings, "a", "b", "c", decided=frozenset("ab"))
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [*LOGS, coverage, drift],
            partition_key=f"{HOUR:%Y-%m-%d-%H:00}",
            resources={"platform": PlatformResource()},
            instance=instance,
        )
        (event,) = result.asset_materializations_for_node("quality__coverage")
        shown = {name: value.value for name, value in event.metadata.items()}
        assert (shown["announced"], shown["decided"], shown["unexplained"]) == (3, 2, 1)
        assert shown["latency_p99_ms"] == pytest.approx(40)
        failed = [check for check in result.get_asset_check_evaluations() if not check.passed]
        assert [check.check_name for check in failed] == ["every_image_is_decided"]
        assert "could not be looked up" in (failed[0].description or ""), "no API runs"
        assert failed[0].severity is dg.AssetCheckSeverity.ERROR

        (event,) = result.asset_materializations_for_node("quality__drift")
        shown = {name: value.value for name, value in event.metadata.items()}
        assert (shown["decisions"], shown["joined"], shown["versions"]) == (2, 0, "classifier : 2, terms : 2")
        assert shown["reference"].startswith("none")
        s3, bucket = open_s3(settings.s3), settings.s3.bucket
        assert shown["dagster/uri"] == f"s3://{bucket}/{profile_key(HOUR)}"
        kept = find_profile(s3, bucket, HOUR)
        assert kept is not None
        assert kept.decisions == 2
        assert find_profile(s3, bucket, NEXT) is None
        s3.put_object(Bucket=bucket, Key=profile_key(HOUR), Body=b"{}")
        assert find_profile(s3, bucket, HOUR) is None, "a damaged profile is no reference"


@pytest.mark.slow
def test_an_hour_without_logs_fails_once_and_names_the_log(settings: Settings) -> None:
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(dg.Failure, match="embeddings_lsh is not material"):
        dg.materialize(
            [*LOGS, coverage],
            selection=[coverage],
            partition_key=f"{HOUR:%Y-%m-%d-%H:00}",
            resources={"platform": PlatformResource()},
            instance=instance,
        )


def test_an_hour_is_requested_once_all_of_its_logs_are_written_and_again_when_one_is() -> None:
    key = f"{HOUR:%Y-%m-%d-%H:00}"
    needed = sorted(coverage.asset_deps[coverage.key], key=str)
    definitions = dg.Definitions(assets=[*LOGS, coverage], resources={"platform": PlatformResource()})
    with dg.DagsterInstance.ephemeral() as instance:

        def written(*keys: dg.AssetKey) -> None:
            for each in keys:
                instance.report_runless_asset_event(dg.AssetMaterialization(each, partition=key))

        def requested(cursor: object) -> tuple[int, object]:
            found = dg.evaluate_automation_conditions(
                defs=definitions, instance=instance, cursor=cursor, evaluation_time=datetime.now(UTC)
            )
            return found.total_requested, found.cursor

        count, cursor = requested(None)
        assert count == 0
        written(*needed[:-1])
        count, cursor = requested(cursor)
        assert count == 0
        written(needed[-1])
        count, cursor = requested(cursor)
        assert count == 1
        count, cursor = requested(cursor)
        assert count == 0
        written(needed[0])
        count, _ = requested(cursor)
        assert count == 1
