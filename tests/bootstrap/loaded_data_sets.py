"""Data sets of synthetic images for the embedders that the platform ships, and what a load makes of them."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from neardup_platform.bench.synthetic import embeddings
from neardup_platform.bootstrap.s3_data_sets import find_data_set, put_data_set
from neardup_platform.operations.kafka_bootstrap import Bootstrap, Bootstrapped, load_name
from neardup_platform.records import JoinedImage, Kind
from neardup_platform.s3_client import open_s3
from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card
from neardup_platform.settings import Settings
from tests.stream.worker_process import reading

MODELS = read_card(SHIPPED_FOLDER).required_models
START_MS = time.time_ns() // 1_000_000 - 3_600_000


def image(number: int, at_ms: int) -> JoinedImage:
    lsh, pair = embeddings(number, MODELS, at_ms)
    return JoinedImage(lsh, pair)


CORPUS = [image(number, START_MS + 1_000 * number) for number in range(24)]


def row(of: JoinedImage, kinds: str = "lp", **changes: Any) -> dict[str, Any]:
    values = {
        "image_id": of.image_id,
        "head": None,
        "lsh": of.lsh.vector.tolist() if "l" in kinds else None,
        "pair": of.pair.vector.tolist() if "p" in kinds else None,
        "lsh_version": MODELS[Kind.LSH].version,
        "pair_version": MODELS[Kind.PAIR].version,
        "event_time_ms": of.event_time_ms,
        "source_uri": f"s3://pictures/{of.image_id}",
    }
    return {**values, **changes}


SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("image_id", "head", "lsh_version", "pair_version", "source_uri")),
        *((kind.value, pa.list_(pa.float32())) for kind in Kind),
        ("event_time_ms", pa.int64()),
    ]
)


def put(settings: Settings, name: str, folder: Path, *files: list[dict[str, Any]], hold: bool = False) -> str:
    """Upload a data set; returns its name and version."""
    target = folder / name
    target.mkdir(exist_ok=True)
    for number, rows in enumerate(files):
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), target / f"{number}.parquet")
    s3, bucket, prefix = open_s3(settings.s3), settings.s3.bucket, settings.bootstrap.prefix
    put_data_set(s3, bucket, prefix, name, target, hold=hold)
    return load_name(find_data_set(s3, bucket, prefix, name))


def load(settings: Settings, name: str, **more: bool) -> Bootstrapped:
    return Bootstrap(settings, name, None, "a test").run(**more)


def state(settings: Settings) -> Any:
    with reading(settings) as reader:
        reader.refresh()
        return reader.state()


def counted(result: Bootstrapped) -> Mapping[str, int]:
    assert result.loaded is not None
    return {name: count for name, count in result.loaded.items() if count}
