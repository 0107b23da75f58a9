"""Answers about clusters and their members."""

from pydantic import Field

from neardup_platform.serving.answers.answer import Answer
from neardup_platform.serving.answers.banks import Label
from neardup_platform.serving.answers.changes import Override

_REDIRECTED = "the head that was asked for, if the cluster has another head now"


class _Totals(Answer):
    head: str
    size: int
    created_ms: int
    updated_ms: int


class Cluster(_Totals):
    """A cluster; its id is the id of its head."""

    representatives: list[str] = Field(
        description="members that searches compare with, oldest first, including the head"
    )
    redirected_from: str | None = Field(description=_REDIRECTED)
    labels: list[Label] = Field(description="of images in it, at most 100")
    quarantines: list[Override] = Field(
        description="overrides by which no new image joins it by its matches, at most 100"
    )


class Member(Answer):
    """One image of a cluster."""

    image_id: str
    score: float
    decided_ms: int
    picture: str | None
    kind: str = Field(description="kind of the match that let it join; empty for a founder, and where none is claimed")


class Members(Answer):
    """A page of members, oldest first."""

    head: str
    size: int
    members: list[Member]
    next_cursor: str | None = Field(description="pass it as `cursor` to get the next page; null on the last page")
    redirected_from: str | None = Field(description=_REDIRECTED)


class ListedCluster(_Totals):
    """A cluster with its first members, as far as they were asked for."""

    members: list[Member] = Field(description="oldest first; the head is one of them, but not always the first")


class RecentClusters(Answer):
    """Clusters of two or more images, the one that changed last first."""

    clusters: list[ListedCluster]


class Clusters(Answer):
    """A page of clusters of two or more images."""

    clusters: list[ListedCluster]
    next_cursor: str | None = Field(
        description="pass it as `cursor`, with the same order and filters, to get the next page; null on the last page"
    )
