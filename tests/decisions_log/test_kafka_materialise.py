"""The decisions log against a real Kafka and a real S3 server."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from botocore.exceptions import ClientError
from kafka import KafkaAdminClient, TopicPartition

from neardup_platform.decisions_log.materialised_decisions import materialise_decisions
from neardup_platform.decisions_log.wrong_matches import WrongMatches
from neardup_platform.errors import NotFound, ServerUnavailable
from neardup_platform.kafka.publisher import make_producer
from neardup_platform.kafka.topics import connection
from neardup_platform.kafka.window import offset_ranges, open_consumer, read_range
from neardup_platform.records import Candidate, Decision, HeldApart
from neardup_platform.s3_client import open_s3
from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card
from neardup_platform.settings import Settings
from neardup_platform.topic_logs.offset_continuity import Breaks, find_breaks
from neardup_platform.topic_logs.s3_topic_log import object_key, put_object, stored_parts, stored_ranges
from neardup_platform.topic_logs.topic_log import DECISIONS as LOG
from neardup_platform.wire.codec import encode_decision
from neardup_platform.wire.topics import DECISIONS
from tests.current_hour import hour_that_lasts
from tests.kafka.test_changing_logs import recreate
from tests.kafka.test_foreign_producers import transaction

pytestmark = pytest.mark.slow

HOUR = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
NEXT = HOUR + timedelta(hours=1)


@pytest.fixture
def settings(empty_log: Settings) -> Settings:
    """Emptied topics and the test's own bucket, which does not exist yet."""
    bucket = f"log-{time.time_ns()}"
    return empty_log.model_copy(update={"s3": empty_log.s3.model_copy(update={"bucket": bucket})})


@pytest.fixture
def s3(settings: Settings) -> Iterator[Any]:
    client = open_s3(settings.s3)
    yield client
    client.close()


def decision(number: int, head: str | None = None) -> Decision:
    image = f"image-{number}"
    return Decision(
        sequence=number,
        image_id=image,
        head=head or image,
        score=0.75 if head else 0.0,
        head_score=0.5 if head else 1.0,
        candidates=(Candidate(head, 7, 0.75, head),) if head else (),
        candidates_found=1 if head else 0,
        bridges=(),
        threshold=0.5,
        head_threshold=0.25,
        terms_version="t1",
        classifier_version="c1",
        event_time_ms=1,
        decided_ms=2,
    )


def publish(settings: Settings, hour: datetime, *decisions: Decision, partition: int = 0) -> None:
    """Decisions published in the given hour, one second apart."""
    values = [encode_decision(item) for item in decisions]
    publish_bytes(settings, hour, *values, partition=partition)


def publish_bytes(settings: Settings, hour: datetime, *values: bytes, partition: int = 0) -> None:
    producer = make_producer(settings.kafka)
    for number, value in enumerate(values):
        stamp = int((hour + timedelta(seconds=number)).timestamp() * 1_000)
        producer.send(DECISIONS, key=b"k", value=value, partition=partition, timestamp_ms=stamp)
    producer.flush()
    producer.close()


def rows(s3: Any, settings: Settings, hour: datetime, folder: Path) -> list[dict[str, Any]]:
    """The content of S3, read with DuckDB alone."""
    found: list[dict[str, Any]] = []
    for partition in sorted(stored_ranges(s3, settings.s3.bucket, LOG, hour)):
        file = folder / f"{partition}.parquet"
        s3.download_file(settings.s3.bucket, object_key(LOG, hour, partition), str(file))
        found += duckdb.read_parquet(str(file)).order("kafka_offset").to_arrow_table().to_pylist()
    return found


def etags(s3: Any, settings: Settings, hour: datetime) -> list[str]:
    keys = [object_key(LOG, hour, n) for n in sorted(stored_ranges(s3, settings.s3.bucket, LOG, hour))]
    return [s3.head_object(Bucket=settings.s3.bucket, Key=key)["ETag"] for key in keys]


