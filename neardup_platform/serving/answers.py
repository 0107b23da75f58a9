"""What the API answers, as the models that OpenAPI is made of, and how stored records become them. Pure."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from neardup_platform.records import Cause, Decision
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.wire.codec import decision_event_id


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class Image(_Answer):
    """Which cluster an image is in. Times are Unix milliseconds, scores calibrated probabilities 0…1."""

    image_id: str
    head: str
    score: float = Field(description="pair score of the match that let it join; 0 for the founder")
    decision_id: str
    sequence: int
    event_time_ms: int
    decided_ms: int
    source_uri: str
    picture: str | None = Field(description="path of the picture, where one can be shown")


class _ClusterTotals(_Answer):
    head: str
    size: int
    created_ms: int
    updated_ms: int


class Cluster(_ClusterTotals):
    """A cluster; its id is the id of its head."""

    representatives: list[str] = Field(description="members that searches look at, oldest first, the head among them")
    redirected_from: str | None = Field(description="the head that was asked for, where the cluster has another now")


class Member(_Answer):
    """One image of a cluster."""

    image_id: str
    score: float
    decided_ms: int
    picture: str | None


class Members(_Answer):
    """A page of members, oldest first."""

    head: str
    size: int
    members: list[Member]
    next_cursor: str | None = Field(description="pass it as `cursor` for the next page; null at the end")
    redirected_from: str | None = Field(description="as of the cluster")


class RecentCluster(_ClusterTotals):
    """A cluster with its first members."""

    members: list[Member]


class RecentClusters(_Answer):
    """Clusters of two or more, the one that changed last first."""

    clusters: list[RecentCluster]


class ComparedImage(_Answer):
    """An image compared with the one asked for. An overlap of 0 was scored for the head check only."""

    image_id: str
    overlap: int = Field(description="equal terms")
    score: float
    head: str = Field(description="its cluster when it was compared")
    match: bool
    picture: str | None


class Explanation(_Answer):
    """A decision and everything it rests on."""

    decision_id: str
    sequence: int
    image_id: str
    head: str
    founded: bool
    summary: str
    score: float
    head_score: float
    candidates: list[ComparedImage]
    candidates_found: int
    bridges: list[str] = Field(description="heads of other clusters that held a match; not acted upon")
    threshold: float
    head_threshold: float
    terms_version: str
    classifier_version: str
    event_time_ms: int
    decided_ms: int
    latency_ms: int | None = Field(
        description="from the event to the decision; null where it was made later, by a command"
    )
    cause: str = Field(
        description="empty for the stream's own; override, handover, re-embedded, replaced, reprocess, repair"
    )
    override_id: str = Field(description="the override that acted; of a hand-over: the command that led to it")
    replaced_head: str = Field(description="of a hand-over: what the cluster was called before")


class History(_Answer):
    """Every decision made about an image, oldest first."""

    image_id: str
    decisions: list[Explanation]


class SearchVectors(BaseModel):
    """Both embeddings of an example, for people who bring vectors rather than pictures."""

    model_config = ConfigDict(extra="forbid")

    lsh: list[float] = Field(min_length=1)
    pair: list[float] = Field(min_length=1)


class FoundImage(_Answer):
    """A stored image that matches the example."""

    image_id: str
    head: str
    score: float
    overlap: int
    picture: str | None


class SearchAnswer(_Answer):
    """What is known of an example; nothing is changed by asking."""

    seen_before: bool = Field(description="whether any stored image matches")
    cluster: str | None = Field(description="the cluster that it would join now; null if it would found one")
    score: float
    head_score: float
    matches: list[FoundImage]
    candidates_found: int
    threshold: float
    head_threshold: float
    images_searched: int
    stage_ms: dict[str, float]


class WorkerStatus(_Answer):
    """The worker's last sign of life."""

    pid: int
    phase: str
    alive: bool
    started_ms: int
    heartbeat_age_s: float
    figures: dict[str, float]
    classifier_version: str
    progress: str


class ActiveModel(_Answer):
    """What embeddings of one kind must be."""

    version: str
    dim: int
    newer: list[str] = Field(description="other versions that are accepted, oldest first (join.newer_lsh, newer_pair)")


class Status(_Answer):
    """Totals, and how fresh they are."""

    ready: bool
    images: int
    clusters: int
    sequence: int
    state_digest: str
    terms_version: str
    classifier_version: str = Field(description="of the classifier in force; empty while no worker has told")
    models: dict[Literal["lsh", "pair"], ActiveModel] = Field(description="what embeddings must be, by kind")
    positions: dict[str, int] = Field(description="`topic[partition]` to the next offset to be read, as committed")
    paused_by: str = Field(description="who told the worker to read no embeddings for now; empty: it reads them")
    paused_ms: int = Field(description="since when; 0: it reads them")
    counters: dict[str, int]
    refresh_age_ms: int
    worker: WorkerStatus | None


class Promotion(_Answer):
    """One change of the classifier in force."""

    version: str
    replaced: str = Field(description="the version before")
    at_ms: int
    issued_by: str
    command_id: str
    sequence: int = Field(description="of the last decision that the version before has made")
    forced: bool = Field(description="although its figures were worse")


class Promotions(_Answer):
    """Every change of the classifier in force, the newest first."""

    promotions: list[Promotion]


class Override(_Answer):
    """What an operator has laid down about images."""

    override_id: str
    action: Literal["move", "alone", "forbid"]
    image_id: str
    other_id: str = Field(description="move: the image it belongs with; forbid: the one it is kept apart from")
    reason: str
    issued_by: str
    at_ms: int
    sequence: int = Field(description="of the last decision made before it")


