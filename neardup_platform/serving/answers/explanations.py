"""Answers about decisions: what was decided, and a summary in words."""

from collections.abc import Sequence

from pydantic import Field

from neardup_platform import records
from neardup_platform.counted import counted
from neardup_platform.records import QUARANTINED, Cause, Decision, MatchKind
from neardup_platform.serving.answers.answer import Answer
from neardup_platform.serving.answers.banks import Label
from neardup_platform.serving.answers.pairs import ExplainedPair
from neardup_platform.wire.codec import decision_event_id

_AGAIN: dict[str, str] = {
    Cause.RE_EMBEDDED: "Decided again for a newer embedding.",
    Cause.REPLACED: "Decided again because its embeddings were replaced.",
}

_KINDS: dict[str, str] = {
    MatchKind.SAME: "the same picture",
    MatchKind.ALTERED_COPY: "an altered copy",
    MatchKind.SAME_TEMPLATE: "another text on the same template",
    MatchKind.SAME_SCENE: "another view of the same scene",
}


class ComparedImage(Answer):
    """An image compared with the one asked for. An overlap of 0 was scored for the head check only."""

    image_id: str
    overlap: int = Field(description="equal terms")
    score: float
    head: str = Field(description="its cluster when it was compared")
    match: bool
    picture: str | None
    kind: str = Field(description="same, altered-copy, same-template or same-scene; empty where none is claimed")


class HeldApart(Answer):
    """The cluster that an image did not join: a large one, too few of whose members agree, or one in quarantine."""

    reason: str = Field(description="chain-suspected, quarantined")
    head: str = Field(description="of the cluster; the best one, if there were several")
    agreed: int = Field(description="members, of those compared, that score at least the head threshold with the image")
    compared: int = Field(description="members that the image was compared with, the head included")
    size: int = Field(description="members of the cluster at that time")


class Explanation(Answer):
    """A decision and everything it is based on."""

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
    bridges: list[str] = Field(description="heads of other clusters that contain a match; the image did not join them")
    threshold: float
    head_threshold: float
    terms_version: str
    classifier_version: str
    event_time_ms: int
    decided_ms: int
    latency_ms: int | None = Field(
        description="from the event to the decision; null if a command made the decision later"
    )
    cause: str = Field(
        description="empty for a decision of the stream; else override, handover, re-embedded, replaced, reprocess, "
        "repair, given"
    )
    override_id: str = Field(
        description="the override that decided; for a handover: the command that made it necessary; for a given head: "
        "the load"
    )
    replaced_head: str = Field(
        description="for a handover: the previous head of the cluster, which continues, alone or merged"
    )
    guard: HeldApart | None = Field(description="the cluster that the image was held apart from; null if none")
    undistinctive: bool = Field(
        description="whether it is plain or resembles much else, so that it needs a higher score to match"
    )
    corpus_images: int = Field(
        description="images before it, including those forgotten or embedded again; thresholds rise with it"
    )
    structures: list[ExplainedPair] = Field(
        [],
        description="where the image agrees with the match that let it join and with the head, computed now; empty for "
        "a founder and in a history",
    )
    kind: str = Field(description="kind of the match that let it join; empty for a founder, and where none is claimed")
    labels: list[Label] = Field(description="of the cluster when the image was put there, at most 16")
    cluster_labels: list[Label] = Field([], description="of its cluster now, at most 100; empty in a history")
    quarantined: bool = Field(
        False, description="whether its cluster is in quarantine now, so that no new image joins; false in a history"
    )


class History(Answer):
    """Every decision made about an image, oldest first."""

    image_id: str
    decisions: list[Explanation]


def explanation(decision: Decision, pictures: Sequence[str | None]) -> Explanation:
    """A decision as an answer.

    Args:
        decision: as stored.
        pictures: paths of the candidates' pictures, in order.
    """
    return Explanation.of(
        decision,
        decision_id=decision_event_id(decision.image_id, decision.sequence),
        summary=summary(decision),
        latency_ms=_latency_ms(decision),
        structures=[],
        labels=list(decision.labels),
        candidates=[
            ComparedImage.of(candidate, match=candidate.score >= decision.threshold, picture=picture)
            for candidate, picture in zip(decision.candidates, pictures, strict=True)
        ],
    )


def _latency_ms(decision: Decision) -> int | None:
    """How long the image waited for its decision; None if a command decided it again."""
    if decision.cause not in ("", Cause.RE_EMBEDDED, Cause.REPLACED):
        return None
    return max(0, decision.decided_ms - decision.event_time_ms)


def summary(decision: Decision) -> str:
    """The decision in up to four sentences."""
    if decision.cause == Cause.HANDOVER:
        return f"Heads the cluster of {decision.replaced_head} since command {decision.override_id}."
    if decision.cause == Cause.GIVEN:
        where = "Founded a cluster" if decision.founded else f"Put into the cluster of {decision.head}"
        return f"{where}, as load {decision.override_id} says; it was compared with nothing."
    sentences = [_AGAIN[decision.cause]] if decision.cause in _AGAIN else []
    sentences.append(_destination(decision))
    if decision.undistinctive:
        sentences.append("The picture is undistinctive, plain or like many others, so its thresholds are higher.")
    if decision.guard is not None:
        sentences.append(_held_apart(decision.guard))
    return " ".join(sentences)


def _held_apart(guard: records.HeldApart) -> str:
    members = counted(guard.size, "member")
    if guard.reason == QUARANTINED:
        return f"Held apart from the cluster of {guard.head}, which is in quarantine and had {members}."
    return (
        f"Held apart from the cluster of {guard.head}, which had {members}: only {guard.agreed} of the "
        f"{guard.compared} that it was compared with agree, so joining would make a chain."
    )


def _of_kind(decision: Decision) -> str:
    return f", {_KINDS[decision.kind]}," if decision.kind in _KINDS else ""


def _agreeing(decision: Decision) -> str:
    """The head that agreed: of a merged cluster, it may be another one than that of the decision."""
    with_head = next((each.score for each in decision.candidates if each.image_id == decision.head), None)
    if with_head is not None and with_head < decision.head_threshold <= decision.head_score:
        return f"another head of that cluster, which is merged, since it scores {with_head:.3f} against this one,"
    return "the head itself"


def _destination(decision: Decision) -> str:
    quarantined = decision.guard is not None and decision.guard.reason == QUARANTINED
    if decision.override_id and not decision.founded and not quarantined:
        # A loaded image has no thresholds: nothing was scored.
        scores = f"; against the head it scores {decision.head_score:.3f}" if decision.head_threshold else ""
        return f"Put into the cluster of {decision.head} by override {decision.override_id}{scores}."
    if decision.override_id and decision.founded:
        return f"Founded a cluster because override {decision.override_id} keeps it from joining another."
    if not decision.founded:
        return (
            f"Joined the cluster of {decision.head}: its best match there{_of_kind(decision)} scores "
            f"{decision.score:.3f}, at or above the threshold {decision.threshold:.3f}, and against "
            f"{_agreeing(decision)} it scores {decision.head_score:.3f}, at or above {decision.head_threshold:.3f}."
        )
    if decision.bridges:
        return (
            f"Founded a cluster: it matches images of {counted(len(decision.bridges), 'cluster')}, but scores below "
            f"{decision.head_threshold:.3f} against the head of each{', or is held apart' if decision.guard else ''}."
        )
    if decision.candidates_found:
        return (
            f"Founded a cluster: of {counted(decision.candidates_found, 'image')} sharing terms with it, none "
            f"scores {decision.threshold:.3f} or more."
        )
    return "Founded a cluster: no image shares a term with it."
