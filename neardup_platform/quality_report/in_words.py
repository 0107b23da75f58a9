"""A period in plain words: the first paragraph of its report, and what the checks are called there. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from neardup_platform.quality_report.summary import Issue, Summary, Totals

_HEADLINES = {
    "well": "All is well.",
    "look": "Mostly well; something needs a look.",
    "act": "This needs attention: images may be missing.",
    "quiet": "A quiet time: no image arrived.",
    "unknown": "Nothing is known about this time: none of its hours is measured.",
}
_ISSUES = {
    "every_image_is_decided": "Images got no decision",
    "decisions_are_prompt": "Decisions were slow",
    "few_are_refused": "Many images were refused",
    "both_embeddings_arrive": "Embeddings were missing",
    "scores_are_as_before": "Scores are spread differently than before",
    "scores_fit_the_classifier": "The pictures are no longer those that the classifier began with",
    "terms_are_as_before": "Many pictures have the same terms",
    "embeddings_are_as_before": "Pictures, or the model that describes them, changed",
    "as_many_are_duplicates": "The share of duplicates changed",
    "no_cluster_is_flooded": "One cluster took most duplicates",
    "one_version_decides": "The classifier or the term space changed",
    "matches_are_found": "Near-duplicates were not found",
    "decisions_are_repeatable": "Images would be decided differently now",
}
# Hours that a sentence names; more are counted.
_NAMED_HOURS = 6


def issue_title(name: str) -> str:
    """What a check that failed is called; for one that is new here, its name."""
    return _ISSUES.get(name, f"The check “{name.replace('_', ' ')}” failed")


def headline(found: Summary) -> str:
    """How the period was, in one sentence."""
    if found.state == "look" and not found.issues:
        return "Nothing is wrong in what was measured; some hours were not."
    return _HEADLINES[found.state]


def paragraph(found: Summary) -> list[str]:
    """How the period was, in sentences that follow the headline."""
    now, before = found.totals, found.before if found.compared else None
    sentences = []
    if found.issues:
        sentences.append(f"What needs attention: {'; '.join(map(_issue, found.issues))}.")
    if now.announced:
        sentences += [
            _arrived(now, before, found.period.kind),
            *_prompt(found),
            *_duplicates(now, before, found),
            *_recall(now),
        ]
    elif now.measured and found.state != "quiet":
        sentences.append("No image arrived in the hours that were measured.")
    if now.measured and not found.issues:
        sentences.append("No check of any hour failed.")
    return sentences


def limits_of_knowledge(found: Summary) -> list[str]:
    """What the numbers leave out, in sentences."""
    sentences, span = [], f"the {found.period.kind} before"
    with_day = found.period.kind == "week"
    if found.totals.hours < 24 * found.period.days:
        sentences.append(f"The {found.period.kind} is not over: this is about its first {found.totals.hours} hours.")
    if found.began:
        sentences.append(f"Measuring began at {_moment(found.began, with_day)}.")
    if found.missing and found.totals.measured:
        be = "is" if len(found.missing) == 1 else "are"
        sentences.append(
            f"{counted(len(found.missing), 'hour')} of {found.totals.hours} {be} not measured and missing in these "
            f"numbers: {hours_in_words(found.missing, with_day=with_day)}."
        )
    if found.totals.unsampled:
        sentences.append(
            f"In {counted(found.totals.unsampled, 'hour')} the API did not answer, and it is not known whether all "
            "near-duplicates were found."
        )
    if found.totals.measured and not found.compared:
        sentences.append(f"Nothing is known about {span}, so there is nothing to compare with.")
    elif found.totals.measured and found.before.measured < found.totals.measured:
        sentences.append(f"Of the same hours of {span}, {found.before.measured:,} are measured.")
    return sentences


def hours_in_words(hours: Sequence[datetime], *, with_day: bool) -> str:
    """Some hours, ascending, as times from their beginning to their end: `03:00 to 05:00, 09:00 to 10:00`."""
    runs: list[list[datetime]] = []
    for hour in hours:
        if runs and (hour - runs[-1][-1]).total_seconds() == 3_600:
            runs[-1].append(hour)
        else:
            runs.append([hour])
    named = [_run(run, with_day) for run in runs[:_NAMED_HOURS]]
    more = sum(map(len, runs[_NAMED_HOURS:]))
    return ", ".join(named) + (f" and {more} more" if more else "")


def counted(number: int, what: str) -> str:
    """A number with its noun, as `1 image`, `2,000 images`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def duration(ms: float) -> str:
    """Milliseconds as people say them."""
    if ms < 1_000:
        return f"{ms:,.0f} ms"
    return f"{ms / 1_000:,.1f} s" if ms < 120_000 else f"{ms / 60_000:,.0f} minutes"


