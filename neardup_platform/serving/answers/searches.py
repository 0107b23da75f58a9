"""Search by example: what a request searches for, and the answer."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from neardup_platform.serving.answers.answer import Answer
from neardup_platform.serving.answers.banks import Label
from neardup_platform.serving.answers.explanations import HeldApart
from neardup_platform.serving.answers.pairs import ImageId


class SearchExample(BaseModel):
    """An example without a picture: an image of the store, or both embeddings of one."""

    model_config = ConfigDict(extra="forbid")

    image_id: ImageId | None = Field(None, description="of an image of the store, compared with all others")
    lsh: list[float] | None = Field(None, min_length=1, description="with `pair`, instead of an id")
    pair: list[float] | None = Field(None, min_length=1, description="with `lsh`, instead of an id")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        vectors = [vector for vector in (self.lsh, self.pair) if vector is not None]
        if (self.image_id is None) == (not vectors) or len(vectors) == 1:
            raise ValueError("an example is either image_id, or both lsh and pair")
        return self


class FoundImage(Answer):
    """A stored image that matches the example."""

    image_id: str
    head: str
    score: float
    overlap: int
    picture: str | None
    kind: str = Field(description="same, altered-copy, same-template or same-scene; empty where none is claimed")


class SearchAnswer(Answer):
    """What is known about an example. A search changes nothing."""

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
    guard: HeldApart | None = Field(
        description="the cluster, guarded or in quarantine, that it would be held apart from; null if none"
    )
    undistinctive: bool = Field(
        description="whether it is plain or resembles much else, so that it needs a higher score to match"
    )
    override_id: str = Field(description="the quarantine without which it would go elsewhere; empty if none acts")
    labels: list[Label] = Field(description="of the cluster that it would join, at most 100")
