"""Answers about what operators change: overrides, promotions, and results of the worker."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from neardup_platform.serving.answers.answer import Answer
from neardup_platform.store import store_pb2 as store_pb

OverrideAction = Literal["move", "alone", "forbid", "merge", "split", "quarantine"]

# Of stored names; the others are the same.
_ACTIONS: dict[str, OverrideAction] = {"link": "move"}


class Promotion(Answer):
    """One change of the active classifier."""

    version: str
    replaced: str = Field(description="the previous version")
    at_ms: int
    issued_by: str
    command_id: str
    sequence: int = Field(description="of the last decision of the previous version")
    forced: bool = Field(description="whether its metrics were worse")


class Promotions(Answer):
    """Every change of the active classifier, newest first."""

    promotions: list[Promotion]


class Override(Answer):
    """An operator's correction."""

    override_id: str
    action: OverrideAction = Field(
        description="move: the image belongs with the other; alone: it founds a cluster and joins none, others may "
        "join it; forbid: the two are never in one cluster; merge: two clusters are one; split: images have left for a "
        "cluster of their own; quarantine: no new image joins the cluster by its matches"
    )
    image_id: str = Field(
        description="merge: the head whose cluster was dissolved; split: the head of the images that left; quarantine: "
        "an image of the cluster"
    )
    other_id: str = Field(
        description="move: the image it belongs with; forbid: the image it is kept apart from; merge: the head whose "
        "cluster it went into; split: an image that stayed"
    )
    reason: str
    issued_by: str
    at_ms: int
    sequence: int = Field(description="of the last decision made before the override")
    image_ids: list[str] = Field(description="split: the other images that left; else empty")
    bank: str = Field(description="quarantine: the negative bank whose label this is; empty for an override by itself")


class Overrides(Answer):
    """A page of the active overrides, oldest first."""

    total: int
    overrides: list[Override]


class Ordered(BaseModel):
    """What the worker did, with the values of its result."""

    model_config = ConfigDict(frozen=True, extra="allow")

    command_id: str = Field(description="for a new override: its id")


def override_of(stored: store_pb.Override) -> Override:
    """A stored override as an answer."""
    return Override.of(stored, action=_ACTIONS.get(stored.action, stored.action), image_ids=list(stored.image_ids))
