"""Claims about what a report says of a period, from measures alone."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from neardup_platform.errors import BadArtefact, BadCommand
from neardup_platform.hourly_quality.recall import Disagreement, MissedPair, Recall
from neardup_platform.hourly_quality.s3_coverage import decode_coverage, encode_coverage
from neardup_platform.hourly_quality.s3_recall import decode_recall, encode_recall
from neardup_platform.quality_report.in_words import (
    change,
    duration,
    headline,
    hours_in_words,
    issue_title,
    limits_of_knowledge,
    paragraph,
    percent,
)
from neardup_platform.quality_report.make_report import MOST_SAMPLED_HOURS, sampled_hours
from neardup_platform.quality_report.period import Period, parse_period
from neardup_platform.quality_report.s3_measures import Measures
from neardup_platform.quality_report.summary import Summary, needed_hours
from tests.quality_report.measured import AFTER, DAY, HOUR, WEEK, hour, hours, summary


def told(found: Summary) -> str:
    return " ".join([headline(found), *paragraph(found), *limits_of_knowledge(found)])


def test_a_good_day_is_well_and_compared_with_the_day_before() -> None:
    found = summary({**hours(DAY.before, joined=290), **hours(DAY, images=1_100)})
    assert found.state == "well"
    text = told(found)
    assert text.startswith("All is well. 26,400 images arrived, 10% more than on the day before, and every one of them")
    assert "27.3% were near-duplicates of images seen earlier (the day before: 29.0%); 19,200 were new." in text
    assert "99 of 100 at most 100 ms; in the slowest hour, from 00:00, 99 of 100 waited at most 100 ms." in text
    assert "No check of any hour failed." in text
    assert not limits_of_knowledge(found)


def test_what_was_not_found_is_an_issue_and_the_trend_says_how_much_was() -> None:
    measures = hours(DAY)
    bad = DAY.begin + 7 * HOUR
    measures[bad] = hour(bad, missed=(MissedPair("a", "b", 0.97),) * 50)
    found = summary(measures)
    (issue,) = found.issues
    assert (issue.name, issue.hours) == ("matches_are_found", (bad,))
    assert "50 of 100 matching pairs" in issue.text
    assert (found.totals.matches, found.totals.missed, found.totals.found_share) == (1_200, 50, 0.96)
    text = told(found)
    assert "Of a sample of 1,250 pairs of near-duplicates that arrived in the same hour, 96.0% were found" in text
    assert "100% of 2,400 images would be decided the same now." in text


def test_hours_in_which_the_api_did_not_answer_are_said_and_no_issue() -> None:
    measures = hours(DAY)
    measures[DAY.begin] = replace(measures[DAY.begin], recall=Recall(DAY.begin, unmeasured="no answer"))
    found = summary(measures)
    assert (found.state, found.issues) == ("well", ())
    assert "In 1 hour the API did not answer" in told(found)


def test_an_hour_of_an_earlier_release_has_no_recall_and_is_complete() -> None:
    measures = {at: replace(each, recall=None) for at, each in hours(DAY).items()}
    found = summary(measures)
    assert (found.state, found.missing, found.totals.found_share) == ("well", (), None)
    assert "sample" not in told(found)


def test_an_hour_with_few_before_it_is_judged_by_no_reference() -> None:
    """As its asset does: the first hours of a platform differ from each other."""
    measures = {DAY.begin: hour(DAY.begin, joined=50), DAY.begin + HOUR: hour(DAY.begin + HOUR, joined=600)}
    assert not summary(measures).issues
    later = DAY.begin + 3 * HOUR
    measures |= {DAY.begin + n * HOUR: hour(DAY.begin + n * HOUR, joined=50) for n in (1, 2)}
    assert [each.name for each in summary({**measures, later: hour(later, joined=600)}).issues] == [
        "as_many_are_duplicates"
    ]


def test_lost_images_need_attention_and_come_first() -> None:
    measures = {**hours(DAY.before), **hours(DAY)}
    for n in (14, 15, 20):
        start = DAY.begin + n * HOUR
        measures[start] = hour(start, lost=["a", "b"], refused=30)
    found = summary(measures)
    assert found.state == "act"
    first, second = found.issues
    assert (first.name, first.severe, len(first.hours)) == ("every_image_is_decided", True, 3)
    assert "a, b" in first.text
    assert (second.name, second.severe) == ("few_are_refused", False)
    assert hours_in_words(first.hours, with_day=False) == "14:00 to 16:00, 20:00 to 21:00"
    text = told(found)
    assert text.startswith(
        "This needs attention: images may be missing. What needs attention: images got no decision in 3 hours; "
        "many images were refused in 3 hours."
    )
    assert "Of them 99.6% were decided; 6 got lost and 90 were refused." in text


def test_missing_hours_are_named_and_left_out_of_the_comparison() -> None:
    measures = {**hours(DAY.before), **hours(DAY)}
    for n in (3, 4, 23):
        del measures[DAY.begin + n * HOUR]
    found = summary(measures)
    assert found.state == "look"
    assert (found.totals.announced, found.before.announced) == (21_000, 21_000)
    assert limits_of_knowledge(found) == [
        "3 hours of 24 are not measured and missing in these numbers: 03:00 to 05:00, 23:00 to 24:00."
    ]
    half = summary({**hours(DAY), DAY.begin: Measures(hour(DAY.begin).coverage)})
    assert half.missing == (DAY.begin,), "coverage without drift"


def test_hours_that_are_missing_are_no_fault_and_said_first() -> None:
    found = summary({DAY.begin: hour(DAY.begin, images=0)})
    assert (found.state, found.issues) == ("look", ())
    assert told(found).startswith(
        "Nothing is wrong in what was measured; some hours were not. No image arrived in the hours that were measured."
    )


def test_a_day_without_traffic_is_quiet() -> None:
    found = summary({**hours(DAY.before), **hours(DAY, images=0)})
    assert found.state == "quiet"
    assert told(found) == "A quiet time: no image arrived. No check of any hour failed."


def test_a_day_without_measures_says_that_nothing_is_known() -> None:
    found = summary({})
    assert found.state == "unknown"
    assert told(found) == "Nothing is known about this time: none of its hours is measured."


def test_a_first_day_begins_with_its_first_hour_and_misses_none_before_it() -> None:
    measures = {start: hour(start) for start in DAY.hours[9:]}
    found = summary(measures)
    assert found.state == "well"
    assert not found.missing
    assert limits_of_knowledge(found) == [
        "Measuring began at 09:00.",
        "Nothing is known about the day before, so there is nothing to compare with.",
    ]


def test_a_day_that_is_not_over_is_compared_with_as_much_of_the_day_before() -> None:
    found = summary({**hours(DAY.before), **hours(DAY)}, now=DAY.begin + 5 * HOUR + timedelta(minutes=30))
    assert (found.totals.announced, found.before.announced) == (5_000, 5_000)
    assert limits_of_knowledge(found) == ["The day is not over: this is about its first 5 hours."]


def test_a_week_sums_up_its_days() -> None:
    start = WEEK.begin + 100 * HOUR
    measures = {**hours(WEEK.before), **hours(WEEK)}
    measures[start] = hour(start, latency_ms=(60.0, 900.0, 4_000.0, 9_000.0))
    found = summary(measures, WEEK, WEEK.end)
    assert found.totals.announced == 168_000
    assert [totals.announced for _, totals in found.days] == [24_000] * 14
    assert "in the slowest hour, from Friday 04:00, 99 of 100 waited at most 4.0 s" in told(found)
    assert hours_in_words([WEEK.begin + n * HOUR for n in (23, 24)], with_day=True) == "Monday 23:00 to Tuesday 01:00"
    assert "in the week before" in told(found)


def test_drift_is_judged_against_the_24_hours_before() -> None:
    scores = (600, *(20,) * 20)
    measures = hours(DAY.before, scores=scores) | hours(DAY, scores=scores)
    start = DAY.begin + 6 * HOUR
    measures[start] = hour(start, scores=(100, *(45,) * 20))
    found = summary(measures)
    assert [(issue.name, issue.hours) for issue in found.issues] == [("scores_are_as_before", (start,))]
    assert found.hours[5].drift is not None
    assert found.hours[5].drift.score_psi == pytest.approx(0, abs=0.001)
    assert set(needed_hours(DAY)) >= {DAY.before.begin - 24 * HOUR, DAY.hours[-1], DAY.end - timedelta(days=14)}


def test_a_check_that_the_report_does_not_know_is_named() -> None:
    assert issue_title("recall_is_high") == "The check “recall is high” failed"


def test_examples_of_a_week_are_from_the_hours_where_most_was_held_apart() -> None:
    measures = hours(WEEK)
    chosen = WEEK.hours[40:70]
    for start in chosen:
        measures[start] = hour(start, held_apart=1)
    found = summary(measures, WEEK, WEEK.end)
    sampled = sampled_hours(found.hours)
    assert len(sampled) == MOST_SAMPLED_HOURS
    assert set(sampled) <= set(chosen)
    assert sampled == sorted(sampled)


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0%"), (1, "100%"), (0.999_9, "over 99.9%"), (0.000_1, "under 0.1%"), (0.305, "30.5%")]
)
def test_no_share_is_rounded_to_all_or_none(share: float, text: str) -> None:
    assert percent(share) == text


def test_changes_and_durations_read_as_people_say_them() -> None:
    assert [change(now, 100) for now in (100, 104, 80, 250)] == ["as many", "4% more", "20% fewer", "2.5 times as many"]
    assert change(5, 0) == "none before"
    assert [duration(ms) for ms in (12.4, 1_234, 600_000)] == ["12 ms", "1.2 s", "10 minutes"]


@pytest.mark.parametrize(
    ("day", "week", "expected"),
    [
        ("2025-11-26", None, DAY),
        (None, "2025-W48", WEEK),
        (None, None, Period("day", datetime(2025, 11, 26, tzinfo=UTC))),
    ],
)
def test_periods_are_named_as_iso_names_them(day: str | None, week: str | None, expected: Period) -> None:
    found = parse_period(day, week, AFTER)
    assert found == expected
    assert found.name == (day or week or "2025-11-26")
    assert (DAY.title, WEEK.title) == ("Wednesday, 26 November 2025", "Week 48: 24 to 30 November 2025")
    assert Period("week", datetime(2025, 12, 29, tzinfo=UTC)).title == "Week 1: 29 December to 4 January 2026"


@pytest.mark.parametrize(
    ("day", "week"), [("2025-02-30", None), ("yesterday", None), (None, "2025-W60"), ("2025-11-28", None), ("x", "y")]
)
def test_a_period_that_cannot_be_is_refused(day: str | None, week: str | None) -> None:
    with pytest.raises(BadCommand):
        parse_period(day, week, AFTER)


def test_coverage_is_kept_and_read_back_with_fields_of_later_versions_left_out() -> None:
    found = hour(DAY.begin, lost=["a"], refused=2).coverage
    assert found is not None
    content = encode_coverage(found)
    kept = replace(found, fates=replace(found.fates, unexplained_ids=()))
    assert decode_coverage({**content, "recall": 0.99}, "x") == kept
    for damaged in ({}, {**content, "version": 2}, {**content, "fates": {}}, [], {**content, "hour": "noon"}):
        with pytest.raises(BadArtefact, match="materialise that hour of quality/coverage again"):
            decode_coverage(damaged, "x")


def test_recall_is_kept_as_it_was_measured() -> None:
    found = Recall(
        DAY.begin,
        matches=3,
        missed=(MissedPair("a", "b", 0.9),),
        disagreements=(Disagreement("a", "b", 0.1, "c", 0.2),),
    )
    content = json.loads(json.dumps(encode_recall(found)))
    assert decode_recall({**content, "of a later release": 1}, "x") == found
    for wrong in (None, {}, {**content, "version": 2}, {**content, "missed": [["a"]]}):
        with pytest.raises(BadArtefact, match="recall of the hour"):
            decode_recall(wrong, "of the hour")