def test_an_hour_of_transactions_is_whole(settings: Settings, s3: Any, tmp_path: Path) -> None:
    """Markers of transactions and aborted messages have offsets, and are no messages that are missing."""
    hour = hour_that_lasts(60)
    with transaction(settings) as producer:
        for number in range(2):
            producer.produce(DECISIONS, encode_decision(decision(number)), key="k", partition=0)
        producer.commit_transaction(30)
        producer.begin_transaction()
        producer.produce(DECISIONS, encode_decision(decision(7)), key="k", partition=0)
        producer.flush()
        producer.abort_transaction(30)
        producer.begin_transaction()
        producer.produce(DECISIONS, encode_decision(decision(2)), key="k", partition=0)
        producer.commit_transaction(30)
    written = materialise_decisions(settings, s3, hour).hour
    assert [row["sequence"] for row in rows(s3, settings, hour, tmp_path)] == [0, 1, 2]
    assert (written.records, written.empty) == (3, 4)
    # Earlier tests have emptied the topic in this hour, which shows at its seam.
    assert find_breaks(s3, settings.s3.bucket, LOG, hour).within == ()
    (part,) = [part for part in stored_parts(s3, settings.s3.bucket, LOG, hour) if part.offsets.partition == 0]
    assert part.empty == 4


def test_an_hour_contains_exactly_its_decisions_with_every_field(settings: Settings, s3: Any, tmp_path: Path) -> None:
    publish(settings, HOUR, decision(1), decision(2, head="image-1"))
    guard = HeldApart("chain-suspected", "image-1", agreed=1, compared=9, size=12)
    publish(settings, HOUR, replace(decision(3), guard=guard), partition=1)
    publish(settings, NEXT, decision(4))
    written = materialise_decisions(settings, s3, HOUR)
    found = rows(s3, settings, HOUR, tmp_path)
    assert [(row["sequence"], row["image_id"], row["head"]) for row in found] == [
        (1, "image-1", "image-1"),
        (2, "image-2", "image-1"),
        (3, "image-3", "image-3"),
    ]
    joined = found[1]
    assert joined["candidates"] == [{"image_id": "image-1", "overlap": 7, "score": 0.75, "head": "image-1", "kind": ""}]
    assert [row["guard"] for row in found] == [None, None, asdict(guard)]
    assert (joined["kafka_partition"], joined["threshold"], joined["terms_version"]) == (0, 0.5, "t1")
    assert joined["kafka_timestamp"] == HOUR + timedelta(seconds=1)
    counts = written.counts
    assert (counts.records, counts.decisions, counts.clusters_founded, counts.joined) == (3, 3, 2, 1)
    assert (counts.held_apart, counts.undistinctive) == (1, 0)
    assert written.wrong_matches is None, "no classifier of this version is known"
    assert [row["sequence"] for row in written.preview] == [1, 2, 3]


def test_an_hour_says_how_many_wrong_matches_to_expect_by_the_card_of_its_classifier(
    settings: Settings, s3: Any
) -> None:
    card = read_card(SHIPPED_FOLDER)
    assert card.threshold_table is not None
    row = card.threshold_table.at(2_000, undistinctive=True)
    made = replace(
        decision(1),
        classifier_version=card.version,
        threshold=row.match,
        undistinctive=True,
        corpus_images=2_000,
    )
    publish(settings, HOUR, made, decision(2))
    written = materialise_decisions(settings, s3, HOUR)
    assert written.counts.undistinctive == 1
    expected = row.wrong_matches_per_1000, row.wrong_matches_per_1000_low, row.wrong_matches_per_1000_high
    assert written.wrong_matches == WrongMatches(1, *expected)


def test_repeats_are_kept_in_the_log_and_counted_once(settings: Settings, s3: Any) -> None:
    publish(settings, HOUR, decision(1), decision(1), decision(2, head="image-1"), decision(2, head="image-1"))
    counts = materialise_decisions(settings, s3, HOUR).counts
    assert (counts.records, counts.decisions, counts.images) == (4, 2, 2)
    assert (counts.clusters_founded, counts.joined) == (1, 1)


