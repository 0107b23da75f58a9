"""Claims about segments: every good row is decided once, in order, between steps of the stream, whatever is killed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from neardup_platform.errors import BadArtefact
from neardup_platform.records import JoinedImage
from neardup_platform.s3_client import ensure_bucket, open_s3
from neardup_platform.servers.embedded_servers import running_servers
from neardup_platform.settings import Settings
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.writer import Batch
from neardup_platform.stream.control.command import RegisteredCommand, register
from neardup_platform.stream.segments.ingest_segment import IngestSegment
from neardup_platform.stream.segments.parquet_segment import Segment
from neardup_platform.stream.segments.s3_segments import put_segment
from neardup_platform.testing import LSH_DIM, MODELS, PAIR_DIM, InMemoryWorker, families
from neardup_platform.wire.command_arguments import IngestSegmentArguments
from neardup_platform.wire.topics import DECISIONS
from tests.stream.control_machine import NOW_MS, ControlMachine, Killed, Machines, command

IMAGES = families(20, 4)
Make = Callable[..., ControlMachine]


def rows(images: list[JoinedImage]) -> dict[str, list[Any]]:
    return {
        "image_id": [image.image_id for image in images],
        "lsh": [image.lsh.vector.astype("<f4").tobytes() for image in images],
        "pair": [image.pair.vector.astype("<f2").tobytes() for image in images],
        "lsh_version": ["test"] * len(images),
        "pair_version": ["test"] * len(images),
        "event_time_ms": [image.event_time_ms for image in images],
        "source_uri": [image.source_uri for image in images],
    }


def parquet(folder: Path, content: dict[str, list[Any]], types: Mapping[str, pa.DataType] | None = None) -> Path:
    path = folder / "segment.parquet"
    columns = {name: pa.array(values, (types or {}).get(name)) for name, values in content.items()}
    pq.write_table(pa.table(columns), path, row_group_size=33)
    return path


@pytest.fixture(scope="module")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with running_servers(Settings(home=tmp_path_factory.mktemp("s3")), kafka=False) as settings:
        ensure_bucket(open_s3(settings.s3), settings.s3)
        yield settings


@pytest.fixture
def settings(s3_server: Settings, tmp_path: Path) -> Settings:
    worker = s3_server.worker.model_copy(update={"max_batch_images": 16})
    return s3_server.model_copy(update={"home": tmp_path / "home", "worker": worker})


@pytest.fixture
def make(settings: Settings) -> Iterator[Make]:
    machines = Machines(settings.home)

    def commands(machine: ControlMachine) -> Sequence[RegisteredCommand]:
        handler = IngestSegment(settings, machine.store, MODELS, lambda: True, machine.clock, lambda _: None)
        return [register(IngestSegmentArguments, handler)]

    yield partial(machines.start, commands)
    machines.end()


def put(settings: Settings, path: Path) -> str:
    return put_segment(open_s3(settings.s3), settings.s3.bucket, path)


def streamed(home: Path, images: list[JoinedImage]) -> store_pb.StoreState:
    """What the stream makes of the same images."""
    worker = InMemoryWorker(home)
    worker.decide(images)
    state = worker.store.state()
    worker.close()
    return state


def test_a_segment_gives_what_the_stream_gives_in_the_order_of_its_rows(
    make: Make, settings: Settings, tmp_path: Path
) -> None:
    key = put(settings, parquet(tmp_path, rows(IMAGES)))
    one = make(command("ingest-segment", key=key))
    parts = []
    (result,) = one.run(between=lambda: parts.append(one.store.state().images))
    assert (result.accepted, result.values["decided"], result.values["known"]) == (True, str(len(IMAGES)), "0")
    assert len(parts) > 4
    assert max(np.diff([0, *parts])) <= 16
    assert [d.image_id for d in one.worker.decisions()] == [image.image_id for image in IMAGES]
    assert one.store.state().digest == streamed(tmp_path / "other", IMAGES).digest
    assert one.store.state().counters["ingested"] == len(IMAGES)
    assert sum(e.topic == DECISIONS for _, e in one.store.outbox.pending()) == len(IMAGES)
    assert list(settings.home.glob("segment-*")) == []


def test_the_stream_runs_between_the_stages_and_known_images_are_skipped(
    make: Make, settings: Settings, tmp_path: Path
) -> None:
    key = put(settings, parquet(tmp_path, rows([*IMAGES[:60], *IMAGES[:5]])))
    one = make(command("ingest-segment", key=key))
    one.decide(IMAGES[:10])
    others = iter(IMAGES[60:])
    (result,) = one.run(between=lambda: one.decide([next(others)]))
    assert (result.values["decided"], result.values["known"], result.values["rows"]) == ("50", "15", "65")
    state = one.store.state()
    assert state.images == len({record.image_id for record in one.store.vectors.all()}) == 60 + 65 // 16 + 1
    assert len(one.pipeline.corpus) == state.images


@pytest.mark.parametrize(
    "kill_at", ["prepared:1", "prepared:3", "stage_committed:1", "stage_committed:4", "command_committed"]
)
def test_a_kill_anywhere_decides_nothing_twice_and_loses_nothing(
    make: Make, settings: Settings, tmp_path: Path, kill_at: str
) -> None:
    key = put(settings, parquet(tmp_path, rows(IMAGES)))
    with pytest.raises(Killed):
        make(command("ingest-segment", key=key), kill_at=kill_at).run()
    again = make()
    again.run()
    assert again.store.state().digest == streamed(tmp_path / "other", IMAGES).digest
    (result,) = again.published()
    assert (result.values["decided"], result.values["known"]) == (str(len(IMAGES)), "0")
    assert again.store.state().counters["ingested"] == len(IMAGES)


def test_a_segment_replaced_while_it_is_ingested_is_refused(make: Make, settings: Settings, tmp_path: Path) -> None:
    key = put(settings, parquet(tmp_path, rows(IMAGES)))
    with pytest.raises(Killed):
        make(command("ingest-segment", key=key), kill_at="stage_committed:2").run()
    other = parquet(tmp_path, rows(IMAGES[::-1]))
    open_s3(settings.s3).upload_file(str(other), settings.s3.bucket, key)
    (result,) = make().run()
    assert "replaced on S3 while it was being ingested, after 32 rows" in result.reason


BAD = {
    "bad-id": {"image_id": "a\nb"},
    "other-version": {"lsh_version": "another"},
    "bad-time": {"event_time_ms": -1},
    "bad-uri": {"source_uri": "s3://" + "x" * 3_000},
    "bad-dimension": {"pair": b"123"},
    "not-finite": {"pair": np.full(PAIR_DIM, np.inf, "<f4").tobytes()},
    "zero-vector": {"lsh": bytes(4 * LSH_DIM)},
}


def test_bad_rows_refuse_the_segment_with_counts_or_are_skipped(make: Make, settings: Settings, tmp_path: Path) -> None:
    content = rows(IMAGES)
    for row, changes in enumerate(BAD.values()):
        for name, value in changes.items():
            content[name][3 * row] = value
    key = put(settings, parquet(tmp_path, content))
    refused, taken = make(
        command("ingest-segment", "c1", key=key), command("ingest-segment", "c2", key=key, skip_bad="true")
    ).run()
    assert f"{len(BAD)} of {len(IMAGES)} rows are bad" in refused.reason
    assert "row 3: other-version" in refused.reason
    for reason in BAD:
        assert f"1 {reason}" in refused.reason
    assert (taken.values["decided"], taken.values["bad"]) == (str(len(IMAGES) - len(BAD)), str(len(BAD)))


def test_known_images_with_other_vectors_are_counted_and_keep_theirs(
    make: Make, settings: Settings, tmp_path: Path
) -> None:
    others = [replace(image, pair=replace(image.pair, vector=-image.pair.vector)) for image in IMAGES[:3]]
    key = put(settings, parquet(tmp_path, rows([*others, *IMAGES[3:20]])))
    one = make(command("ingest-segment", key=key))
    one.decide(IMAGES[:10])
    (result,) = one.run()
    counts = {name: result.values[name] for name in ("decided", "known", "conflicting")}
    assert counts == {"decided": "10", "known": "7", "conflicting": "3"}
    stored = one.store.images.find(IMAGES[0].image_id)
    assert stored is not None
    assert one.store.vectors.get(stored.ordinal).pair == IMAGES[0].pair.vector.astype("<f2").tobytes()


def test_forgotten_images_stay_forgotten(make: Make, settings: Settings, tmp_path: Path) -> None:
    key = put(settings, parquet(tmp_path, rows(IMAGES)))
    one = make(command("ingest-segment", key=key))
    batch = Batch()
    for image, upto_ms in ((IMAGES[0], IMAGES[0].event_time_ms), (IMAGES[1], IMAGES[1].event_time_ms - 1)):
        value = store_pb.Forgotten(upto_ms=upto_ms).SerializeToString()
        batch.put(Table.FORGOTTEN, layout.hash_key(image.image_id), value)
    state = one.store.state()
    state.forgotten = 2
    batch.put_state(state)
    one.store.write(batch)
    (result,) = one.run()
    assert (result.values["forgotten"], result.values["decided"]) == ("1", str(len(IMAGES) - 1))
    assert one.store.images.find(IMAGES[0].image_id) is None


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({}, "takes the arguments ['key']"),
        ({"key": "nowhere.parquet"}, "nowhere.parquet cannot be read"),
        ({"key": "garbage.parquet"}, "not a readable Parquet file"),
        ({"key": "columns.parquet"}, "lacks the columns ['event_time_ms', 'lsh'"),
    ],
)
def test_a_file_that_is_not_a_segment_is_refused(
    make: Make, settings: Settings, tmp_path: Path, arguments: dict[str, str], reason: str
) -> None:
    s3, bucket = open_s3(settings.s3), settings.s3.bucket
    s3.put_object(Bucket=bucket, Key="garbage.parquet", Body=b"garbage")
    s3.upload_file(str(parquet(tmp_path, {"image_id": ["a"]})), bucket, "columns.parquet")
    (result,) = make(command("ingest-segment", **arguments)).run()
    assert not result.accepted
    assert reason in result.reason


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float16(), LSH_DIM), pa.list_(pa.float64())])
def test_vectors_may_be_lists_of_any_float(tmp_path: Path, kind: pa.DataType) -> None:
    content = rows(IMAGES[:5])
    content["lsh"] = [image.lsh.vector.astype(np.float16).tolist() for image in IMAGES[:5]]
    if kind == pa.list_(pa.float16(), LSH_DIM):
        content["lsh"] = [[np.float16(x) for x in row] for row in content["lsh"]]
    segment = Segment(parquet(tmp_path, content, {"lsh": kind}), MODELS, NOW_MS)
    ((end, images),) = segment.images(10)
    assert end == 5
    assert not segment.check().counts
    assert np.allclose(images[3].lsh.vector, IMAGES[3].lsh.vector, rtol=1e-3)


def test_a_column_of_another_type_and_a_truncated_file_are_refused(tmp_path: Path) -> None:
    content = rows(IMAGES[:5])
    path = parquet(tmp_path, {**content, "event_time_ms": ["soon"] * 5})
    with pytest.raises(BadArtefact, match="'event_time_ms' has the type string"):
        Segment(path, MODELS, NOW_MS)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BadArtefact, match="not a readable Parquet"):
        Segment(path, MODELS, NOW_MS)
