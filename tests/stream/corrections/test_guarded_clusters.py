"""Claims about guarded clusters in a worker without Kafka: what is stored and counted, and how operators correct it."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from neardup_platform.records import Decision, Embedding
from neardup_platform.testing import InMemoryWorker
from neardup_platform.wire.codec import decode_decision
from neardup_platform.wire.topics import DECISIONS
from tests.growing_chain import AGREED, COMPARED, FIRST_HELD_APART, growing_chain, on_ring
from tests.stream.rearranged import assert_sound, heads

CHAIN = growing_chain(7)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[InMemoryWorker]:
    with closing(InMemoryWorker(tmp_path / "home")) as worker:
        worker.decide(CHAIN)
        yield worker
        assert_sound(worker, tmp_path / "scratch")


def decision(worker: InMemoryWorker, image_id: str) -> Decision:
    return decode_decision(worker.store.history.current(image_id))


def held_apart(worker: InMemoryWorker) -> int:
    return worker.store.state().counters["held_apart"]


def marked(worker: InMemoryWorker) -> list[str]:
    return [image_id for image_id, record in worker.store.images.all() if record.held_apart]


def test_an_image_held_apart_is_stored_published_and_counted_with_the_numbers(worker: InMemoryWorker) -> None:
    made = decision(worker, FIRST_HELD_APART)
    assert (made.founded, made.bridges) == (True, ("head",))
    assert made.guard is not None
    assert (made.guard.agreed, made.guard.compared, made.guard.size) == (AGREED, COMPARED, 8)
    published = [decode_decision(e.value) for _, e in worker.store.outbox.pending() if e.topic == DECISIONS]
    assert [d.guard for d in published if d.guard] == [made.guard]
    assert held_apart(worker) == 1
    assert marked(worker) == [FIRST_HELD_APART]


def test_an_override_moves_an_image_into_a_guarded_cluster(worker: InMemoryWorker) -> None:
    worker.override("move", FIRST_HELD_APART, "hinge")
    made = decision(worker, FIRST_HELD_APART)
    assert (made.head, made.cause, made.guard) == ("head", "override", None)
    assert marked(worker) == []
    assert held_apart(worker) == 1


def test_a_linked_image_stays_in_a_guarded_cluster_when_it_is_decided_again(worker: InMemoryWorker) -> None:
    worker.override("move", FIRST_HELD_APART, "hinge")
    worker.re_embed(replace(CHAIN[-1].lsh, model_version="newer", event_time_ms=1_700_000_000_000))
    made = decision(worker, FIRST_HELD_APART)
    assert (made.head, made.cause, made.guard) == ("head", "re-embedded", None)


def test_an_image_that_must_leave_its_cluster_is_guarded_by_its_recorded_candidates(worker: InMemoryWorker) -> None:
    worker.decide([on_ring(183, "leaves")])
    assert heads(worker.store)["leaves"] == FIRST_HELD_APART
    worker.override("forbid", "leaves", FIRST_HELD_APART)
    made = decision(worker, "leaves")
    assert (made.founded, made.cause) == (True, "override")
    assert made.guard is not None
    assert (made.guard.head, made.guard.agreed, made.guard.compared) == ("head", AGREED, COMPARED)
    assert held_apart(worker) == 2
    assert marked(worker) == ["leaves", FIRST_HELD_APART]


def test_a_re_embedded_image_is_guarded_like_a_new_one(worker: InMemoryWorker) -> None:
    worker.forget(FIRST_HELD_APART)
    worker.decide([on_ring(0, "moves", polar=0, axis=8)])
    assert marked(worker) == []
    newer = on_ring(180, "moves").lsh
    worker.re_embed(Embedding("moves", newer.kind, "newer", newer.vector, 1_700_000_000_000))
    made = decision(worker, "moves")
    assert (made.founded, made.cause) == (True, "re-embedded")
    assert made.guard is not None
    assert (made.guard.head, made.guard.agreed, made.guard.compared) == ("head", AGREED, COMPARED)
    assert held_apart(worker) == 2
    assert marked(worker) == ["moves"]


def test_the_size_follows_a_handover(worker: InMemoryWorker) -> None:
    worker.forget("head")
    (head,) = {heads(worker.store)[member.image_id] for member in CHAIN[1:8]}
    ordinal = worker.redeciding.known(head).ordinal
    assert worker.corpus.size_of(ordinal) == worker.store.clusters.get(head).size == 7
    assert decision(worker, head).guard is None