class Overrides(_Answer):
    """A page of the overrides in force, oldest first."""

    total: int
    overrides: list[Override]


class Ordered(BaseModel):
    """What the worker has done, and what else it says of it."""

    model_config = ConfigDict(frozen=True, extra="allow")

    command_id: str = Field(description="of a new override: its id")


class Check(_Answer):
    """One condition, and what is the matter where it does not hold."""

    ok: bool
    detail: str


class Readiness(_Answer):
    """Ready when all checks hold. `search` warms up after that and is not waited for."""

    ready: bool
    checks: dict[Literal["store", "freshness", "worker"], Check]
    search: Check


class Health(_Answer):
    """The process is alive."""

    status: Literal["ok"] = "ok"


class InvalidPart(BaseModel):
    """One thing wrong with a request."""

    where: str
    message: str


class Problem(BaseModel):
    """An error, as of RFC 9457."""

    type: str = Field(description="a reference to what it means, relative to this server")
    title: str
    status: int
    detail: str
    instance: str | None = None
    errors: list[InvalidPart] | None = None


def image_answer(image_id: str, record: store_pb.ImageRecord, picture: str | None) -> Image:
    """The answer about one image; `picture` is the path of its picture."""
    return Image(
        image_id=image_id,
        head=record.head,
        score=record.score,
        decision_id=decision_event_id(image_id, record.sequence),
        sequence=record.sequence,
        event_time_ms=record.event_time_ms,
        decided_ms=record.decided_ms,
        source_uri=record.source_uri,
        picture=picture,
    )


def explanation(decision: Decision, pictures: Sequence[str | None]) -> Explanation:
    """A decision as an answer.

    Args:
        decision: as stored.
        pictures: paths of the candidates' pictures, in order.
    """
    return Explanation(
        decision_id=decision_event_id(decision.image_id, decision.sequence),
        sequence=decision.sequence,
        image_id=decision.image_id,
        head=decision.head,
        founded=decision.founded,
        summary=summary(decision),
        score=decision.score,
        head_score=decision.head_score,
        candidates=[
            ComparedImage(
                image_id=candidate.image_id,
                overlap=candidate.overlap,
                score=candidate.score,
                head=candidate.head,
                match=candidate.score >= decision.threshold,
                picture=picture,
            )
            for candidate, picture in zip(decision.candidates, pictures, strict=True)
        ],
        candidates_found=decision.candidates_found,
        bridges=list(decision.bridges),
        threshold=decision.threshold,
        head_threshold=decision.head_threshold,
        terms_version=decision.terms_version,
        classifier_version=decision.classifier_version,
        event_time_ms=decision.event_time_ms,
        decided_ms=decision.decided_ms,
        latency_ms=_latency_ms(decision),
        cause=decision.cause,
        override_id=decision.override_id,
        replaced_head=decision.replaced_head,
    )


def _latency_ms(decision: Decision) -> int | None:
    """How long the image waited for the decision; None where a command decided it again."""
    if decision.cause not in ("", Cause.RE_EMBEDDED, Cause.REPLACED):
        return None
    return max(0, decision.decided_ms - decision.event_time_ms)


def summary(decision: Decision) -> str:
    """The decision in a sentence or two."""
    if decision.cause == Cause.HANDOVER:
        return f"Heads the cluster of {decision.replaced_head}, which left it by command {decision.override_id}."
    if decision.cause == Cause.RE_EMBEDDED:
        return f"Decided again for a newer embedding. {_whereto(decision)}"
    if decision.cause == Cause.REPLACED:
        return f"Decided again because its embeddings were replaced. {_whereto(decision)}"
    return _whereto(decision)


def _whereto(decision: Decision) -> str:
    if decision.override_id and not decision.founded:
        return (
            f"Put into the cluster of {decision.head} by override {decision.override_id}; against the head it scores "
            f"{decision.head_score:.3f}."
        )
    if decision.override_id:
        return f"Founded a cluster because override {decision.override_id} keeps it from joining another."
    if not decision.founded:
        return (
            f"Joined the cluster of {decision.head}: its best match there scores {decision.score:.3f}, at or "
            f"above the threshold {decision.threshold:.3f}, and against the head itself it scores "
            f"{decision.head_score:.3f}, at or above {decision.head_threshold:.3f}."
        )
    if decision.bridges:
        return (
            f"Founded a cluster: it matches images of {len(decision.bridges)} cluster(s), but scores below "
            f"{decision.head_threshold:.3f} against every head of them."
        )
    if decision.candidates_found:
        return (
            f"Founded a cluster: none of the {decision.candidates_found} image(s) sharing terms with it "
            f"scores {decision.threshold:.3f} or more."
        )
    return "Founded a cluster: no image shares a term with it."


_ACTIONS: dict[str, Literal["move", "alone", "forbid"]] = {"link": "move", "alone": "alone", "forbid": "forbid"}


def override_of(stored: store_pb.Override) -> Override:
    """A stored override as the API tells it."""
    return Override(
        override_id=stored.override_id,
        action=_ACTIONS[stored.action],
        image_id=stored.image_id,
        other_id=stored.other_id,
        reason=stored.reason,
        issued_by=stored.issued_by,
        at_ms=stored.at_ms,
        sequence=stored.sequence,
    )


def promotion_of(stored: store_pb.Promotion) -> Promotion:
    """A stored promotion as the API tells it."""
    return Promotion(
        version=stored.version,
        replaced=stored.replaced,
        at_ms=stored.at_ms,
        issued_by=stored.issued_by,
        command_id=stored.command_id,
        sequence=stored.sequence,
        forced=stored.forced,
    )
