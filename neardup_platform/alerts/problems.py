"""Which problems are new and which are over, and the messages about them. Pure.

A problem may be given time to end by itself (`wait_ms`): nobody is told before, nor of its end. Time in which nobody
looked, as while the platform is down, does not count.

Problems of now, problems told before → **messages** → webhook, e-mail → problems told
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby

# A message names the first of a flood; the rest are counted.
MOST_TOLD = 20
MOST_TEXT = 1_500
# A line of a log may be as long as a screen.
MOST_LINE = 300
# Looks that are further apart than this are not one watch: something was down between them.
MOST_BETWEEN_MS = 600_000


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that needs a person.

    Attributes:
        key: the same as long as it is the same problem.
        title: one line.
        text: what is wrong, and the next step.
        link: to the page that shows it; empty for none.
        wait_ms: for how long it must be there before anybody is told.
        since_ms: when it was first seen, Unix milliseconds.
        seen_ms: when it was last seen.
        told: names of the ways by which people were told.
    """

    key: str
    title: str
    text: str
    link: str = ""
    wait_ms: int = 0
    since_ms: int = 0
    seen_ms: int = 0
    told: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent.

    Attributes:
        subject: one line.
        body: some lines of plain text.
    """

    subject: str
    body: str


def remembered(cursor: str | None) -> dict[str, Problem]:
    """The open problems, by key, from what `to_remember` returned; none if it cannot be read."""
    try:
        content = json.loads(cursor or "[]")
        return {each["key"]: Problem(**{**each, "told": tuple(each["told"])}) for each in content}
    except (ValueError, TypeError, KeyError):
        return {}


def to_remember(problems: Mapping[str, Problem]) -> str:
    """Open problems as text."""
    return json.dumps([asdict(problem) for problem in problems.values()])


def still_open(before: Mapping[str, Problem], now: Sequence[Problem], now_ms: int) -> dict[str, Problem]:
    """The problems of now, each with when it was first seen and who was told."""
    return {problem.key: _followed(problem, before.get(problem.key), now_ms) for problem in now}


def _followed(problem: Problem, known: Problem | None, now_ms: int) -> Problem:
    if known is None or (not known.told and now_ms - known.seen_ms > MOST_BETWEEN_MS):
        return replace(problem, since_ms=now_ms, seen_ms=now_ms)
    return replace(problem, since_ms=known.since_ms, seen_ms=now_ms, told=known.told)


def shortened(what: str, next_step: str) -> str:
    """The text of a problem: what is wrong, cut so that the next step is always left."""
    lines = (line if len(line) <= MOST_LINE else f"{line[:MOST_LINE]} …" for line in what.splitlines())
    return "\n".join(part for part in ("\n".join(lines)[: MOST_TEXT - len(next_step) - 1], next_step) if part)


def begun(problems: Sequence[Problem]) -> Message:
    """A message about problems that have begun, at least one."""
    first, *others = problems
    subject = f"Problem: {first.title}" + (f", and {len(others)} more" if others else "")
    return Message(subject, _listed(problems))


def over(problems: Sequence[Problem], now_ms: int) -> Message:
    """A message about problems that are over, at least one."""
    first, *others = problems
    if not others:
        return Message(f"Over: {first.title}", f"It lasted {_lasted(now_ms - first.since_ms)}")
    lines = [f"{each.title} (it lasted {_lasted(now_ms - each.since_ms)})" for each in problems[:MOST_TOLD]]
    return Message(f"Over: {first.title}, and {len(others)} more", "\n".join([*lines, *_rest(problems)]))


def _listed(problems: Sequence[Problem]) -> str:
    """Problems with the same text, one after the other, have it once: their titles, the text, their links."""
    # The subject has the title of one that is alone.
    named = len(problems) > 1
    parts = []
    for text, alike in groupby(problems[:MOST_TOLD], lambda each: each.text[:MOST_TEXT]):
        members = list(alike)
        lines = [*(each.title for each in members if named), text, *(each.link for each in members)]
        parts.append("\n".join(line for line in lines if line))
    return "\n\n".join([*parts, *_rest(problems)])


def _rest(problems: Sequence[Problem]) -> list[str]:
    return [f"and {len(problems) - MOST_TOLD} more"] if len(problems) > MOST_TOLD else []


def _lasted(duration_ms: int) -> str:
    minutes = round(duration_ms / 60_000)
    if not minutes:
        return "less than a minute"
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes / 60:.0f} h"
