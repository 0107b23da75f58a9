"""What to do with a picture that arrives under an id: publish it, count it as repeated, or refuse it. Pure.

Everything is checked as the worker checks it (`wire/validation.py`), so nothing is published that the worker would
refuse for its content. Whether the id already has another picture is known from the API, if it answers; only the worker
knows for certain.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from neardup_platform.errors import BadMessage
from neardup_platform.images.embedded_pictures import EmbeddedPicture, Refused, preview_folder
from neardup_platform.ingest.kafka_sender import Places
from neardup_platform.ingest.skipped_files import Skipped
from neardup_platform.records import JoinedImage, Kind
from neardup_platform.scoring.active_models import ActiveModel
from neardup_platform.wire.validation import checked_embedding

# Called with the number of pictures or rows processed since the last call.
Progress = Callable[[int], None]
Models = Mapping[Kind, ActiveModel]


@dataclass(frozen=True, slots=True)
class KnownImage:
    """An image as the store has it."""

    source_uri: str
    event_time_ms: int


# Looks an id up; None if it is unknown, or if the API does not answer.
Lookup = Callable[[str], KnownImage | None]


@dataclass(slots=True)
class Ingested:
    """What was published and what was not.

    Attributes:
        images: published ids with their event times.
        repeated: pictures that were not published because their id already has the same picture.
        places: where the published messages are.
    """

    images: dict[str, int] = field(default_factory=dict)
    repeated: int = 0
    refused: list[Refused] = field(default_factory=list)
    skipped: Skipped = field(default_factory=Skipped)
    places: Places = field(default_factory=Places)


class Arrival(Enum):
    """What to do with a picture."""

    PUBLISH = "publish"
    REPEATED = "repeated"
    CONFLICTING = "conflicting"


def arrival(picture: EmbeddedPicture, uri: str, known: KnownImage | None) -> Arrival:
    """What to do with a picture, given what is stored under its id.

    Args:
        uri: where its preview will be stored; it identifies the picture and the models.
    """
    if known is None:
        return Arrival.PUBLISH
    if known.source_uri == uri:
        return Arrival.REPEATED
    folder = uri[: uri.index(preview_folder(picture.image_id))] + preview_folder(picture.image_id)
    if not known.source_uri.startswith(folder):
        # From another producer, or without a preview: only the worker can compare.
        return Arrival.PUBLISH
    same_picture = known.source_uri.removeprefix(folder).startswith(picture.content[:32])
    return Arrival.PUBLISH if same_picture else Arrival.CONFLICTING


def refusal(image: JoinedImage, models: Models, now_ms: int) -> str | None:
    """Why the worker would refuse an image; None if it would accept it."""
    try:
        for kind, model in models.items():
            checked_embedding(image.embedding(kind), model.spec, now_ms, model.newer)
    except BadMessage as error:
        return str(error)
    return None