def test_materialising_again_writes_the_same_objects(settings: Settings, s3: Any) -> None:
    publish(settings, HOUR, decision(1), decision(2))
    first = materialise_decisions(settings, s3, HOUR)
    before = etags(s3, settings, HOUR)
    assert materialise_decisions(settings, s3, HOUR) == first
    assert etags(s3, settings, HOUR) == before


def test_the_current_hour_can_be_materialised_while_it_fills(settings: Settings, s3: Any) -> None:
    now = datetime.now(UTC)
    hour = now.replace(minute=0, second=0, microsecond=0)
    publish(settings, now, decision(1))
    assert materialise_decisions(settings, s3, hour).counts.records == 1
    publish(settings, now, decision(2))
    assert materialise_decisions(settings, s3, hour).counts.records == 2
    assert find_breaks(s3, settings.s3.bucket, LOG, hour).within == ()


def test_a_message_that_is_not_a_decision_is_counted_and_leaves_no_gap(settings: Settings, s3: Any) -> None:
    publish_bytes(settings, HOUR, encode_decision(decision(1)), b"\xff\xff\xff", encode_decision(decision(2)))
    counts = materialise_decisions(settings, s3, HOUR).counts
    assert (counts.records, counts.decisions, counts.undecodable) == (3, 2, 1)
    assert find_breaks(s3, settings.s3.bucket, LOG, HOUR) == Breaks()


def test_consecutive_hours_are_continuous_even_with_none_between(settings: Settings, s3: Any) -> None:
    publish(settings, HOUR, decision(1), decision(2))
    publish(settings, NEXT + timedelta(hours=1), decision(3))
    for hour in (HOUR, NEXT, NEXT + timedelta(hours=1)):
        materialise_decisions(settings, s3, hour)
        assert find_breaks(s3, settings.s3.bucket, LOG, hour) == Breaks()


def test_decisions_that_arrived_after_their_hour_was_materialised_are_detected(settings: Settings, s3: Any) -> None:
    publish(settings, HOUR, decision(1))
    materialise_decisions(settings, s3, HOUR)
    publish(settings, HOUR + timedelta(seconds=5), decision(2), decision(3))
    publish(settings, NEXT, decision(4))
    materialise_decisions(settings, s3, NEXT)
    (found,) = find_breaks(s3, settings.s3.bucket, LOG, NEXT).seams
    assert "in neither hour" in found
    assert f"materialise {HOUR:%Y-%m-%dT%H} again" in found
    materialise_decisions(settings, s3, HOUR)
    assert find_breaks(s3, settings.s3.bucket, LOG, NEXT) == Breaks()


def test_an_object_that_lost_rows_is_detected(settings: Settings, s3: Any, tmp_path: Path) -> None:
    publish(settings, HOUR, *(decision(n) for n in range(1, 8)))
    materialise_decisions(settings, s3, HOUR)
    key, bucket = object_key(LOG, HOUR, 0), settings.s3.bucket
    s3.download_file(bucket, key, str(tmp_path / "whole"))
    whole = duckdb.read_parquet(str(tmp_path / "whole"))
    whole.filter("kafka_offset % 4 <> 2").write_parquet(str(tmp_path / "holed"))
    put_object(s3, bucket, key, tmp_path / "holed", stored_ranges(s3, bucket, LOG, HOUR)[0])
    assert any("missing" in found for found in find_breaks(s3, bucket, LOG, HOUR).within)


def test_objects_are_not_overwritten_after_retention_has_deleted_the_log(settings: Settings, s3: Any) -> None:
    publish(settings, HOUR, decision(1), decision(2), decision(3))
    offsets = materialise_decisions(settings, s3, HOUR).hour.ranges[0]
    before = etags(s3, settings, HOUR)
    admin = KafkaAdminClient(**connection(settings.kafka))
    admin.delete_records({TopicPartition(DECISIONS, 0): offsets.first + 2})
    admin.close()
    with pytest.raises(NotFound, match="retention has deleted them"):
        materialise_decisions(settings, s3, HOUR)
    assert etags(s3, settings, HOUR) == before


