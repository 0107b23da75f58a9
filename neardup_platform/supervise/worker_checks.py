"""What must hold for the figures of the stream worker, and what to do where it does not. Pure.

Metrics of the heartbeat → **verdicts** → checks of the asset `stream/worker`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

Metrics = Mapping[str, float]

# A minute of 100 images a second, two embeddings each.
MOST_LAG = 12_000
# Of the messages received between two reports.
MOST_UNUSED_SHARE = 0.01
# Well above `join.idle_s`, by which the watermark is behind when all is well.
MOST_WATERMARK_DELAY_S = 120
LEAST_ID_SPACE = 0.1
# Three reports to Dagster; whatever restarts by itself has been restarted by then.
MOST_SILENCE_S = 900


@dataclass(frozen=True, slots=True)
class WorkerCheck:
    """One claim about the figures.

    Attributes:
        name: of the check.
        claim: what holds when all is well.
        severe: whether decisions are missing or will be, rather than late.
        next_step: what an operator does, and where that is described.
        problem: what is wrong with a report, given the one before or an empty one; None if nothing is.
    """

    name: str
    claim: str
    severe: bool
    next_step: str
    problem: Callable[[Metrics, Metrics], str | None]


class Verdict(NamedTuple):
    """A check, and what is wrong; None if nothing is."""

    check: WorkerCheck
    problem: str | None


def _zero(name: str, problem: str) -> Callable[[Metrics, Metrics], str | None]:
    """The problem of a figure that is not 0; its text has a place for the figure."""
    return lambda now, _: problem.format(int(now.get(name, 0))) if now.get(name, 0) else None


def _lag(now: Metrics, _: Metrics) -> str | None:
    lag = 0 if now.get("paused", 0) else now.get("lag", 0)
    return f"{lag:,.0f} messages wait to be taken up, more than {MOST_LAG:,}" if lag > MOST_LAG else None


def _lost(now: Metrics, _: Metrics) -> str | None:
    lost, truncated = now.get("messages_lost", 0), now.get("messages_truncated", 0)
    if not lost + truncated:
        return None
    return f"{lost:,.0f} messages were deleted before they were read, and the broker lost {truncated:,.0f} after that"


def _unused(now: Metrics, before: Metrics) -> str | None:
    def rise(name: str) -> float:
        # After a rollback counters are lower than before: count from 0.
        return now.get(name, 0) - before.get(name, 0) * (now.get(name, 0) >= before.get(name, 0))

    counts = {name: rise(name) for name in ("dead_lettered", "expired", "evicted")}
    unused, received = sum(counts.values()), rise("received")
    if unused <= MOST_UNUSED_SHARE * max(received, 1.0):
        return None
    return f"{', '.join(f'{count:,.0f} {name}' for name, count in counts.items())} of {received:,.0f} messages"


def _watermark(now: Metrics, before: Metrics) -> str | None:
    # One report is no sign: at a start it is as old as the last message before the stop. A backlog is told as lag.
    excused = now.get("paused", 0) or now.get("lag", 0) > MOST_LAG
    delay_s = 0 if excused else min(_expiry_delay_s(each) for each in (now, before))
    return f"the watermark is {delay_s:,.0f} s behind: nothing expires" if delay_s > MOST_WATERMARK_DELAY_S else None


def _expiry_delay_s(report: Metrics) -> float:
    """How far the watermark is behind, apart from what quiet partitions have to catch up with after a stop."""
    return (report.get("watermark_delay_ms", 0) - report.get("idle_clock_behind_ms", 0)) / 1_000


def _id_space(now: Metrics, _: Metrics) -> str | None:
    left = now.get("id_space_left_ratio", 1.0)
    return f"{left:.0%} of the ordinals or sequence numbers are left" if left < LEAST_ID_SPACE else None


def _shadow(now: Metrics, _: Metrics) -> str | None:
    if not now.get("shadow", 0):
        return None
    since = datetime.fromtimestamp(now.get("shadow_since_ms", 0) / 1_000, UTC)
    withheld = int(now.get("withheld", 0))
    return f"in shadow since {since:%Y-%m-%d %H:%M} UTC: {withheld:,} decisions were stored and not published"


# A report is the end of it: only an end of the process is a problem.
STAYS_ALIVE = WorkerCheck(
    "stays_alive",
    "No worker process has crashed or stalled since the last report.",
    False,
    "Nothing, if it stays with one: another process was started. If it repeats, the log of the run `stream_worker` "
    "has the last lines of each; see “Something broke”.",
    lambda _now, _before: None,
)

CHECKS = (
    STAYS_ALIVE,
    WorkerCheck(
        "keeps_up", f"At most {MOST_LAG:,} messages wait.", False, "See “Lag grows” in the documentation.", _lag
    ),
    WorkerCheck(
        "reads_every_partition",
        "Every partition of the input topics is read.",
        True,
        "See “Partitions that are not read” in the documentation.",
        _zero("partitions_unread", "{} partitions exist and are not read; nothing expires meanwhile"),
    ),
    WorkerCheck(
        "loses_no_message",
        "No message was deleted before it was read.",
        True,
        "Produce them again; then let retention outlast the longest stop of the worker.",
        _lost,
    ),
    WorkerCheck(
        "uses_its_messages",
        f"At most {MOST_UNUSED_SHARE:.0%} of the messages since the last report are dead-lettered, expired or evicted.",
        False,
        "`neardup dead-letter list` shows reasons; see “Dead letters” and “Unpaired embeddings expire”.",
        _unused,
    ),
    WorkerCheck(
        "watermark_advances",
        f"The watermark is at most {MOST_WATERMARK_DELAY_S} s behind, apart from what it catches up with after a stop "
        "or reads behind a lag.",
        False,
        "See “Unpaired embeddings expire” in the documentation.",
        _watermark,
    ),
    WorkerCheck(
        "writes_its_index",
        "Segments of the term index can be written.",
        True,
        "See “The disk is full” in the documentation.",
        _zero("index_problem", "segments of the term index cannot be written"),
    ),
    WorkerCheck(
        "purges_what_is_forgotten",
        "Bytes of forgotten images are removed from disk.",
        True,
        "Restart the worker, which tries again; see “Forget an image”.",
        _zero("purge_problem", "bytes of forgotten images could not be removed from disk"),
    ),
    WorkerCheck(
        "publishes_everything",
        "Kafka takes every message, or its dead letter.",
        True,
        "See “Dead letters” in the documentation.",
        _zero("unpublishable_kept", "Kafka refused {} messages, and the dead letters about them"),
    ),
    WorkerCheck(
        "publishes_decisions",
        "Decisions are published; in shadow, beside another pipeline, they are not.",
        False,
        "Nothing, while you compare; `handover/parity` says when the job `cut_over` may end it. See “Hand over from "
        "another pipeline”.",
        _shadow,
    ),
    WorkerCheck(
        "has_numbers_left",
        f"At least {LEAST_ID_SPACE:.0%} of the numbers that are never reused are left.",
        False,
        "Launch the job `reprocess`, which numbers images again; see “Decide everything again”.",
        _id_space,
    ),
)


def _silence(now: Metrics, _: Metrics) -> str | None:
    silent_s = now["silent_s"]
    return f"no report for {silent_s / 60:,.0f} minutes: nothing is decided" if silent_s > MOST_SILENCE_S else None


REPORTS = WorkerCheck(
    "reports",
    f"The worker is paused, or has reported within {MOST_SILENCE_S // 60} minutes.",
    True,
    "The log of the newest run of `stream_worker` has the worker's last lines. If no run is active, the last tick of "
    "the sensor `stream_worker_sensor` says why it starts none; see “Something broke”.",
    _silence,
)


def judge_silence(silent_s: float) -> Verdict:
    """Check how long the worker, which is not paused, has not reported, in seconds."""
    return Verdict(REPORTS, REPORTS.problem({"silent_s": silent_s}, {}))


def judge_end(what: str) -> Verdict:
    """The verdict on a worker process that ended unplanned; `what` happened to it."""
    return Verdict(STAYS_ALIVE, what)


def judge(now: Metrics, before: Metrics) -> list[Verdict]:
    """Check a report of the worker; `before` is the report before it, empty if there is none."""
    return [Verdict(check, check.problem(now, before)) for check in CHECKS]
