"""Publishes pictures: their embeddings to Kafka, and before that their previews to S3.

Paths → embedded pictures → **previews on S3, messages on Kafka** → worker. A refused picture is reported and the rest
continues.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from neardup_platform.errors import ServerUnavailable
from neardup_platform.images.embedded_pictures import EmbeddedPicture, Refused
from neardup_platform.images.embedder import Embedder
from neardup_platform.ingest.arrivals import (
    Arrival,
    Ingested,
    KnownImage,
    Lookup,
    Models,
    Progress,
    arrival,
    refusal,
)
from neardup_platform.ingest.event_clock import EventClock
from neardup_platform.ingest.kafka_sender import Sender
from neardup_platform.ingest.picture_batches import picture_batches
from neardup_platform.kafka.topics import ensure_topics
from neardup_platform.records import JoinedImage
from neardup_platform.s3_client import ensure_bucket, open_s3
from neardup_platform.settings import Settings


def ingest_pictures(
    paths: Sequence[str],
    embedders: Sequence[Embedder],
    settings: Settings,
    models: Models,
    progress: Progress,
    *,
    lookup: Lookup = lambda _: None,
    replaces: bool = False,
) -> Ingested:
    """Decode, embed and publish every picture under the paths.

    Args:
        paths: files, folders or `s3://` prefixes.
        embedders: one of each kind.
        settings: resolved.
        models: what the worker accepts.
        progress: called with the number of pictures processed since the last call.
        lookup: called with each id.
        replaces: whether pictures replace others with the same id.

    Raises:
        NotFound: a path does not exist.
        ServerUnavailable: Kafka or S3 does not accept what is sent.
    """
    ensure_topics(settings.kafka)
    s3, bucket = open_s3(settings.s3), settings.s3.bucket
    ensure_bucket(s3, settings.s3)
    ingested, clock = Ingested(), EventClock()
    with Sender(settings) as sender, ThreadPoolExecutor(4, thread_name_prefix="preview") as pool:
        for batch in picture_batches(paths, embedders, settings, ingested):
            accepted: list[tuple[EmbeddedPicture, JoinedImage]] = []
            for picture in batch.pictures:
                uri, known = f"s3://{bucket}/{picture.preview_key}", lookup(picture.image_id)
                match _checked(picture, uri, known, replaces, models, clock):
                    case None:
                        ingested.repeated += 1
                    case Refused() as refused:
                        ingested.refused.append(refused)
                    case image:
                        accepted.append((picture, image))
            list(pool.map(lambda pair: _put_preview(s3, bucket, pair[0]), accepted))
            for _, image in accepted:
                sender.send(image)
                ingested.images[image.image_id] = image.event_time_ms
            progress(batch.files)
    ingested.places = sender.places
    return ingested


def _checked(
    picture: EmbeddedPicture, uri: str, known: KnownImage | None, replaces: bool, models: Models, clock: EventClock
) -> JoinedImage | Refused | None:
    """The image to publish, or why it is refused; None if its id already has the same picture."""
    action = arrival(picture, uri, known)
    if action is Arrival.REPEATED:
        return None
    if action is Arrival.CONFLICTING and not replaces:
        reason = f"another picture has the id {picture.image_id!r}: `neardup ingest --replace` replaces it"
        return Refused(picture.place, reason)
    # A replacement must be later than what it replaces, even if that had a time in the future.
    at_ms = clock.after(known.event_time_ms if known and replaces else 0)
    image = picture.embeddings(at_ms, uri, replaces=replaces)
    problem = refusal(image, models, clock())
    return image if problem is None else Refused(picture.place, problem)


def _put_preview(s3: Any, bucket: str, picture: EmbeddedPicture) -> None:
    key = picture.preview_key
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=picture.preview, ContentType="image/jpeg")
    except (BotoCoreError, ClientError) as error:
        raise ServerUnavailable(f"writing s3://{bucket}/{key} failed: {error}") from error
