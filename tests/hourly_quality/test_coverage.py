"""Claims about the coverage of an hour, from logs as they are written, with an API that answers or does not."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from neardup_platform.client.answers import Shadow
from neardup_platform.hourly_quality.coverage import Coverage, _in_shadow, judge_coverage
from neardup_platform.hourly_quality.duckdb_coverage import Fates, read_fates
from neardup_platform.kafka.record_block import LogRecord
from neardup_platform.records import Kind
from neardup_platform.settings import QualitySettings
from neardup_platform.topic_logs.topic_log import (
    DEAD_LETTERS,
    DECISIONS,
    EXPIRIES,
    LSH_EMBEDDINGS,
    PAIR_EMBEDDINGS,
    TopicLog,
)
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.topics import EMBEDDINGS

BEGIN = 1_000_000
END = BEGIN + 3_600_000
KINDS = {Kind.LSH: (LSH_EMBEDDINGS, pb.KIND_LSH), Kind.PAIR: (PAIR_EMBEDDINGS, pb.KIND_PAIR)}


class Written:
    """Logs, record by record."""

    def __init__(self) -> None:
        self.records: dict[TopicLog, list[LogRecord]] = {}

    def add(self, log: TopicLog, at_ms: int, message: Any) -> int:
        """Publish; returns the offset."""
        records = self.records.setdefault(log, [])
        records.append(LogRecord(0, len(records), at_ms, message.SerializeToString()))
        return len(records) - 1

    def announce(self, image_id: str, kind: Kind, at_ms: int) -> int:
        log, number = KINDS[kind]
        return self.add(log, at_ms, pb.EmbeddingReady(image_id=image_id, kind=number, vector=b"12"))

    def both(self, image_id: str, at_ms: int) -> int:
        self.announce(image_id, Kind.LSH, at_ms)
        return self.announce(image_id, Kind.PAIR, at_ms + 5)

    def decide(self, image_id: str, at_ms: int, cause: str = "") -> None:
        self.add(DECISIONS, at_ms, pb.Decision(event_id=image_id, image_id=image_id, head=image_id, cause=cause))

    def files(self, folder: Path) -> Mapping[TopicLog, Sequence[Path]]:
        for log, records in self.records.items():
            pq.write_table(log.table(records), folder / f"{log.name}.parquet")
        return {log: [folder / f"{log.name}.parquet"] for log in self.records}

    def fates(self, folder: Path) -> Fates:
        return read_fates(self.files(folder), BEGIN, END, folder)


@pytest.mark.parametrize("given_up", ["expired", "evicted"])
def test_every_image_has_one_fate(tmp_path: Path, given_up: str) -> None:
    logs = Written()
    logs.both("decided", BEGIN)
    logs.decide("decided", BEGIN + 105)
    logs.both("refused", BEGIN + 10)
    letter = pb.DeadLetter(event_id="d", topic=EMBEDDINGS[Kind.LSH], partition=0, reason="garbage")
    letter.offset = logs.announce("refused", Kind.LSH, BEGIN + 20)
    logs.add(DEAD_LETTERS, BEGIN + 30, letter)
    # What is given up is in the dead letters as well, where it can be replayed from; it was not refused.
    late = pb.DeadLetter(event_id="l", topic=EMBEDDINGS[Kind.PAIR], partition=0, reason=given_up)
    late.offset = logs.announce("expired", Kind.PAIR, BEGIN + 40)
    logs.add(DEAD_LETTERS, BEGIN + 50, late)
    report = pb.ExpiryReport(event_id="e")
    report.halves.add(image_id="expired", kind=pb.KIND_PAIR, reason=given_up)
    logs.add(EXPIRIES, BEGIN + 50, report)
    logs.announce("half", Kind.LSH, BEGIN + 60)
    logs.both("again", BEGIN + 70)
    logs.both("again", BEGIN + 80)
    # The other embedding came in the hour before.
    logs.announce("across", Kind.LSH, BEGIN - 900)
    logs.announce("across", Kind.PAIR, BEGIN + 90)
    logs.decide("across", BEGIN + 190)
    logs.both("earlier", BEGIN - 100)
    logs.both("later", END)
    # An operator moved it; that is no answer to an announcement.
    logs.both("moved", BEGIN + 95)
    logs.decide("moved", BEGIN + 96, cause="override")
    found = logs.fates(tmp_path)
    assert (found.announced, found.decided, found.refused, found.expired, found.incomplete) == (7, 2, 1, 1, 1)
    assert found.unexplained_ids == ("again", "moved")
    assert found.latency_ms == pytest.approx((100, 100, 100, 100))
    assert (found.lsh, found.pair) == (7, 7)


def test_an_hour_without_messages_is_covered(tmp_path: Path) -> None:
    found = Written().fates(tmp_path)
    assert found == Fates(0, 0, 0, 0, 0, 0, (), (), 0, 0, 0)
    assert coverage_of(found).share == 1
    assert not problems(coverage_of(found))


def test_latency_counts_from_the_later_embedding_and_percentiles_are_of_the_hour(tmp_path: Path) -> None:
    logs = Written()
    for number in range(100):
        logs.announce(f"i{number}", Kind.LSH, BEGIN)
        logs.announce(f"i{number}", Kind.PAIR, BEGIN + 1_000)
        logs.decide(f"i{number}", BEGIN + 1_000 + number)
    found = logs.fates(tmp_path)
    half, _, most, longest = found.latency_ms
    assert (half, most, longest) == pytest.approx((49.5, 98.01, 99))
    assert found.p99_least_ms == 94, "six of 100 are surely more than one in a hundred, five are not"


GOOD = Fates(1_000, 990, 5, 3, 2, 0, (), (20.0, 50.0, 90.0, 200.0), 1_000, 1_000)
SLOW = replace(GOOD, latency_ms=(9.0, 9.0, 1_500.0, 5_000.0))


def coverage_of(fates: Fates, known: int = 0, lost: Sequence[str] = (), unverified: int = 0) -> Coverage:
    hour = datetime(2026, 3, 1, 12, tzinfo=UTC)
    return Coverage(hour, hour + timedelta(hours=1), fates, known, len(lost), tuple(lost), unverified)


def problems(found: Coverage) -> dict[str, str]:
    return {v.name: v.problem for v in judge_coverage(found, QualitySettings()) if v.problem is not None}


def test_a_good_hour_has_no_problem() -> None:
    assert not problems(coverage_of(GOOD))
    assert not problems(coverage_of(replace(GOOD, unexplained=7), known=7))


def test_one_image_or_two_of_a_quiet_hour_are_no_problem() -> None:
    few = Fates(20, 17, 1, 1, 1, 0, (), (20.0, 50.0, 4_000.0, 5_000.0), 20, 20, 60.0)
    assert not problems(coverage_of(few))
    assert set(problems(coverage_of(replace(few, refused=4, expired=4)))) == {
        "few_are_refused",
        "both_embeddings_arrive",
    }


@pytest.mark.parametrize(
    ("check", "found", "says"),
    [
        ("every_image_is_decided", coverage_of(replace(GOOD, unexplained=2), lost=["a", "b"]), "a, b"),
        ("every_image_is_decided", coverage_of(replace(GOOD, unexplained=2), unverified=2), "start the API"),
        ("decisions_are_prompt", coverage_of(replace(GOOD, latency_ms=(9.0, 9.0, 1_001.0, 5_000.0))), "1,001 ms"),
        ("decisions_are_prompt", coverage_of(replace(SLOW, p99_least_ms=1_001.0)), "1,500 ms"),
        ("few_are_refused", coverage_of(replace(GOOD, refused=25)), "replay_dead_letters"),
        ("both_embeddings_arrive", coverage_of(replace(GOOD, incomplete=25, pair=400)), "the producer of pair"),
        ("both_embeddings_arrive", coverage_of(replace(GOOD, expired=25, lsh=400)), "the producer of lsh"),
    ],
)
def test_each_fault_is_found_by_its_check_alone(check: str, found: Coverage, says: str) -> None:
    ((name, problem),) = problems(found).items()
    assert name == check
    assert says in problem


def test_a_verdict_shows_what_it_compared() -> None:
    shown = {v.name: v.numbers for v in judge_coverage(coverage_of(GOOD), QualitySettings())}
    assert shown == {
        "every_image_is_decided": {"value": 0, "limit": 0},
        "decisions_are_prompt": {"value": 90, "limit": 1_000},
        "few_are_refused": {"value": 0.005, "limit": 0.01},
        "both_embeddings_arrive": {"value": 0.005, "limit": 0.01},
    }


def test_coverage_is_the_share_of_complete_images_that_are_decided_or_known() -> None:
    assert coverage_of(replace(GOOD, decided=90, unexplained=10), known=9, lost=["a"]).share == pytest.approx(0.99)


def test_an_hour_that_touches_a_shadow_is_unpublished_by_plan() -> None:
    def shadow(since_ms: int, until_ms: int = 0) -> Shadow:
        return Shadow("", since_ms, 0, until_ms, "", 0, "")

    assert not _in_shadow([], BEGIN, END)
    assert not _in_shadow([shadow(1, BEGIN), shadow(END)], BEGIN, END)
    for touching in (shadow(1), shadow(1, BEGIN + 1), shadow(END - 1), shadow(BEGIN + 5, BEGIN + 6)):
        assert _in_shadow([shadow(1, 2), touching], BEGIN, END)
