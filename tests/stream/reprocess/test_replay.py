"""Claims about replay: the state is a function of the recorded order, whatever the batches."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from neardup_platform.errors import InvariantBroken
from neardup_platform.matching import Matching
from neardup_platform.store.writer import Store
from neardup_platform.stream.reprocess.replay import replay
from neardup_platform.testing import InMemoryWorker, families, small_pipeline


@contextmanager
def filled(home: Path, size: int = 7) -> Iterator[InMemoryWorker]:
    with closing(InMemoryWorker(home)) as worker:
        worker.decide(families(25, 5), size)
        yield worker


@pytest.mark.parametrize("batch", [1, 7, 64, 1_000])
def test_a_replay_gives_the_same_state_whatever_the_batch(tmp_path: Path, batch: int) -> None:
    with filled(tmp_path / "one") as worker, closing(Store(tmp_path / "two")) as target:
        replay(worker.store, target, small_pipeline(), batch)
        before, after = worker.store.state(), target.state()
        assert (after.digest, after.images, after.clusters) == (before.digest, before.images, before.clusters)
        assert dict(target.images.all()).keys() == dict(worker.store.images.all()).keys()
        for image_id, record in worker.store.images.all():
            again = target.images.find(image_id)
            assert again is not None
            assert (again.ordinal, again.head, again.event_time_ms, again.source_uri) == (
                record.ordinal,
                record.head,
                record.event_time_ms,
                record.source_uri,
            )
        assert list(target.outbox.pending()) == []


def test_other_rules_give_other_clusters(tmp_path: Path) -> None:
    with filled(tmp_path / "one") as worker, closing(Store(tmp_path / "two")) as target:
        strict = small_pipeline()
        strict.use_classifier(strict.scorer, Matching(1_000, 0, 0.9999, 0.9999, 4))
        replay(worker.store, target, strict, 50)
        assert target.state().clusters > worker.store.state().clusters


def test_an_interrupted_replay_continues_where_it_ended(tmp_path: Path) -> None:
    with filled(tmp_path / "one") as worker:
        images = families(25, 5)
        with closing(InMemoryWorker(tmp_path / "two")) as half:
            half.decide(images[:60], 9)
        with closing(InMemoryWorker(tmp_path / "two")) as rest:
            replay(worker.store, rest.store, rest.pipeline, 13)
            assert rest.store.state().digest == worker.store.state().digest


def test_a_corpus_that_is_not_the_targets_is_refused(tmp_path: Path) -> None:
    with filled(tmp_path / "one") as worker, closing(Store(tmp_path / "two")) as target:
        pipeline = small_pipeline()
        pipeline.decide([replace(image) for image in families(1, 1)], 1, 7)
        with pytest.raises(InvariantBroken, match="corpus holds 2 images"):
            replay(worker.store, target, pipeline, 10)
