"""Publishes embeddings, and pictures' previews to S3 before them; what is refused is told, the rest goes on."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from botocore.exceptions import BotoCoreError, ClientError
from kafka import KafkaProducer
from kafka.errors import KafkaError

from neardup_platform.artefacts.s3_client import ensure_bucket, open_s3
from neardup_platform.batch.picture_sources import find_pictures
from neardup_platform.batch.skipped import Skipped
from neardup_platform.errors import BadArtefact, ServerUnavailable
from neardup_platform.images.embedder import Embedder
from neardup_platform.images.embedding import EmbeddedPicture, Refused, embed_pictures, preview_key
from neardup_platform.messages.codec import encode_embedding
from neardup_platform.messages.kafka_publisher import make_producer
from neardup_platform.messages.kafka_topics import EMBEDDINGS, ensure_topics
from neardup_platform.records import Embedding, Kind
from neardup_platform.settings import Settings

ACKNOWLEDGE_S = 60.0
_PARQUET_ROWS = 4_096

Progress = Callable[[int], None]


@dataclass(slots=True)
class Ingested:
    """What was published and what was not."""

    image_ids: list[str] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    skipped: Skipped = field(default_factory=Skipped)


def ingest_pictures(
    paths: Sequence[str], embedders: Sequence[Embedder], settings: Settings, progress: Progress
) -> Ingested:
    """Decode, embed and publish every picture under the paths.

    Args:
        paths: files, folders or `s3://` prefixes.
        embedders: one of each kind.
        settings: resolved.
        progress: called with the number of pictures done since the last call.

    Raises:
        NotFound: a path does not exist.
        ServerUnavailable: Kafka or S3 does not take what is sent.
    """
    ensure_topics(settings.kafka)
    s3 = open_s3(settings.s3)
    ensure_bucket(s3, settings.s3)
    ingested, event_time_ms = Ingested(), 0
    with _Sender(settings) as sender, ThreadPoolExecutor(4, thread_name_prefix="preview") as pool:
        for batch in embed_pictures(find_pictures(paths, settings), embedders, settings.images):
            ingested.refused.extend(batch.refused)
            ingested.skipped.count(batch.skipped)
            uris = list(pool.map(lambda p: _put_preview(s3, settings.s3.bucket, p), batch.pictures))
            for picture, uri in zip(batch.pictures, uris, strict=True):
                # One millisecond apart at least, so that images are decided in the order they were given in.
                event_time_ms = max(event_time_ms + 1, _now_ms())
                for embedding in picture.embeddings(event_time_ms, uri):
                    sender.send(embedding)
                ingested.image_ids.append(picture.image_id)
            progress(batch.files)
    return ingested


def ingest_vectors(file: Path, settings: Settings, progress: Progress) -> Ingested:
    """Publish vectors a user already has.

    Args:
        file: Parquet with columns `image_id` (string), `lsh` and `pair` (lists of floats), and optionally
            `lsh_version`, `pair_version`, `source_uri` (strings) and `event_time_ms` (int64).
        settings: resolved.
        progress: called with the number of rows done since the last call.

    Raises:
        BadArtefact: the file is no such Parquet file.
        ServerUnavailable: Kafka does not take what is sent.
    """
    ensure_topics(settings.kafka)
    ingested = Ingested()
    with _Sender(settings) as sender:
        for rows in _parquet_rows(file):
            for embedding in _row_embeddings(rows):
                sender.send(embedding)
            ingested.image_ids.extend(rows["image_id"])
            progress(len(rows["image_id"]))
    return ingested


def _parquet_rows(file: Path) -> Iterator[dict[str, list[Any]]]:
    try:
        parquet = pq.ParquetFile(file)
        missing = {"image_id", "lsh", "pair"} - set(parquet.schema_arrow.names)
        if missing:
            raise BadArtefact(f"{file} lacks the columns {sorted(missing)}; it has {parquet.schema_arrow.names}")
        for batch in parquet.iter_batches(batch_size=_PARQUET_ROWS):
            yield batch.to_pydict()
    except (OSError, pa.ArrowInvalid) as error:
        raise BadArtefact(f"{file} is no readable Parquet file: {error}") from error


def _row_embeddings(rows: dict[str, list[Any]]) -> Iterator[Embedding]:
    count, now_ms = len(rows["image_id"]), _now_ms()
    versions = {kind: rows.get(f"{kind}_version") or ["user"] * count for kind in Kind}
    times_ms = rows.get("event_time_ms") or [now_ms] * count
    uris = rows.get("source_uri") or [""] * count
    for row, image_id in enumerate(rows["image_id"]):
        for kind in Kind:
            vector = np.asarray(rows[kind.value][row], np.float32)
            yield Embedding(image_id, kind, versions[kind][row], vector, times_ms[row], uris[row] or "")


def _put_preview(s3: Any, bucket: str, picture: EmbeddedPicture) -> str:
    key = preview_key(picture.image_id)
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=picture.preview, ContentType="image/jpeg")
    except (BotoCoreError, ClientError) as error:
        raise ServerUnavailable(f"storing s3://{bucket}/{key} failed: {error}") from error
    return f"s3://{bucket}/{key}"


class _Sender:
    """Sends embeddings and, on leaving, makes sure that each was acknowledged."""

    def __init__(self, settings: Settings) -> None:
        try:
            self._producer: KafkaProducer = make_producer(settings.kafka)
        except KafkaError as error:
            raise ServerUnavailable(f"no Kafka broker at {settings.kafka.bootstrap}: {error}") from error
        self._futures: list[Any] = []

    def send(self, embedding: Embedding) -> None:
        """Hand one message to the producer."""
        topic, key = EMBEDDINGS[embedding.kind], embedding.image_id.encode()
        self._futures.append(self._producer.send(topic, key=key, value=encode_embedding(embedding)))

    def __enter__(self) -> "_Sender":
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        try:
            self._producer.flush(timeout=ACKNOWLEDGE_S)
            for future in self._futures:
                future.get(timeout=ACKNOWLEDGE_S)
        except KafkaError as error:
            if not failed:
                raise ServerUnavailable(f"Kafka did not take every message: {error}; ingest again") from error
        finally:
            self._producer.close(timeout=ACKNOWLEDGE_S)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
