"""What is wrong with the figures of a worker, and only then."""

import pytest

from neardup_platform.supervise.worker_checks import CHECKS, MOST_LAG, judge

WELL = {
    "lag": 40.0,
    "received": 1_000.0,
    "dead_lettered": 3.0,
    "watermark_delay_ms": 6_000.0,
    "id_space_left_ratio": 0.9,
}


def problems(now: dict[str, float], before: dict[str, float] | None = None) -> dict[str, str]:
    return {check.name: problem for check, problem in judge(now, before or {}) if problem is not None}


def test_a_worker_that_is_well_has_no_problem() -> None:
    assert problems(WELL) == {}
    assert problems({}) == {}, "a worker that has just started reports little"


@pytest.mark.parametrize(
    ("figure", "value", "check", "words"),
    [
        ("lag", MOST_LAG + 1.0, "keeps_up", "12,001 messages wait"),
        ("partitions_unread", 2.0, "reads_every_partition", "2 partitions exist and are not read"),
        ("messages_lost", 5.0, "loses_no_message", "5 messages were deleted before they were read"),
        ("messages_truncated", 4.0, "loses_no_message", "the broker lost 4"),
        ("index_problem", 1.0, "writes_its_index", "cannot be written"),
        ("purge_problem", 1.0, "purges_what_is_forgotten", "could not be removed"),
        ("shadow", 1.0, "publishes_decisions", "in shadow since 1970-01-01 00:00 UTC: 0 decisions"),
        ("unpublishable_kept", 1.0, "publishes_everything", "Kafka refused 1"),
        ("id_space_left_ratio", 0.05, "has_numbers_left", "5% of the ordinals"),
        ("dead_lettered", 11.0, "uses_its_messages", "11 dead_lettered, 0 expired, 0 evicted of 1,000"),
    ],
)
def test_each_figure_has_its_problem(figure: str, value: float, check: str, words: str) -> None:
    found = problems(WELL | {figure: value})
    assert list(found) == [check]
    assert words in found[check]


def test_messages_count_since_the_report_before() -> None:
    before = {"received": 10_000.0, "expired": 900.0}
    assert problems({"received": 11_000.0, "expired": 905.0}, before) == {}
    assert (
        "50 expired, 0 evicted of 1,000 messages"
        in problems({"received": 11_000.0, "expired": 950.0}, before)["uses_its_messages"]
    )
    # A rollback restores lower counters.
    assert problems({"received": 500.0, "expired": 2.0}, before) == {}


def test_a_watermark_that_stays_behind_is_a_problem_and_one_that_catches_up_after_a_stop_is_none() -> None:
    behind = WELL | {"watermark_delay_ms": 130_000.0}
    assert problems(behind) == {}, "at a start, it is as old as the last message before the stop"
    assert problems(WELL, behind) == {}
    assert "130 s behind" in problems(behind, behind)["watermark_advances"]
    assert list(problems(behind | {"lag": MOST_LAG + 1.0}, behind)) == ["keeps_up"], "one problem, and not two"
    catching_up = behind | {"idle_clock_behind_ms": 124_000.0}
    assert problems(catching_up, catching_up) == {}


def test_a_pause_is_no_lag() -> None:
    assert problems({"lag": 1e6, "watermark_delay_ms": 1e7, "paused": 1.0}, {"watermark_delay_ms": 1e7}) == {}


def test_every_check_says_what_to_do() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert all(check.next_step.endswith((".", "”.")) and check.claim.endswith(".") for check in CHECKS)
