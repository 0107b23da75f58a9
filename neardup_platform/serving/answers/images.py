"""Answers about one image, and about the clusters of many."""

from collections.abc import Collection, Sequence
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from neardup_platform import records
from neardup_platform.records import Decision
from neardup_platform.serving.answers.answer import Answer
from neardup_platform.serving.answers.banks import Label
from neardup_platform.serving.ids import checked_length
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.wire.codec import decision_event_id

# Ids in one `POST /v1/images:lookup`.
MAX_LOOKUP = 1_000


class Image(Answer):
    """Which cluster an image is in. Times are Unix milliseconds, scores are calibrated probabilities 0…1."""

    image_id: str
    head: str
    score: float = Field(description="pair score of the match that let it join; 0 for the founder")
    decision_id: str
    sequence: int
    event_time_ms: int
    decided_ms: int
    source_uri: str
    picture: str | None = Field(description="path of the picture, where one can be shown")
    held_apart: bool = Field(description="whether it was held apart from a guarded cluster; the explanation says why")
    undistinctive: bool = Field(
        description="whether it is plain or resembles much else, so that it needs a higher score to match"
    )
    kind: str = Field(description="kind of the match that let it join; empty for a founder, and where none is claimed")
    labels: list[Label] = Field(
        description="of its cluster now, at most 100; with `at`, those of its decision then, at most 16"
    )


class ImageIds(BaseModel):
    """The images to look up."""

    model_config = ConfigDict(extra="forbid")

    ids: list[Annotated[str, AfterValidator(checked_length)]] = Field(min_length=1, max_length=MAX_LOOKUP)


class Heads(Answer):
    """The clusters of many images."""

    heads: dict[str, str] = Field(description="image id to head, for the images that are known")
    unknown: list[str] = Field(description="ids that have not been decided, or were forgotten; in the order asked")


def past_answer(
    decision: Decision, head: str, record: store_pb.ImageRecord, picture: str | None, banks: Collection[str] | None
) -> Image:
    """The answer about one image at an earlier time, when it had this decision and its cluster this head.

    Its picture and where that is are those of now; earlier ones are not kept.
    """
    return Image.of(
        decision,
        head=head,
        decision_id=decision_event_id(decision.image_id, decision.sequence),
        source_uri=record.source_uri,
        picture=picture,
        held_apart=decision.guard is not None,
        labels=[label for label in decision.labels if banks is None or label.bank in banks],
    )


def image_answer(
    image_id: str, record: store_pb.ImageRecord, picture: str | None, labels: Sequence[records.Label]
) -> Image:
    """The answer about one image; `picture` is the path of its picture, `labels` are those of its cluster."""
    decision_id = decision_event_id(image_id, record.sequence)
    return Image.of(record, image_id=image_id, decision_id=decision_id, picture=picture, labels=list(labels))
