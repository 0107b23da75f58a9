"""Answers about what operators change: overrides, promotions, and results of the worker."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from neardup_platform.serving.answers.answer import Answer
from neardup_platform.store import store_pb2 as store_pb

_ACTIONS: dict[str, Literal["move", "alone", "forbid"]] = {"link": "move", "alone": "alone", "forbid": "forbid"}


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
    action: Literal["move", "alone", "forbid"]
    image_id: str
    other_id: str = Field(description="move: the image it belongs with; forbid: the image it is kept apart from")
    reason: str
    issued_by: str
    at_ms: int
    sequence: int = Field(description="of the last decision made before the override")


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
    return Override.of(stored, action=_ACTIONS[stored.action])
