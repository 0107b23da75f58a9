"""Pictures of files, folders and S3 prefixes, decoded and embedded batch by batch, each id once.

Paths → **embedded pictures** → Kafka (`kafka_pictures.py`) or a Parquet file (`embed_to_file`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from neardup_platform.errors import BadMessage, BadPicture
from neardup_platform.images.embedded_pictures import (
    EmbeddedBatch,
    EmbeddedPicture,
    PictureSource,
    Refused,
    embed_pictures,
)
from neardup_platform.images.embedder import Embedder
from neardup_platform.ingest.arrivals import Ingested, Progress, refusal
from neardup_platform.ingest.event_clock import EventClock
from neardup_platform.ingest.parquet_writer import write_embeddings
from neardup_platform.ingest.picture_sources import find_pictures
from neardup_platform.records import JoinedImage, Kind
from neardup_platform.scoring.active_models import ActiveModel
from neardup_platform.settings import Settings
from neardup_platform.wire.validation import checked_id


def picture_batches(
    paths: Sequence[str], embedders: Sequence[Embedder], settings: Settings, ingested: Ingested
) -> Iterator[EmbeddedBatch]:
    """Batches of embedded pictures, each id once; refused, repeated and skipped files are added to `ingested`.

    Args:
        paths: files, folders or `s3://` prefixes.
        embedders: one of each kind.
        settings: resolved, if a path is on S3.

    Raises:
        NotFound: a path does not exist.
    """
    seen: dict[str, EmbeddedPicture] = {}
    sources = map(_with_valid_id, find_pictures(paths, settings))
    for batch in embed_pictures(sources, embedders, settings.images, hashed=True):
        once = []
        for picture in batch.pictures:
            other = seen.setdefault(picture.image_id, replace(picture, vectors={}, preview=b""))
            if other.place == picture.place:
                once.append(picture)
            elif other.content == picture.content:
                ingested.repeated += 1
            else:
                reason = f"{other.place} has the id {picture.image_id!r} too: give a folder that contains both"
                ingested.refused.append(Refused(picture.place, reason))
        ingested.refused += batch.refused
        ingested.skipped.count(batch.skipped)
        yield replace(batch, pictures=once)


def embed_to_file(
    paths: Sequence[str], embedders: Sequence[Embedder], settings: Settings, file: Path, progress: Progress
) -> Ingested:
    """Decode and embed every picture under the paths, and write the vectors to Parquet instead of publishing them.

    Raises:
        NotFound: a path does not exist.
        BadArtefact: the file cannot be written.
    """
    ingested, clock = Ingested(), EventClock()
    models = {Kind(e.kind): ActiveModel(e.model_version, e.dim) for e in embedders}

    def images() -> Iterator[list[JoinedImage]]:
        for batch in picture_batches(paths, embedders, settings, ingested):
            good = []
            for picture in batch.pictures:
                source = picture.place if picture.place.startswith("s3://") else ""
                image = picture.embeddings(clock.after(0), source)
                if (reason := refusal(image, models, clock())) is None:
                    good.append(image)
                    ingested.images[image.image_id] = image.event_time_ms
                else:
                    ingested.refused.append(Refused(picture.place, reason))
            progress(batch.files)
            yield good

    write_embeddings(file, images(), {kind: model.spec for kind, model in models.items()})
    return ingested


def _with_valid_id(source: PictureSource) -> PictureSource:
    """The source itself; if its name cannot be an id, one that is refused when it is read."""
    try:
        checked_id(source.image_id)
    except BadMessage as error:
        problem = error.detail
    else:
        return source

    def read() -> bytes:
        source.read()
        raise BadPicture(f"its name cannot be an id: {problem}")

    return replace(source, read=read)
