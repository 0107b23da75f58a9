"""Publishes vectors that a user already has, from a Parquet file; bad rows are refused and the rest continues.

Parquet → rows, checked as the worker checks them → **messages on Kafka** → worker.
"""

from dataclasses import replace
from pathlib import Path

from neardup_platform.errors import BadArtefact
from neardup_platform.images.embedded_pictures import Refused
from neardup_platform.ingest.arrivals import Ingested, Models, Progress
from neardup_platform.ingest.event_clock import EventClock
from neardup_platform.ingest.kafka_sender import Sender
from neardup_platform.ingest.parquet_embeddings import Defaults, EmbeddingFile
from neardup_platform.kafka.topics import ensure_topics
from neardup_platform.records import JoinedImage, Kind
from neardup_platform.settings import Settings

_PARQUET_ROWS = 4_096


def ingest_vectors(
    file: Path, settings: Settings, models: Models, progress: Progress, *, replaces: bool = False
) -> Ingested:
    """Publish the vectors of a file.

    Args:
        file: Parquet (`parquet_embeddings.py`); `event_time_ms` is optional, and so are the versions if the worker
            accepts the version `user`.
        settings: resolved.
        models: what the worker accepts.
        progress: called with the number of rows processed since the last call.
        replaces: whether they replace others with the same id; their event time is then the current time.

    Raises:
        BadArtefact: the file is not such a Parquet file.
        ServerUnavailable: Kafka does not accept what is sent.
    """
    ingested, done, clock = Ingested(), 0, EventClock()
    try:
        rows = EmbeddingFile(
            file,
            {kind: model.spec for kind, model in models.items()},
            clock(),
            {kind: model.newer for kind, model in models.items()},
            Defaults(_default_version(models), clock),
        )
        ensure_topics(settings.kafka)
        with Sender(settings) as sender:
            for part in rows.parts(_PARQUET_ROWS):
                for image in part.images:
                    sent = _replacing(image, clock()) if replaces else image
                    sender.send(sent)
                    ingested.images[sent.image_id] = sent.event_time_ms
                ingested.refused += [Refused(f"{file} row {b.row}", f"{b.reason}: {b.detail}") for b in part.bad]
                progress(part.end - done)
                done = part.end
    except BadArtefact as error:
        raise BadArtefact(f"{file}: {error}{_expected(models) if 'lacks' in str(error) else ''}") from error
    ingested.places = sender.places
    return ingested


def _default_version(models: Models) -> str | None:
    """The version of vectors without one, if the worker accepts it."""
    return "user" if all("user" in (model.version, *model.newer) for model in models.values()) else None


def _expected(models: Models) -> str:
    versions = ", ".join(f"{kind}_version {model.version!r} [{model.dim}]" for kind, model in models.items())
    return f"; the worker accepts {versions}"


def _replacing(image: JoinedImage, now_ms: int) -> JoinedImage:
    lsh, pair = (replace(image.embedding(kind), event_time_ms=now_ms, replaces=True) for kind in (Kind.LSH, Kind.PAIR))
    return JoinedImage(lsh, pair)