def percent(share: float) -> str:
    """A share as a percentage; what rounds to none or all but is not is said so."""
    for edge, text in ((0.0, "under 0.1%"), (1.0, "over 99.9%")):
        if share != edge and abs(share - edge) < 0.0005:
            return text
    return f"{share:.1%}" if share not in (0.0, 1.0) else f"{share:.0%}"


def change(now: float, before: float) -> str:
    """How a number differs from an earlier one, as `4% more`."""
    if not before:
        return "none before"
    ratio = now / before
    if abs(ratio - 1) < 0.005:
        return "as many"
    if ratio >= 2:
        return f"{ratio:,.1f} times as many"
    return f"{abs(ratio - 1):.0%} {'more' if ratio > 1 else 'fewer'}"


def _arrived(now: Totals, before: Totals | None, kind: str) -> str:
    compared = ""
    if before and before.announced:
        span = "on the day before" if kind == "day" else "in the week before"
        said = change(now.announced, before.announced)
        compared = f", {said} {'as' if said.endswith('many') else 'than'} {span}"
    missed = [
        f"{number:,} {one if number == 1 else more}"
        for number, one, more in (
            (now.lost, "got lost", "got lost"),
            (now.unverified, "could not be looked up", "could not be looked up"),
            (now.refused, "was refused", "were refused"),
            (now.unpaired, "lacks one of its two embeddings", "lack one of their two embeddings"),
        )
        if number
    ]
    arrived = f"{counted(now.announced, 'image')} arrived{compared}"
    if not missed:
        return f"{arrived}, and {'it was' if now.announced == 1 else 'every one of them was'} decided."
    *others, last = missed
    listed = f"{', '.join(others)} and {last}" if others else last
    return f"{arrived}. Of them {percent(now.decided_share or 0.0)} were decided; {listed}."


def _prompt(found: Summary) -> list[str]:
    now = found.totals
    if now.p50_ms is None or now.p99_ms is None or now.slowest_ms is None or now.slowest is None:
        return []
    at = _moment(now.slowest, found.period.kind == "week")
    text = (
        f"In a typical hour, half of them waited at most {duration(now.p50_ms)} for their decision, and 99 of 100 at "
        f"most {duration(now.p99_ms)}; in the slowest hour, from {at}, 99 of 100 waited at most "
        f"{duration(now.slowest_ms)}."
    )
    return [text]


def _duplicates(now: Totals, before: Totals | None, found: Summary) -> list[str]:
    if now.joined_share is None:
        return []
    earlier = ""
    if before and before.joined_share is not None:
        earlier = f" (the {found.period.kind} before: {percent(before.joined_share)})"
    text = (
        f"{percent(now.joined_share)} were near-duplicates of images seen earlier{earlier}; {now.founded:,} "
        f"{'was' if now.founded == 1 else 'were'} new."
    )
    return [text]


def _recall(now: Totals) -> list[str]:
    if now.found_share is None:
        return []
    text = (
        f"Of a sample of {counted(now.matches + now.missed, 'pair')} of near-duplicates that arrived in the same hour, "
        f"{percent(now.found_share)} were found"
    )
    if now.agreement is None:
        return [f"{text}."]
    return [f"{text}; {percent(now.agreement)} of {counted(now.decided_again, 'image')} would be decided the same now."]


def _issue(issue: Issue) -> str:
    title = issue_title(issue.name)
    return f"{title[0].lower()}{title[1:]} in {counted(len(issue.hours), 'hour')}"


def _run(run: list[datetime], with_day: bool) -> str:
    end = run[-1] + timedelta(hours=1)
    until = f"{end:%H}:00" if end.hour else "24:00"
    if with_day and run[-1].date() != run[0].date():
        until = f"{run[-1]:%A} {until}"
    return f"{_moment(run[0], with_day)} to {until}"


def _moment(hour: datetime, with_day: bool) -> str:
    return f"{hour:%A %H}:00" if with_day else f"{hour:%H}:00"
