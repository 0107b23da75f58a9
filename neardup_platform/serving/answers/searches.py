"""Search by example: the vectors of a request, and the answer."""

from pydantic import BaseModel, ConfigDict, Field

from neardup_platform.serving.answers.answer import Answer
from neardup_platform.serving.answers.banks import Label
from neardup_platform.serving.answers.explanations import HeldApart


class SearchVectors(BaseModel):
    """Both embeddings of an example, for clients that have vectors rather than pictures."""

    model_config = ConfigDict(extra="forbid")

    lsh: list[float] = Field(min_length=1)
    pair: list[float] = Field(min_length=1)


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
