"""Publishes embeddings, and pictures' previews to S3 before them; what is refused is named, the rest goes on.

Everything is checked as the worker checks it (wire/validation.py), so nothing is published that it refuses for what
it is. Whether another picture has the id already is asked of the API where it answers; the worker knows for certain.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from neardup_platform.errors import BadArtefact, BadMessage, BadPicture, ServerUnavailable
from neardup_platform.images.embedder import Embedder
from neardup_platform.images.embedding import (
    EmbeddedBatch,
    EmbeddedPicture,
    PictureSource,
    Refused,
    embed_pictures,
    preview_folder,
)
from neardup_platform.ingest.kafka_sender import Places, Sender
from neardup_platform.ingest.parquet_embeddings import EmbeddingFile, Missing
from neardup_platform.ingest.parquet_writer import write_embeddings
from neardup_platform.ingest.picture_sources import find_pictures
from neardup_platform.ingest.skipped import Skipped
from neardup_platform.kafka.topics import ensure_topics
from neardup_platform.records import JoinedImage, Kind
from neardup_platform.s3_client import ensure_bucket, open_s3
from neardup_platform.scoring.active_models import ActiveModel
from neardup_platform.settings import Settings
from neardup_platform.wire.validation import checked_embedding, checked_id

_PARQUET_ROWS = 4_096

Progress = Callable[[int], None]
Models = Mapping[Kind, ActiveModel]


@dataclass(frozen=True, slots=True)
class KnownImage:
    """What the store says of an image."""

    source_uri: str
    event_time_ms: int


# What is known of an id; None: nothing, or nobody can say.
AskKnown = Callable[[str], KnownImage | None]


@dataclass(slots=True)
class Ingested:
    """What was published and what was not.

    Attributes:
        images: ids published, with their event times.
        repeated: pictures that were not published because their id has the very same picture.
        places: where what was published lies.
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
    """What to do with a picture under an id of which this is known.

    Args:
        uri: where its preview is to lie; it names the picture and the models.
    """
    if known is None:
        return Arrival.PUBLISH
    if known.source_uri == uri:
        return Arrival.REPEATED
    folder = uri[: uri.index(preview_folder(picture.image_id))] + preview_folder(picture.image_id)
    if not known.source_uri.startswith(folder):
        # Of a producer of its own, or without a preview: only the worker can compare.
        return Arrival.PUBLISH
    same_picture = known.source_uri.removeprefix(folder).startswith(picture.content[:32])
    return Arrival.PUBLISH if same_picture else Arrival.CONFLICTING


def ingest_pictures(
    paths: Sequence[str],
    embedders: Sequence[Embedder],
    settings: Settings,
    models: Models,
    progress: Progress,
    *,
    known: AskKnown = lambda _: None,
    replaces: bool = False,
) -> Ingested:
    """Decode, embed and publish every picture under the paths.

    Args:
        paths: files, folders or `s3://` prefixes.
        embedders: one of each kind.
        settings: resolved.
        models: what the worker accepts.
        progress: called with the number of pictures done since the last call.
        known: asked about each id.
        replaces: pictures take the place of others under the same id.

    Raises:
        NotFound: a path does not exist.
        ServerUnavailable: Kafka or S3 does not take what is sent.
    """
    ensure_topics(settings.kafka)
    s3, bucket = open_s3(settings.s3), settings.s3.bucket
    ensure_bucket(s3, settings.s3)
    ingested, now_ms = Ingested(), _Clock()
    with Sender(settings) as sender, ThreadPoolExecutor(4, thread_name_prefix="preview") as pool:
        for batch in _embedded(paths, embedders, settings, ingested):
            fresh: list[tuple[EmbeddedPicture, JoinedImage]] = []
            for picture in batch.pictures:
                uri = f"s3://{bucket}/{picture.preview_key}"
                there = known(picture.image_id)
                what = arrival(picture, uri, there)
                if what is Arrival.REPEATED:
                    ingested.repeated += 1
                elif what is Arrival.CONFLICTING and not replaces:
                    reason = f"another picture has the id {picture.image_id!r}: `neardup ingest --replace` replaces it"
                    ingested.refused.append(Refused(picture.place, reason))
                else:
                    # A replacement must be later than what it replaces, whatever the clock said then.
                    at_ms = now_ms.after(there.event_time_ms if there and replaces else 0)
                    image = picture.embeddings(at_ms, uri, replaces=replaces)
                    if (flaw := _flaw(image, models, now_ms())) is None:
                        fresh.append((picture, image))
                    else:
                        ingested.refused.append(Refused(picture.place, flaw))
            list(pool.map(lambda pair: _put_preview(s3, bucket, pair[0]), fresh))
            for _, image in fresh:
                sender.send(image)
                ingested.images[image.image_id] = image.event_time_ms
            progress(batch.files)
    ingested.places = sender.places
    return ingested


