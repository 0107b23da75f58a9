"""Claims about commands to a real worker on a real Kafka and S3: paused, traced, copied, rolled back, killed."""

import json
import re
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from neardup_platform.bench.synthetic import embeddings
from neardup_platform.kafka.control import new_command, run_command, send_command
from neardup_platform.records import Kind
from neardup_platform.s3_client import ensure_bucket, open_s3
from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card
from neardup_platform.settings import Settings
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.secondary import SecondaryStore
from neardup_platform.stream.segments.s3_segments import put_segment
from neardup_platform.supervise.heartbeat import read_heartbeat
from neardup_platform.testing import eventually
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.topics import CONTROL_RESULTS
from tests.stream.worker_process import images, log_tail, publish, read_topic, reading, running, start

pytestmark = pytest.mark.slow

# A reprocess is a process of low priority, which imports TensorFlow while other tests use the processors.
PATIENCE_S = 300.0


def told(settings: Settings, name: str, **arguments: str) -> pb.CommandResult:
    result = run_command(settings.kafka, new_command(name, arguments, "a test"), PATIENCE_S)
    assert result.accepted, result.reason
    return result


def refreshed(reader: SecondaryStore) -> store_pb.StoreState:
    reader.refresh()
    return reader.state()


def test_a_paused_stream_reads_nothing_and_carries_out_commands(empty_log: Settings) -> None:
    with running(empty_log), reading(empty_log) as reader:
        publish(empty_log, range(20))
        eventually(lambda: images(reader) == 20)
        paused = told(empty_log, "pause")
        assert paused.sequence == 20
        publish(empty_log, range(20, 40))
        trace = json.loads(told(empty_log, "trace", image_id=next(reader.vectors.all()).image_id).values["trace"])
        assert trace["features"]
        assert trace["verdict"]["as_in_force"]
        eventually(lambda: heartbeat(empty_log)["paused"] == 1)
        time.sleep(2 * empty_log.worker.heartbeat_s)
        assert images(reader) == 20
        assert refreshed(reader).paused.by == "a test"
        told(empty_log, "resume")
        eventually(lambda: images(reader) == 40)
        assert heartbeat(empty_log)["messages_lost"] == 0


def heartbeat(settings: Settings) -> dict[str, float]:
    found = read_heartbeat(settings.home)
    assert found is not None
    return found.metrics


def test_a_rollback_decides_again_what_came_since_and_a_reprocess_all(empty_log: Settings) -> None:
    with running(empty_log) as worker, reading(empty_log) as reader:
        publish(empty_log, range(60))
        eventually(lambda: images(reader) == 60)
        taken = told(empty_log, "snapshot")
        publish(empty_log, range(60, 100))
        eventually(lambda: images(reader) == 100)
        before = refreshed(reader)
        restored = told(empty_log, "restore", snapshot=taken.values["snapshot"])
        assert (restored.values["images"], restored.values["embeddings_lost"]) == ("60", "0")
        assert read_at_start(empty_log) == ("0", "0")
        eventually(lambda: images(reader) == 100)
        after = refreshed(reader)
        assert (after.digest, after.clusters) == (before.digest, before.clusters)
        assert after.store_id != before.store_id
        # Forty images are unknown again, which is published; then they are decided again.
        assert after.sequence == before.sequence + 80
        assert after.counters["received"] == before.counters["received"]
        told(empty_log, "restore", undo="true")
        eventually(lambda: images(reader) == 100)
        assert refreshed(reader).digest == before.digest
        reprocessed = told(empty_log, "reprocess")
        assert (reprocessed.values["images"], reprocessed.values["changed"]) == ("100", "0")
        assert read_at_start(empty_log) == ("0", "0")
        eventually(lambda: refreshed(reader).digest == before.digest)
        publish(empty_log, range(100, 110))
        eventually(lambda: images(reader) == 110)
        assert worker.poll() is None


def test_commands_of_several_stages_survive_kill_9_at_any_stage(
    empty_log: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_parts = empty_log.worker.model_copy(update={"max_batch_images": 64})
    settings = empty_log.model_copy(update={"worker": small_parts})
    s3 = open_s3(settings.s3)
    ensure_bucket(s3, settings.s3)
    key = put_segment(s3, settings.s3.bucket, segment(tmp_path, range(1_000, 1_300)))
    sent = [new_command(*order, "a test") for order in (("ingest-segment", {"key": key}), ("snapshot", {}))]
    for command in sent:
        send_command(settings.kafka, command)
    # The stream brings some images of the segment, too, which are in flight on one way or the other.
    publish(settings, range(1_100, 1_110))
    for number, point in enumerate(("decided:4", "stage_committed:2", "command_committed:1", "stage_committed:1")):
        publish(settings, range(10 * number, 10 * number + 10))
        monkeypatch.setenv("NEARDUP_CRASH_AT", point)
        killed = start(settings)
        assert killed.wait(PATIENCE_S) == -9, log_tail(settings.home)
    monkeypatch.delenv("NEARDUP_CRASH_AT")
    with running(settings), reading(settings) as reader:
        eventually(lambda: len(results(settings)) == len(sent))
        eventually(lambda: images(reader) == 340)
        found = results(settings)
        assert all(len(values) == 1 for values in found.values())
        ingested, taken = (pb.CommandResult.FromString(found[command.command_id].copy().pop()) for command in sent)
        decided, known = int(ingested.values["decided"]), int(ingested.values["known"])
        assert decided + known == 300
        assert known <= 10
        assert taken.accepted
        assert refreshed(reader).counters["ingested"] == decided


def read_at_start(settings: Settings) -> tuple[str, str]:
    """Images whose vectors, and whose records, the worker has read from the store that it opened last."""
    log = (settings.home / "worker.log").read_text()
    return re.findall(r"vectors of (\d+) read from the store, .* records of (\d+) read", log)[-1]  # type: ignore[no-any-return]


def results(settings: Settings) -> dict[str, set[bytes]]:
    """The results of each command."""
    found: dict[str, set[bytes]] = {}
    for value in read_topic(settings, CONTROL_RESULTS):
        found.setdefault(pb.CommandResult.FromString(value).command_id, set()).add(value)
    return found


def segment(folder: Path, numbers: range) -> Path:
    models = read_card(SHIPPED_FOLDER).required_models
    halves = [{half.kind: half for half in embeddings(number, models, 1_700_000_000_000)} for number in numbers]
    columns = {
        "image_id": [half[Kind.LSH].image_id for half in halves],
        **{kind.value: [half[kind].vector.astype(np.float32).tobytes() for half in halves] for kind in Kind},
        **{f"{kind}_version": [half[kind].model_version for half in halves] for kind in Kind},
        "event_time_ms": [half[Kind.LSH].event_time_ms for half in halves],
    }
    path = folder / "segment.parquet"
    pq.write_table(pa.table(columns), path)
    return path
