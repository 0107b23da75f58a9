"""Claims about the commit and the store, on a real RocksDB."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from neardup_platform.corpus import Corpus
from neardup_platform.errors import BadMessage, HomeInUse, NotFound, SetupError
from neardup_platform.join.pairing import UnpairedEmbedding
from neardup_platform.kafka.publisher import Settled
from neardup_platform.pipeline import Pipeline
from neardup_platform.records import Embedding, JoinedImage, Kind
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.secondary import SecondaryStore
from neardup_platform.store.writer import Batch, Store
from neardup_platform.stream.commit import commit
from neardup_platform.stream.recovery import rebuild_corpus
from neardup_platform.stream.steps import Consumed, StreamStep
from neardup_platform.testing import MODELS, families, small_index, small_pipeline, small_term_space
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import Log, Message, decode_decision
from neardup_platform.wire.topics import DEAD_LETTER, DEBUG, DECISIONS


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "store")
    yield opened
    opened.close()


def run(store: Store, images: list[JoinedImage], pipeline: Pipeline | None = None, batch: int = 7) -> Pipeline:
    pipeline = pipeline or small_pipeline()
    for at in range(0, len(images), batch):
        state = store.state()
        commit(
            store, state, StreamStep(decided=pipeline.decide(images[at : at + batch], state.sequence + 1, 50 + at)), 0
        )
    return pipeline


def test_images_heads_members_and_totals_agree(store: Store) -> None:
    images = families(8, 5)
    run(store, images)
    head_of = {i.image_id: store.images.find(i.image_id).head for i in images}  # type: ignore[union-attr]
    listed: dict[str, str] = {}
    for head in set(head_of.values()):
        members = store.members.page(head, 1_000).image_ids
        assert store.clusters.get(head).size == len(members)
        assert head in members
        listed |= dict.fromkeys(members, head)
    assert listed == head_of
    state = store.state()
    assert (state.images, state.clusters, state.sequence) == (48, len(set(head_of.values())), 48)
    digest = bytes(16)
    for image_id, head in head_of.items():
        digest = layout.digest_after(digest, layout.assignment_digest(image_id, head))
    assert state.digest == digest


def test_members_are_paged_oldest_first_without_gap_or_repeat(store: Store) -> None:
    run(store, families(1, 24))
    (head,) = {store.images.find(i.image_id).head for i in families(1, 24)}  # type: ignore[union-attr]
    whole, pages, cursor = store.members.page(head, 1_000).image_ids, [], None
    while True:
        page = store.members.page(head, 4, cursor)
        pages += page.image_ids
        cursor = page.cursor
        if cursor is None:
            break
    assert tuple(pages) == whole
    sequences = [store.images.find(i).sequence for i in whole]  # type: ignore[union-attr]
    assert all(a < b for a, b in pairwise(sequences))


def test_recent_clusters_are_listed_once_newest_change_first(store: Store) -> None:
    images = families(6, 3)
    run(store, images)
    recent = store.clusters.recent(100)
    assert len(recent) == len(set(recent)) == 6
    changed = [store.clusters.get(head).updated_sequence for head in recent]
    assert changed == sorted(changed, reverse=True)
    assert store.clusters.recent(2) == recent[:2]


def test_decision_is_kept_with_the_image(store: Store) -> None:
    run(store, families(2, 2))
    decision = decode_decision(store.history.current("1/1"))
    assert decision.image_id == "1/1"
    assert store.history.all("1/1") == [store.history.current("1/1")]
    with pytest.raises(NotFound, match="nobody"):
        store.history.current("nobody")


def test_a_member_requested_as_head_resolves_to_its_head(store: Store) -> None:
    run(store, families(1, 1))
    member = next(i.image_id for i in families(1, 1) if store.images.find(i.image_id).head != i.image_id)  # type: ignore[union-attr]
    with pytest.raises(NotFound, match="it is a member of"):
        store.clusters.get(member)


def test_rebuilt_corpus_decides_as_the_one_before_the_restart(tmp_path: Path) -> None:
    images = families(10, 4, noise=0.25)
    one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
    run(one, images)
    run(two, images[:20])
    corpus: Corpus = rebuild_corpus(two, small_term_space(), MODELS, small_index, tmp_path / "vectors")
    restarted = small_pipeline()
    restarted.corpus = corpus
    run(two, images[20:], restarted, batch=3)
    assert two.state().digest == one.state().digest
    assert [decode_decision(two.history.current(i.image_id)).candidates for i in images] == [
        decode_decision(one.history.current(i.image_id)).candidates for i in images
    ]
    one.close()
    two.close()


def test_store_of_another_term_space_is_refused(store: Store, tmp_path: Path) -> None:
    run(store, families(1, 1))
    other = replace(small_term_space(), mean=small_term_space().mean + 1)
    with pytest.raises(SetupError, match="terms"):
        rebuild_corpus(store, other, MODELS, small_index, tmp_path / "vectors")


def half(image_id: str, offset: int) -> UnpairedEmbedding[Message]:
    embedding = Embedding(image_id, Kind.LSH, "v", np.ones(2, np.float32), 5)
    return UnpairedEmbedding(embedding, Message("neardup.embeddings.lsh", 1, offset, image_id.encode(), b"bytes"), 5)


def test_waiting_positions_and_dead_letters_change_together(store: Store) -> None:
    state = store.state()
    consumed = Consumed({("t", 0): 5}, entered=[half("a", 1), half("b", 2)])
    consumed.dead.append((Message("t", 0, 4, b"k", b"raw"), BadMessage("garbage", "why")))
    consumed.count("dead_lettered")
    (letter,) = commit(store, state, StreamStep(consumed), 0)
    assert letter.topic == DEAD_LETTER
    assert pb.DeadLetter.FromString(letter.value).value == b"raw"
    commit(store, state, StreamStep(Consumed({("t", 0): 6}, left=[half("a", 1)])), 0)
    assert store.positions.next_offsets() == {("t", 0): 6}
    assert [w.offset for w in store.unpaired.all()] == [2]
    assert store.state().counters == {"dead_lettered": 1}


def test_outbox_holds_decisions_until_acknowledged(store: Store) -> None:
    state, pipeline = store.state(), small_pipeline()
    outgoing = commit(store, state, StreamStep(decided=pipeline.decide(families(1, 1), 1, 0)), 0)
    assert [o.topic for o in outgoing] == [DECISIONS, DECISIONS, DEBUG]
    assert [number for number, _ in store.outbox.pending()] == [1, 2, 3]
    commit(store, state, StreamStep(), 0, [Settled(each.number, each.size) for each in outgoing[:2]])
    assert [number for number, _ in store.outbox.pending()] == [3]


def test_a_second_writer_is_refused_with_the_next_step(store: Store, tmp_path: Path) -> None:
    with pytest.raises(HomeInUse, match="neardup down"):
        Store(tmp_path / "store")


def test_store_of_another_format_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "old")
    batch = Batch()
    batch.put_state(store_pb.StoreState(format=layout.FORMAT + 1))
    store.write(batch)
    store.close()
    with pytest.raises(SetupError, match="format"):
        Store(tmp_path / "old")


def test_reader_sees_a_commit_whole_after_refresh(store: Store, tmp_path: Path) -> None:
    images = families(2, 2)
    run(store, images[:3])
    reader = SecondaryStore(tmp_path / "store", tmp_path / "scratch")
    corpus = rebuild_corpus(store, small_term_space(), MODELS, small_index, tmp_path / "vectors")
    run(store, images[3:], small_pipeline(corpus))
    assert reader.state().images == 3
    reader.refresh()
    assert reader.state().images == 6
    assert all(reader.images.find(i.image_id) for i in images)
    reader.close()


def test_a_position_keeps_its_log_and_nothing_stays_of_a_removed_partition(store: Store) -> None:
    state = store.state()
    consumed = Consumed(clocks={("t", 0): 7, ("t", 1): 8})
    consumed.add(Message("t", 0, 4, b"", b"", log=Log("f" * 32, 0)))
    consumed.add(Message("t", 1, 9, b"", b""))
    commit(store, state, StreamStep(consumed), 0)
    assert store.positions.logs() == {("t", 0): Log("f" * 32, 0), ("t", 1): Log("", -1)}
    commit(store, state, StreamStep(Consumed(gone={("t", 0)})), 0)
    assert (store.positions.next_offsets(), store.positions.clocks_ms()) == ({("t", 1): 10}, {("t", 1): 8})
