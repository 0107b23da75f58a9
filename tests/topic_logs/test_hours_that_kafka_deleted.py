"""Claims about hours of which Kafka may have deleted messages before they were materialised."""

from datetime import UTC, datetime, timedelta

import pytest

from neardup_platform.errors import NotFound
from neardup_platform.kafka.window import OffsetRange
from neardup_platform.topic_logs.day_manifest import Rows, StoredPart
from neardup_platform.topic_logs.kafka_materialise import choose_keys, partly_held
from neardup_platform.topic_logs.topic_log import DECISIONS

HOUR = datetime(2026, 3, 1, 12, tzinfo=UTC)
BEFORE, DURING, AFTER = (int((HOUR + timedelta(minutes=m)).timestamp() * 1_000) for m in (-5, 30, 61))
PREVIOUS = {0: OffsetRange(0, 2, 7, log="a")}


@pytest.mark.parametrize(
    ("now", "held_ms", "previous", "expected"),
    [
        (OffsetRange(0, 0, 9), 0, {}, set()),
        (OffsetRange(0, 7, 9, begins=7), BEFORE, {}, set()),
        (OffsetRange(0, 7, 9, begins=5), DURING, {}, set()),
        (OffsetRange(0, 7, 9, begins=7), DURING, {}, {0}),
        (OffsetRange(0, 7, 9, begins=7, log="a"), DURING, PREVIOUS, set()),
        (OffsetRange(0, 8, 9, begins=8, log="a"), DURING, PREVIOUS, {0}),
        (OffsetRange(0, 7, 9, begins=7, log="b"), DURING, PREVIOUS, {0}),
        (OffsetRange(0, 7, 7, begins=7, log="a"), AFTER, PREVIOUS, set()),
    ],
)
def test_an_hour_is_whole_where_nothing_was_deleted_or_it_continues_the_one_before(
    now: OffsetRange, held_ms: int, previous: dict[int, OffsetRange], expected: set[int]
) -> None:
    assert partly_held(DECISIONS, [now], {0: held_ms}, previous, HOUR) == expected


def test_an_hour_before_the_oldest_message_is_refused() -> None:
    with pytest.raises(NotFound, match="materialise hours from 2026-03-01T13 on"):
        partly_held(DECISIONS, [OffsetRange(0, 7, 7, begins=7)], {0: AFTER}, {}, HOUR)


@pytest.mark.parametrize(
    ("rows", "says"),
    [(None, "s3://b/k holds offsets 2…6.*delete it to"), (Rows("day", 0, 5), "s3://b/day holds.*compacted day")],
)
def test_an_hour_of_which_kafka_holds_less_than_is_stored_is_refused(rows: Rows | None, says: str) -> None:
    stored = StoredPart("k", PREVIOUS[0], rows=rows)
    with pytest.raises(NotFound, match=says):
        choose_keys(DECISIONS, [stored], [OffsetRange(0, 4, 7, log="a")], "b", HOUR)
    assert choose_keys(DECISIONS, [stored], [OffsetRange(0, 2, 8, log="a")], "b", HOUR) == {0: "k"}
