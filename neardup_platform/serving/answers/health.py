"""Answers about the platform itself: totals, readiness, the worker."""

from typing import Literal

from pydantic import Field

from neardup_platform.serving.answers.answer import Answer


class WorkerStatus(Answer):
    """The worker's last heartbeat."""

    pid: int
    phase: str = Field(description="of its last heartbeat; `paused` where its process has ended because of a pause")
    alive: bool
    started_ms: int
    heartbeat_age_s: float
    figures: dict[str, float]
    classifier_version: str
    progress: str


class ActiveModel(Answer):
    """What embeddings of one kind must be."""

    version: str
    dim: int
    newer: list[str] = Field(description="other versions that are accepted, oldest first (join.newer_lsh, newer_pair)")


class Shadow(Answer):
    """A time in which decisions were stored and not published."""

    by: str = Field(description="who began it; empty: the settings of a new store")
    since_ms: int
    withheld: int = Field(description="decisions made in it")
    until_ms: int = Field(description="when a cut-over ended it; 0 while it lasts")
    ended_by: str
    until_sequence: int = Field(description="of its last decision: later ones are published; 0 while it lasts")
    reason: str = Field(description="why it was ended, as far as one was given")


class Status(Answer):
    """Totals, and how fresh they are."""

    ready: bool
    images: int
    clusters: int
    sequence: int
    state_digest: str
    terms_version: str
    classifier_version: str = Field(description="of the active classifier; empty until a worker has reported it")
    models: dict[Literal["lsh", "pair"], ActiveModel] = Field(description="what embeddings must be, by kind")
    positions: dict[str, int] = Field(description="`topic[partition]` to the next offset to be read, as committed")
    paused_by: str = Field(description="who paused the stream; empty while it runs")
    paused_ms: int = Field(description="when the stream was paused; 0 while it runs")
    counters: dict[str, int]
    refresh_age_ms: int
    worker: WorkerStatus | None
    in_shadow: bool = Field(description="whether decisions are stored and not published, beside another pipeline")
    shadows: list[Shadow] = Field(description="the last ten times of it, oldest first; the last may last")


class Check(Answer):
    """One condition, and why it does not hold."""

    ok: bool
    detail: str


class Readiness(Answer):
    """Ready when all checks hold. `search` warms up later and does not count."""

    ready: bool
    checks: dict[Literal["store", "freshness", "worker"], Check]
    search: Check


class Health(Answer):
    """The process is alive."""

    status: Literal["ok"] = "ok"
