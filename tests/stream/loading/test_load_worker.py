"""Claims about `load` in a real worker, from S3 to the store: killed anywhere, beside the stream, twice."""

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from neardup_platform.bench.synthetic import FAMILY_IMAGES, embeddings, image_id
from neardup_platform.bootstrap.s3_data_sets import find_data_set
from neardup_platform.kafka.control import new_command, send_command
from neardup_platform.records import Kind
from neardup_platform.s3_client import ensure_bucket, open_s3
from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card
from neardup_platform.settings import Settings
from neardup_platform.store import layout
from neardup_platform.store.survey import Survey
from neardup_platform.store.view import StoreView
from neardup_platform.testing import eventually
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.topics import CONTROL_RESULTS, DECISIONS
from tests.faults.world import LIGHT
from tests.stream.worker_process import PATIENCE_S, log_tail, publish, read_topic, reading, start

pytestmark = pytest.mark.slow

# Whole families, of which the first image is the head.
FIRST, SECOND = range(1_002, 1_302), range(1_200, 1_500)

EVENT_MS = 1_700_000_000_000

_BUILDER = "neardup_platform.stream.loading.build_process"


def head_of(number: int) -> str:
    return image_id(number - number % FAMILY_IMAGES)


def put(settings: Settings, folder: Path, name: str, numbers: Sequence[int]) -> str:
    """Upload a data set in two files; returns its version."""
    models = read_card(SHIPPED_FOLDER).required_models
    halves = [{half.kind: half for half in embeddings(number, models, EVENT_MS)} for number in numbers]
    table = pa.table(
        {
            "image_id": [half[Kind.LSH].image_id for half in halves],
            "head": [head_of(number) for number in numbers],
            **{kind.value: [half[kind].vector.astype(np.float32).tobytes() for half in halves] for kind in Kind},
            **{f"{kind}_version": [half[kind].model_version for half in halves] for kind in Kind},
            "event_time_ms": [half[Kind.LSH].event_time_ms for half in halves],
        }
    )
    s3 = open_s3(settings.s3)
    ensure_bucket(s3, settings.s3)
    for part, rows in enumerate((table.slice(0, len(table) // 2), table.slice(len(table) // 2))):
        pq.write_table(rows, folder / "part.parquet")
        key = f"{settings.bootstrap.prefix}{name}/part-{part}.parquet"
        s3.upload_file(str(folder / "part.parquet"), settings.s3.bucket, key)
    s3.put_object(Bucket=settings.s3.bucket, Key=f"{settings.bootstrap.prefix}{name}/_SUCCESS", Body=b"")
    return find_data_set(s3, settings.s3.bucket, settings.bootstrap.prefix, name).version


def order(settings: Settings, name: str, version: str) -> pb.Command:
    command = new_command("load", {"data_set": name, "version": version}, "a test")
    send_command(settings.kafka, command)
    return command


def result(settings: Settings, command: pb.Command) -> pb.CommandResult | None:
    values = map(pb.CommandResult.FromString, read_topic(settings, CONTROL_RESULTS))
    return next((value for value in values if value.command_id == command.command_id), None)


def assert_sound(store: StoreView, images: int) -> None:
    survey = Survey(store)
    assert [finding.what for finding in survey.findings] == []
    assert store.state().images == images
    assert sum(1 for _ in store.vectors.all()) == images


def in_given_heads(store: StoreView, numbers: Sequence[int]) -> bool:
    records = store.images.find_many([image_id(number) for number in numbers])
    return [record and record.head for record in records] == [head_of(number) for number in numbers]


# Numbers are reserved, and the files not built; they are taken in; the result is written and nothing cleaned up.
# test_load.py has the other points.
POINTS = ("stage_committed:2", "stage_committed:3", "command_committed:1")


def test_two_data_sets_that_overlap_are_loaded_whatever_is_killed(
    empty_log: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = empty_log.model_copy(update={"worker": empty_log.worker.model_copy(update={"max_batch_images": 64})})
    versions = [put(settings, tmp_path, name, numbers) for name, numbers in (("one", FIRST), ("two", SECOND))]
    commands = [order(settings, name, version) for name, version in zip(("one", "two"), versions, strict=True)]
    for number, point in enumerate(POINTS):
        publish(settings, range(1_284 + 2 * number, 1_286 + 2 * number))
        monkeypatch.setenv("NEARDUP_CRASH_AT", point)
        killed = start(settings, module=LIGHT)
        assert killed.wait(PATIENCE_S) == -9, log_tail(settings.home)
        with reading(settings) as store:
            assert [finding.what for finding in Survey(store).findings] == []
    monkeypatch.delenv("NEARDUP_CRASH_AT")
    worker = start(settings, module=LIGHT)
    try:
        eventually(lambda: result(settings, commands[1]) is not None, timeout_s=PATIENCE_S)
    finally:
        worker.kill()
        worker.wait()
    one, two = (result(settings, command) for command in commands)
    assert one is not None
    assert two is not None
    assert one.accepted, one.reason
    assert two.accepted, two.reason
    assert int(one.values["loaded"]) + int(one.values["known"]) == len(FIRST)
    assert int(two.values["loaded"]) + int(two.values["known"]) == len(SECOND)
    with reading(settings) as store:
        assert_sound(store, len(range(FIRST.start, SECOND.stop)))
        assert in_given_heads(store, range(FIRST.start, 1_284))
        assert in_given_heads(store, range(1_290, SECOND.stop))
        heads = {found: record.head for found, record in store.images.all()}
        digest = sum(layout.assignment_digest(*pair) for pair in heads.items()) % (1 << 128)
        assert int.from_bytes(store.state().digest, "little") == digest
    published = {pb.Decision.FromString(value).image_id for value in read_topic(settings, DECISIONS)}
    assert image_id(1_002) not in published
    assert not any(settings.loads_path.iterdir())


def test_a_process_that_is_killed_refuses_the_load_and_sent_again_it_is_carried_out(
    empty_log: Settings, tmp_path: Path
) -> None:
    settings = empty_log
    version = put(settings, tmp_path, "one", range(6_000, 11_004))
    command = order(settings, "one", version)
    worker = start(settings, module=LIGHT)
    try:
        os.kill(eventually(lambda: builder(worker.pid), timeout_s=PATIENCE_S), signal.SIGKILL)
        eventually(lambda: result(settings, command) is not None, timeout_s=PATIENCE_S)
        refused = result(settings, command)
        assert refused is not None
        assert "the process that builds the load has ended" in refused.reason
        command.issued_ms = time.time_ns() // 1_000_000
        send_command(settings.kafka, command)
        with reading(settings) as store:
            eventually(lambda: store.refresh() or store.state().images == 5_004, timeout_s=PATIENCE_S)
            assert_sound(store, 5_004)
    finally:
        worker.kill()
        worker.wait()


def builder(worker: int) -> int:
    """The process that builds files for a worker, or 0."""
    for child in psutil.Process(worker).children():
        # A child may end while it is asked for.
        with contextlib.suppress(psutil.NoSuchProcess):
            if _BUILDER in child.cmdline():
                return child.pid
    return 0