def ingest_vectors(
    file: Path, settings: Settings, models: Models, progress: Progress, *, replaces: bool = False
) -> Ingested:
    """Publish vectors a user already has; bad rows are refused and the others go on.

    Args:
        file: Parquet (ingest/parquet_embeddings.py); `event_time_ms` may be missing, and so may the versions where
            the worker accepts those called `user`.
        settings: resolved.
        models: what the worker accepts.
        progress: called with the number of rows done since the last call.
        replaces: they take the place of others under the same id; then they get the present as their event time.

    Raises:
        BadArtefact: the file is no such Parquet file.
        ServerUnavailable: Kafka does not take what is sent.
    """
    ingested, done, now_ms = Ingested(), 0, _Clock()
    try:
        rows = EmbeddingFile(
            file,
            {kind: model.spec for kind, model in models.items()},
            now_ms(),
            {kind: model.newer for kind, model in models.items()},
            Missing(_default_version(models), now_ms),
        )
        ensure_topics(settings.kafka)
        with Sender(settings) as sender:
            for part in rows.parts(_PARQUET_ROWS):
                for image in part.images:
                    sent = _replacing(image, now_ms()) if replaces else image
                    sender.send(sent)
                    ingested.images[sent.image_id] = sent.event_time_ms
                ingested.refused += [Refused(f"{file} row {b.row}", f"{b.reason}: {b.detail}") for b in part.bad]
                progress(part.end - done)
                done = part.end
    except BadArtefact as error:
        raise BadArtefact(f"{file}: {error}{_expected(models) if 'lacks' in str(error) else ''}") from error
    ingested.places = sender.places
    return ingested


def embed_to_file(
    paths: Sequence[str], embedders: Sequence[Embedder], settings: Settings, file: Path, progress: Progress
) -> Ingested:
    """Decode and embed every picture under the paths, and write the vectors to Parquet instead of publishing them.

    Raises:
        NotFound: a path does not exist.
        BadArtefact: the file cannot be written.
    """
    ingested, now_ms = Ingested(), _Clock()
    specs = {Kind(e.kind): ActiveModel(e.model_version, e.dim) for e in embedders}

    def images() -> Iterator[list[JoinedImage]]:
        for batch in _embedded(paths, embedders, settings, ingested):
            good = []
            for picture in batch.pictures:
                source = picture.place if picture.place.startswith("s3://") else ""
                image = picture.embeddings(now_ms.after(0), source)
                if (flaw := _flaw(image, specs, now_ms())) is None:
                    good.append(image)
                    ingested.images[image.image_id] = image.event_time_ms
                else:
                    ingested.refused.append(Refused(picture.place, flaw))
            progress(batch.files)
            yield good

    write_embeddings(file, images(), {kind: model.spec for kind, model in specs.items()})
    return ingested


def _embedded(
    paths: Sequence[str], embedders: Sequence[Embedder], settings: Settings, ingested: Ingested
) -> Iterator[EmbeddedBatch]:
    """Batches of pictures, each id once; what is no picture, has no usable name or one given before is noted."""
    seen: dict[str, EmbeddedPicture] = {}
    sources = map(_named, find_pictures(paths, settings))
    for batch in embed_pictures(sources, embedders, settings.images):
        once = []
        for picture in batch.pictures:
            other = seen.setdefault(picture.image_id, replace(picture, vectors={}, preview=b""))
            if other.place == picture.place:
                once.append(picture)
            elif other.content == picture.content:
                ingested.repeated += 1
            else:
                reason = f"{other.place} has the id {picture.image_id!r} too: give a folder that holds both"
                ingested.refused.append(Refused(picture.place, reason))
        ingested.refused += batch.refused
        ingested.skipped.count(batch.skipped)
        yield replace(batch, pictures=once)


def _named(source: PictureSource) -> PictureSource:
    """The source; reading it is refused if it has a name that cannot be an id."""
    try:
        checked_id(source.image_id)
    except BadMessage as error:
        flaw = error.detail
    else:
        return source

    def read() -> bytes:
        source.read()
        raise BadPicture(f"its name cannot be an id: {flaw}")

    return replace(source, read=read)


def _flaw(image: JoinedImage, models: Models, now_ms: int) -> str | None:
    """Why the worker would refuse an image."""
    try:
        for kind, model in models.items():
            checked_embedding(image.half(kind), model.spec, now_ms, model.newer)
    except BadMessage as error:
        return str(error)
    return None


def _default_version(models: Models) -> str | None:
    """The version that vectors have of which nothing is said, if the worker accepts it."""
    return "user" if all("user" in (model.version, *model.newer) for model in models.values()) else None


def _expected(models: Models) -> str:
    said = ", ".join(f"{kind}_version {model.version!r} [{model.dim}]" for kind, model in models.items())
    return f"; the worker accepts {said}"


def _replacing(image: JoinedImage, now_ms: int) -> JoinedImage:
    lsh, pair = (replace(image.half(kind), event_time_ms=now_ms, replaces=True) for kind in (Kind.LSH, Kind.PAIR))
    return JoinedImage(lsh, pair)


def _put_preview(s3: Any, bucket: str, picture: EmbeddedPicture) -> None:
    key = picture.preview_key
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=picture.preview, ContentType="image/jpeg")
    except (BotoCoreError, ClientError) as error:
        raise ServerUnavailable(f"storing s3://{bucket}/{key} failed: {error}") from error


class _Clock:
    """Unix milliseconds; `after` gives each call a later one, so that images are decided in the order they came in."""

    def __init__(self) -> None:
        self._last_ms = 0

    def __call__(self) -> int:
        return time.time_ns() // 1_000_000

    def after(self, other_ms: int) -> int:
        """A time that is later than any given before and than another one."""
        self._last_ms = max(self._last_ms + 1, self(), other_ms + 1)
        return self._last_ms