def test_a_topic_created_again_within_an_hour_keeps_what_was_materialised_of_the_first(
    settings: Settings, s3: Any, tmp_path: Path
) -> None:
    publish(settings, HOUR, decision(1), decision(2))
    materialise_decisions(settings, s3, HOUR)
    before = etags(s3, settings, HOUR)
    recreate(settings, DECISIONS)
    # Nothing of that hour is in the new log, and nothing is written.
    materialise_decisions(settings, s3, HOUR)
    assert etags(s3, settings, HOUR) == before
    publish(settings, HOUR, decision(3), decision(4), decision(5))
    for _ in range(2):
        assert materialise_decisions(settings, s3, HOUR).counts.records == 3
    parts = [part for part in stored_parts(s3, settings.s3.bucket, LOG, HOUR) if part.offsets.partition == 0]
    assert [part.offsets.count for part in parts] == [2, 3]
    found = [int(row["sequence"]) for part in parts for row in read_object(s3, settings, part.key, tmp_path)]
    assert found == [1, 2, 3, 4, 5]
    assert find_breaks(s3, settings.s3.bucket, LOG, HOUR) == Breaks()
    materialise_decisions(settings, s3, NEXT)
    assert find_breaks(s3, settings.s3.bucket, LOG, NEXT) == Breaks()


def read_object(s3: Any, settings: Settings, key: str, folder: Path) -> list[dict[str, Any]]:
    file = folder / key.rpartition("/")[2]
    s3.download_file(settings.s3.bucket, key, str(file))
    return list(duckdb.read_parquet(str(file)).order("kafka_offset").to_arrow_table().to_pylist())


def test_offsets_deleted_while_an_hour_is_read_are_never_skipped_silently(settings: Settings) -> None:
    publish(settings, HOUR, *(decision(n) for n in range(1, 10)))
    consumer = open_consumer(settings.kafka)
    wanted = offset_ranges(consumer, DECISIONS, int(HOUR.timestamp() * 1_000), int(NEXT.timestamp() * 1_000))[0]
    admin = KafkaAdminClient(**connection(settings.kafka))
    admin.delete_records({TopicPartition(DECISIONS, 0): wanted.first + 5})
    admin.close()
    with closing(consumer), pytest.raises(ServerUnavailable, match="no longer in the log"):
        list(read_range(consumer, DECISIONS, wanted))


def test_an_hour_that_kafka_no_longer_holds_is_refused(settings: Settings, s3: Any) -> None:
    publish(settings, HOUR, decision(1), decision(2))
    publish(settings, NEXT, decision(3))
    with closing(open_consumer(settings.kafka)) as consumer:
        (gone, *_) = offset_ranges(consumer, DECISIONS, int(HOUR.timestamp() * 1_000), int(NEXT.timestamp() * 1_000))
    admin = KafkaAdminClient(**connection(settings.kafka))
    admin.delete_records({TopicPartition(DECISIONS, 0): gone.next})
    admin.close()
    with pytest.raises(NotFound, match=f"no longer holds {HOUR:%Y-%m-%dT%H} of neardup.decisions"):
        materialise_decisions(settings, s3, HOUR)
    assert not stored_parts(s3, settings.s3.bucket, LOG, HOUR)
    materialise_decisions(settings, s3, NEXT)


def test_an_hour_that_was_never_materialised_is_reported(settings: Settings, s3: Any) -> None:
    with pytest.raises(ClientError):
        s3.head_bucket(Bucket=settings.s3.bucket)
    (found,) = find_breaks(s3, settings.s3.bucket, LOG, HOUR).within
    assert "materialise this hour" in found
