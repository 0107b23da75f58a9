"""Training data on S3 as two Parquet objects, so that it can be inspected later.

Pictures and pairs → **s3://{bucket}/training/{version}/** → training, evaluation, DuckDB.

    pictures.parquet   file, group, part (train, held-out, altered), fingerprint, lsh, pair (float16, little-endian),
                       change, template, scene (labels of match kinds)
    pairs.parquet      part (train, held-out), a, b (rows within the part), same

The version is 12 hex digits of a hash over the content of both, and is verified when they are read.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from botocore.exceptions import BotoCoreError, ClientError

from neardup_platform.errors import BadArtefact, ServerUnavailable
from neardup_platform.learning.classifier.candidate_pairs import Pairs
from neardup_platform.learning.classifier.training import Recipe
from neardup_platform.learning.classifier.training_data import TrainingData
from neardup_platform.learning.classifier.training_set import TrainingSet
from neardup_platform.learning.embedder.kind_labels import NO_LABELS, KindLabels
from neardup_platform.learning.embedder.labelled_pictures import EmbeddedPictures
from neardup_platform.s3_client import ensure_bucket, read_bounded
from neardup_platform.scoring.features import Block
from neardup_platform.settings import S3Settings

PREFIX = "training"
_OBJECTS = ("pictures.parquet", "pairs.parquet")
# What the columns of pairs.parquet hold.
DESCRIBED = {
    "part": "train, or held-out.",
    "a": "One picture: its row within the part, in pictures.parquet.",
    "b": "The other.",
    "same": "Whether they are near-duplicates.",
}
# Enough for the vectors of about a million pictures.
_MAX_BYTES = 2 << 30


def put_training_data(s3: Any, settings: S3Settings, data: TrainingData) -> str:
    """Store training data and return its version. Storing the same data again changes nothing.

    Raises:
        ServerUnavailable: S3 does not answer or refuses.
    """
    ensure_bucket(s3, settings)
    contents = [_bytes(table) for table in (_pictures_table(data), _pairs_table(data))]
    version = _version(contents)
    for name, content in zip(_OBJECTS, contents, strict=True):
        key = f"{PREFIX}/{version}/{name}"
        try:
            s3.put_object(Bucket=settings.bucket, Key=key, Body=content)
        except (BotoCoreError, ClientError) as error:
            raise ServerUnavailable(f"writing s3://{settings.bucket}/{key} failed: {error}") from error
    return version


def get_training_data(s3: Any, settings: S3Settings, version: str) -> TrainingData:
    """Read training data.

    Raises:
        NotFound: this version does not exist.
        BadArtefact: it is damaged.
        ServerUnavailable: S3 does not answer.
    """
    keys = [f"{PREFIX}/{version}/{name}" for name in _OBJECTS]
    contents = [read_bounded(s3, settings.bucket, key, _MAX_BYTES) for key in keys]
    if _version(contents) != version:
        raise BadArtefact(
            f"s3://{settings.bucket}/{PREFIX}/{version} is damaged, its content does not match its version: "
            "materialise training_pairs again"
        )
    pictures, pairs = (pq.read_table(io.BytesIO(content)) for content in contents)
    altered = _part(pictures, "altered")
    return TrainingData(
        _part(pictures, "train"),
        _part(pictures, "held-out"),
        altered if altered.pictures.ids else None,
        _pairs(pairs, "train"),
        _pairs(pairs, "held-out"),
        _recipe(pictures.schema.metadata),
    )


def _pictures_table(data: TrainingData) -> pa.Table:
    parts = {"train": data.train, "held-out": data.held_out, "altered": data.altered}
    sets = {part: pictures for part, pictures in parts.items() if pictures is not None}
    columns = {
        "file": [name for each in sets.values() for name in each.pictures.ids],
        "group": [group for each in sets.values() for group in each.pictures.groups],
        "part": [part for part, each in sets.items() for _ in each.pictures.ids],
        "fingerprint": np.concatenate([each.fingerprints for each in sets.values()]),
        "lsh": [row.tobytes() for each in sets.values() for row in each.pictures.lsh.astype("<f2")],
        "pair": [row.tobytes() for each in sets.values() for row in each.pictures.pair.astype("<f2")],
        **{
            name: [getattr(labels, name) for each in sets.values() for labels in each.pictures.labels]
            for name in KindLabels._fields
        },
    }
    return pa.table(columns).replace_schema_metadata({"recipe": json.dumps(asdict(data.recipe))})


def _pairs_table(data: TrainingData) -> pa.Table:
    parts = {"train": data.train_pairs, "held-out": data.held_out_pairs}
    return pa.table(
        {
            "part": [part for part, pairs in parts.items() for _ in pairs.a],
            **{name: np.concatenate([getattr(pairs, name) for pairs in parts.values()]) for name in ("a", "b", "same")},
        }
    )


def pair_columns(data: TrainingData) -> list[tuple[str, str]]:
    """Name and type of the columns of pairs.parquet, in order."""
    return [(field.name, str(field.type)) for field in _pairs_table(data).schema]


def _part(table: pa.Table, part: str) -> TrainingSet:
    rows = table.filter(pc.equal(table["part"], part))
    pictures = EmbeddedPictures(
        tuple(rows["file"].to_pylist()),
        tuple(rows["group"].to_pylist()),
        _vectors(rows["lsh"].to_pylist()),
        _vectors(rows["pair"].to_pylist()),
        _labels(rows),
    )
    return TrainingSet(pictures, rows["fingerprint"].to_numpy().astype(np.uint64))


def _labels(rows: pa.Table) -> tuple[KindLabels, ...]:
    """Labels of match kinds; data of earlier releases has none."""
    names = [name for name in KindLabels._fields if name in rows.column_names]
    return tuple(KindLabels(**row) for row in rows.select(names).to_pylist()) if names else (NO_LABELS,) * len(rows)


def _vectors(rows: list[bytes]) -> np.ndarray[Any, np.dtype[np.float16]]:
    return np.frombuffer(b"".join(rows), "<f2").reshape(len(rows), -1) if rows else np.zeros((0, 0), np.float16)


def _pairs(table: pa.Table, part: str) -> Pairs:
    rows = table.filter(pc.equal(table["part"], part))
    return Pairs(*(rows[name].to_numpy() for name in ("a", "b", "same")))


def _recipe(metadata: Mapping[bytes, bytes]) -> Recipe:
    fields = json.loads(metadata[b"recipe"])
    return Recipe(**{**fields, "blocks": tuple(Block(*block) for block in fields["blocks"])})


def _bytes(table: pa.Table) -> bytes:
    content = io.BytesIO()
    pq.write_table(table, content, compression="zstd")
    return content.getvalue()


def _version(contents: list[bytes]) -> str:
    digest = hashlib.sha256()
    for content in contents:
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()[:12]
