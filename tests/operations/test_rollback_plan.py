"""Claims about the plans of a rollback and of its undo, on a real Kafka and a real S3 server."""

from collections.abc import Iterator, Mapping
from contextlib import closing

import pytest

from neardup_platform.errors import BadCommand, SetupError
from neardup_platform.operations.in_words import rollback_plan_in_words
from neardup_platform.operations.plans import plan_rollback, plan_undo
from neardup_platform.records import Kind
from neardup_platform.s3_client import ensure_bucket, open_s3
from neardup_platform.settings import Settings
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.swap import before_path, copy_store
from neardup_platform.store.writer import Batch
from neardup_platform.stream.snapshots.s3_snapshots import describe_files, put_snapshot
from neardup_platform.stream.snapshots.snapshot_manifest import Manifest
from neardup_platform.testing import InMemoryWorker, families
from neardup_platform.wire.topics import EMBEDDINGS

SNAPSHOT = "1700000000000-0123abcd"
IMAGES = families(4, 3)
RECREATED = {f"{EMBEDDINGS[Kind.LSH]}[0]"}


@pytest.fixture
def settings(empty_log: Settings) -> Settings:
    """With a bucket of its own."""
    return empty_log.model_copy(update={"s3": empty_log.s3.model_copy(update={"bucket": "rollback-plan"})})


@pytest.fixture
def worker(settings: Settings) -> Iterator[InMemoryWorker]:
    """A worker that has read from a topic that was deleted and created again since."""
    with closing(InMemoryWorker(settings.home)) as worker:
        worker.decide(IMAGES[:6])
        batch = Batch()
        position = store_pb.Position(next_offset=0, log="0" * 32)
        batch.put(Table.POSITIONS, layout.position_key(EMBEDDINGS[Kind.LSH], 0), position.SerializeToString())
        worker.store.write(batch)
        worker.store.flush()
        yield worker


def recreated(lost: Mapping[str, int | None]) -> set[str]:
    """The partitions of which an unknown number is lost; of others, tests before this one deleted messages."""
    return {place for place, count in lost.items() if count is None}


def test_a_rollback_over_a_recreated_topic_is_planned_with_losses(settings: Settings, worker: InMemoryWorker) -> None:
    checkpoint = settings.home / "checkpoint"
    worker.store.checkpoint(checkpoint)
    state, s3 = worker.store.state(), open_s3(settings.s3)
    manifest = Manifest(
        SNAPSHOT,
        *(1, "c", "a test", state.format, state.store_id, state.images, state.clusters, state.sequence),
        *(state.digest.hex(), {}, state.terms_version, "cosine", "", "", describe_files(checkpoint)),
    )
    ensure_bucket(s3, settings.s3)
    put_snapshot(s3, settings.s3.bucket, checkpoint, manifest)
    plan = plan_rollback(settings, SNAPSHOT)
    assert recreated(plan.lost) == RECREATED
    said = rollback_plan_in_words(plan.flat())
    assert f"some of {EMBEDDINGS[Kind.LSH]}[0], whose topic was created again since" in said
    assert "only force allows that" in said
    quick = plan_rollback(settings, SNAPSHOT, compare=False)
    assert recreated(quick.lost) == set()
    assert "whether topics were created again, were not compared" in rollback_plan_in_words(quick.flat())


def test_an_undo_is_planned_from_the_store_that_was_replaced(settings: Settings, worker: InMemoryWorker) -> None:
    with pytest.raises(BadCommand, match="no rollback or reprocess was done"):
        plan_undo(settings)
    checkpoint = settings.home / "checkpoint"
    worker.store.checkpoint(checkpoint)
    copy_store(checkpoint, before_path(settings.store_path))
    worker.decide(IMAGES[6:])
    worker.store.flush()
    plan = plan_undo(settings)
    assert recreated(plan.lost) == RECREATED
    assert (plan.flat()["images"], plan.flat()["images_unknown"], plan.flat()["images_moved"]) == (
        6,
        len(IMAGES) - 6,
        0,
    )
    assert "of the store that the last rollback or reprocess replaced" in rollback_plan_in_words(plan.flat())
    assert list(settings.home.glob("rollback-plan-*")) == []


def test_an_undo_is_planned_on_the_machine_of_the_worker(settings: Settings) -> None:
    with pytest.raises(SetupError, match="there is no store"):
        plan_undo(settings)
