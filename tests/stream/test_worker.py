"""Claims about the worker: a real process on a real Kafka, killed without warning."""

import numpy as np
import pytest

from neardup_platform.kafka.publisher import make_producer
from neardup_platform.records import Embedding, Kind
from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card
from neardup_platform.settings import Settings
from neardup_platform.store import layout
from neardup_platform.store.secondary import SecondaryStore
from neardup_platform.supervise.heartbeat import Phase, pause, read_heartbeat
from neardup_platform.supervise.worker_metrics import GAUGES, WORKER_METRICS
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import encode_embedding
from neardup_platform.wire.topics import DEAD_LETTER, DEBUG, DECISIONS, EMBEDDINGS
from tests.stream.worker_process import (
    PATIENCE_S,
    eventually,
    images,
    log_tail,
    publish,
    read_topic,
    reading,
    running,
    start,
)

pytestmark = pytest.mark.slow

SENT_MS = 1_700_000_000_000


def assert_accounted_for(reader: SecondaryStore, settings: Settings) -> None:
    """Every message has exactly one fate, and image → head, members and totals agree."""
    reader.refresh()
    state = reader.state()
    fates = dict(state.counters)
    waiting = sum(1 for _ in reader.unpaired.all())
    ended = sum(fates.get(f, 0) for f in ("repeated", "expired", "evicted", "dead_lettered"))
    assert fates["received"] == 2 * state.images + waiting + ended
    ids = [record.image_id for record in reader.vectors.all()]
    assert len(set(ids)) == len(ids) == state.images
    heads = {i: r.head for i, r in zip(ids, reader.images.find_many(ids), strict=True)}  # type: ignore[union-attr]
    members = {m: h for h in set(heads.values()) for m in reader.members.page(h, 10_000).image_ids}
    assert members == heads
    digest = bytes(16)
    for image_id, head in heads.items():
        digest = layout.digest_after(digest, layout.assignment_digest(image_id, head))
    assert state.digest == digest
    eventually(lambda: published_ids(settings) == ids_decided(reader))


def ids_decided(reader: SecondaryStore) -> dict[str, str]:
    """Event id by image, from the store."""
    decisions = (pb.Decision.FromString(reader.history.current(r.image_id)) for r in reader.vectors.all())
    return {d.event_id: d.image_id for d in decisions}


def published_ids(settings: Settings) -> dict[str, str]:
    """The same from the topic, repeats dropped by event id."""
    decisions = (pb.Decision.FromString(value) for value in read_topic(settings, DECISIONS))
    return {d.event_id: d.image_id for d in decisions}


def explained(settings: Settings) -> set[int]:
    """Sequence numbers of the decisions that published details are of."""
    details = (pb.DebugDetail.FromString(value) for value in read_topic(settings, DEBUG))
    return {n for detail in details for n in range(detail.first_sequence, detail.last_sequence + 1)}


def test_images_become_readable_and_each_decision_is_published(empty_log: Settings) -> None:
    with running(empty_log) as worker, reading(empty_log) as reader:
        publish(empty_log, range(60))
        eventually(lambda: images(reader) == 60)
        assert_accounted_for(reader, empty_log)
        eventually(lambda: explained(empty_log) == set(range(1, 61)), lambda: explained(empty_log))
        worker.terminate()
        assert worker.wait(PATIENCE_S) == 0
        heartbeat = read_heartbeat(empty_log.home)
        assert heartbeat is not None
        assert heartbeat.phase is Phase.STOPPED
        assert heartbeat.metrics["images"] == heartbeat.metrics["index_images"] == 60
        assert heartbeat.metrics["index_problem"] == 0
        assert GAUGES.keys() <= heartbeat.metrics.keys() <= WORKER_METRICS.keys()


def test_kill_9_in_the_middle_loses_nothing_and_decides_nothing_twice(empty_log: Settings) -> None:
    total = 0
    for _ in range(3):
        with running(empty_log) as worker, reading(empty_log) as reader:
            before = images(reader)
            publish(empty_log, range(total, total + 400))
            total += 400
            eventually(lambda: images(reader) > before)  # noqa: B023
            worker.kill()
    with running(empty_log), reading(empty_log) as reader:
        eventually(lambda: images(reader) == total)
        assert_accounted_for(reader, empty_log)
        counters = dict(reader.state().counters)
        assert counters["received"] == 2 * total


def test_the_worker_continues_after_garbage_and_reports_it(empty_log: Settings) -> None:
    model = read_card(SHIPPED_FOLDER).required_models[Kind.LSH]
    nan = np.full(model.dim, np.nan, np.float32)
    bad = {
        b"\x00garbage\xff": "garbage",
        b"": "tombstone",
        encode_embedding(Embedding("short", Kind.LSH, model.version, np.ones(3, np.float32), SENT_MS)): "bad-dimension",
        encode_embedding(Embedding("nan", Kind.LSH, model.version, nan, SENT_MS)): "not-finite",
    }
    producer = make_producer(empty_log.kafka)
    for value, key in zip(bad, (b"k", b"", b"short", b"nan"), strict=True):
        producer.send(EMBEDDINGS[Kind.LSH], key=key, value=value).get(timeout=30)
    producer.close()
    publish(empty_log, range(5))
    with running(empty_log), reading(empty_log) as reader:
        eventually(lambda: images(reader) == 5)
        eventually(lambda: len(read_topic(empty_log, DEAD_LETTER)) == 4)
        letters = [pb.DeadLetter.FromString(value) for value in read_topic(empty_log, DEAD_LETTER)]
        assert {letter.value: letter.reason for letter in letters} == bad
        assert_accounted_for(reader, empty_log)


def test_missing_partner_expires_and_is_reported(empty_log: Settings) -> None:
    join = empty_log.join.model_copy(update={"lateness_s": 2.0, "idle_s": 0.5})
    settings = empty_log.model_copy(update={"join": join})
    publish(settings, range(1), kinds=(Kind.PAIR,))
    publish(settings, range(1, 4))
    with running(settings), reading(settings) as reader:
        eventually(lambda: images(reader) == 3)
        eventually(lambda: len(read_topic(settings, DEAD_LETTER)) == 1)
        (letter,) = [pb.DeadLetter.FromString(value) for value in read_topic(settings, DEAD_LETTER)]
        assert (letter.reason, letter.topic) == ("expired", EMBEDDINGS[Kind.PAIR])
        assert_accounted_for(reader, settings)


def test_second_worker_on_the_same_home_is_refused_in_one_line(empty_log: Settings) -> None:
    with running(empty_log), reading(empty_log):
        second = start(empty_log)
        assert second.wait(PATIENCE_S) == 1
        (line,) = [line for line in log_tail(empty_log.home).splitlines() if line.startswith("neardup:")]
        assert "neardup down" in line


def test_full_disk_ends_the_worker_with_one_line_and_costs_nothing(empty_log: Settings) -> None:
    full = start(empty_log, max_file_kb=600)
    publish(empty_log, range(1_000))
    assert full.wait(PATIENCE_S) == 1
    (line,) = [line for line in log_tail(empty_log.home).splitlines() if line.startswith("neardup:")]
    assert "free some disk" in line
    with running(empty_log), reading(empty_log) as reader:
        eventually(lambda: images(reader) == 1_000)
        assert_accounted_for(reader, empty_log)


def test_paused_worker_ends_by_itself(empty_log: Settings) -> None:
    with running(empty_log) as worker, reading(empty_log):
        pause(empty_log.home, "the operator")
        assert worker.wait(PATIENCE_S) == 0
