"""Claims about counting decisions in Parquet files, those of earlier versions among them."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from neardup_platform.decisions_log.duckdb_decisions import count_decisions, decided_alike, first_decisions
from neardup_platform.kafka.record_block import LogRecord
from neardup_platform.topic_logs.topic_log import DECISIONS as LOG
from neardup_platform.wire import neardup_pb2 as pb

GUARD = pb.HeldApart(reason="chain-suspected", head="a", agreed=1, compared=9, size=12)
DECISIONS = [
    pb.Decision(event_id="1", sequence=1, image_id="a", head="a", classifier_version="v", threshold=0.8),
    pb.Decision(event_id="2", sequence=2, image_id="b", head="b", bridges=["a"], guard=GUARD),
    pb.Decision(
        event_id="3",
        sequence=3,
        image_id="c",
        head="a",
        classifier_version="v",
        threshold=0.9,
        undistinctive=True,
        corpus_images=2,
    ),
    pb.Decision(
        event_id="4",
        sequence=4,
        image_id="d",
        head="a",
        classifier_version="v",
        threshold=0.9,
        undistinctive=True,
        corpus_images=5,
        cause="override",
    ),
]
TABLE = LOG.table([LogRecord(0, n, 1_000, each.SerializeToString()) for n, each in enumerate(DECISIONS)])


def test_labels_are_a_column() -> None:
    label = pb.Label(
        label_id="l1", bank="one", image_id="a", policy="hate", action="block", pdq=b"\xab" * 32, distance=3
    )
    labelled = pb.Decision(event_id="5", image_id="e", head="a", labels=[label])
    rows = LOG.table([LogRecord(0, 0, 1_000, labelled.SerializeToString())]).to_pylist()
    expected = {"label_id": "l1", "bank": "one", "image_id": "a", "policy": "hate", "action": "block"}
    assert rows[0]["labels"] == [expected | {"pdq": b"\xab" * 32, "distance": 3}]
    assert TABLE.to_pylist()[0]["labels"] == []


@pytest.fixture
def now(tmp_path: Path) -> Path:
    pq.write_table(TABLE, tmp_path / "now.parquet")
    return tmp_path / "now.parquet"


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """A file written before clusters were guarded and thresholds rose."""
    pq.write_table(TABLE.drop_columns(["guard", "undistinctive", "corpus_images"]), tmp_path / "before.parquet")
    return tmp_path / "before.parquet"


def test_decisions_that_held_an_image_apart_are_counted(now: Path) -> None:
    counts = count_decisions([now])
    assert (counts.decisions, counts.clusters_founded, counts.joined, counts.held_apart) == (4, 2, 2, 1)


def test_a_repeat_is_counted_once(now: Path) -> None:
    assert (count_decisions([now, now]).records, count_decisions([now, now]).held_apart) == (8, 1)


def test_an_earlier_file_is_counted_alone_and_beside_a_present_one(before: Path, now: Path) -> None:
    assert (count_decisions([before]).decisions, count_decisions([before]).held_apart) == (4, 0)
    together = count_decisions([before, now])
    assert (together.records, together.decisions, together.held_apart) == (8, 4, 1)
    assert [row["sequence"] for row in first_decisions([before, now], 10)] == [1, 1, 2, 2, 3, 3, 4, 4]


def test_decisions_of_the_stream_are_counted_by_threshold_once_and_not_those_of_earlier_versions(
    before: Path, now: Path
) -> None:
    assert count_decisions([now, now]).undistinctive == 2
    alike = decided_alike([now, now, before])
    assert [(each.classifier, each.undistinctive, each.images, each.decisions) for each in alike] == [
        ("", False, 0.0, 1),
        ("v", False, 0.0, 1),
        ("v", True, 2.0, 1),
    ]
    assert [each.threshold for each in alike] == pytest.approx([0.0, 0.8, 0.9])
