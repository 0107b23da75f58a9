"""One round of telling people: what has begun since the last one, and what is over."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from neardup_platform.alerts.channels import Send
from neardup_platform.alerts.problems import Problem, begun, over, still_open
from neardup_platform.errors import ServerUnavailable


@dataclass(frozen=True, slots=True)
class Round:
    """What a round did.

    Attributes:
        problems: to remember for the next one, by key: those that are open, and those over of which somebody was told
            that they had begun and could not be told that they are over.
        sent: messages.
        failures: why others were not, one line each.
    """

    problems: dict[str, Problem]
    sent: int
    failures: tuple[str, ...]


def tell(before: Mapping[str, Problem], now: Sequence[Problem], ways: Mapping[str, Send], now_ms: int) -> Round:
    """Send one message by each way about what has begun, and one about what is over.

    A way that fails is tried again in the next round; who was told that a problem began is told that it is over.

    Args:
        before: `problems` of the round before.
        now: every problem there is now.
        ways: to send a message, by name.
        now_ms: the clock, Unix milliseconds.
    """
    open_now = still_open(before, now, now_ms)
    gone = {key: problem for key, problem in before.items() if key not in open_now}
    sent, failures = 0, []
    for name, send in ways.items():
        new = [problem for problem in open_now.values() if name not in problem.told and _due(problem, now_ms)]
        ended = [problem for problem in gone.values() if name in problem.told]
        try:
            if new:
                send(begun(new))
                sent += 1
                open_now |= {each.key: replace(each, told=(*each.told, name)) for each in new}
            if ended:
                send(over(ended, now_ms))
                sent += 1
                gone |= {each.key: replace(each, told=tuple(set(each.told) - {name})) for each in ended}
        except ServerUnavailable as error:
            failures.append(f"{name}: {error}")
    waiting = {key: problem for key, problem in gone.items() if set(problem.told) & ways.keys()}
    return Round({**waiting, **open_now}, sent, tuple(failures))


def _due(problem: Problem, now_ms: int) -> bool:
    return now_ms - problem.since_ms >= problem.wait_ms
