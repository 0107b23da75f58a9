"""Claims about the cost of reads after many commits, measured in deleted keys that RocksDB steps over."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rocksdict import Options

from neardup_platform.errors import BadMessage
from neardup_platform.kafka.publisher import Settled
from neardup_platform.store import layout
from neardup_platform.store import secondary as rocksdb_secondary
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store import view as rocksdb_view
from neardup_platform.store.layout import Table
from neardup_platform.store.secondary import SecondaryStore
from neardup_platform.store.writer import Batch, Store
from neardup_platform.stream.commit import commit
from neardup_platform.stream.steps import Consumed, StreamStep
from neardup_platform.testing import families, small_pipeline
from neardup_platform.wire.codec import Message

COMMITS = 3_000
FEW = 10


@pytest.fixture
def skipped(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Return a count of the keys that readers opened from now on step over."""
    opened: list[Options] = []

    def counting() -> Options:
        options = rocksdb_view.rocksdb_options()
        options.enable_statistics()
        opened.append(options)
        return options

    def count() -> int:
        lines = "\n".join(options.get_statistics() or "" for options in opened).splitlines()
        return sum(int(line.split(":")[1]) for line in lines if line.startswith("rocksdb.number.iter.skip "))

    monkeypatch.setattr(rocksdb_secondary, "rocksdb_options", counting)
    return count


def commit_many(store: Store, commits: int) -> None:
    """Commit steps with one published message each. Each commit acknowledges the previous message."""
    state = store.state()
    settled: list[Settled] = []
    for number in range(commits):
        consumed = Consumed(dead=[(Message("t", 0, number, b"k", b"v"), BadMessage("garbage", "why"))])
        (published,) = commit(store, state, StreamStep(consumed), 0, settled)
        settled = [Settled(published.number, published.size)]


def test_commits_and_acknowledged_messages_do_not_slow_readers(tmp_path: Path, skipped: Callable[[], int]) -> None:
    with closing(Store(tmp_path / "store")) as store:
        commit_many(store, COMMITS)
        with closing(SecondaryStore(tmp_path / "store", tmp_path / "reader")) as reader:
            on_opening = skipped()
            commit_many(store, FEW)
            reader.refresh()
            # The reader verifies the commits since the last refresh, by two keys each; see docs/adr/0006.
            verified = skipped()
            assert verified - on_opening <= 2 * FEW
            reader.refresh()
            assert [number for number, _ in reader.outbox.pending()] == [COMMITS + FEW]
            assert list(reader.vectors.all()) == []
            assert skipped() == verified


def test_a_cluster_that_changes_often_does_not_slow_readers(tmp_path: Path, skipped: Callable[[], int]) -> None:
    with closing(Store(tmp_path / "store")) as store:
        pipeline, images = small_pipeline(), families(2, 1)
        commit(store, store.state(), StreamStep(decided=pipeline.decide(images, 1, 5)), 0)
        (head, *_) = store.clusters.recent(1)
        before = store.clusters.get(head).updated_sequence
        for sequence in range(before + 1, before + COMMITS):
            batch = Batch()
            old, new = (layout.recent_key(head, each) for each in (sequence - 1, sequence))
            if old != new:
                batch.delete(Table.RECENT, old)
            batch.put(Table.RECENT, new, layout.number_key(sequence))
            store.write(batch)
        with closing(SecondaryStore(tmp_path / "store", tmp_path / "reader")) as reader:
            assert reader.clusters.recent(100)[0] == head
            # One deleted key per block, and eight versions of a key that was written often.
            assert skipped() <= 16 * (1 + COMMITS // layout.RECENT_BLOCK)


def test_a_store_of_format_3_is_readable_and_is_migrated_by_the_writer(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "store")) as store:
        images, pipeline = families(6, 3), small_pipeline()
        outgoing = commit(store, store.state(), StreamStep(decided=pipeline.decide(images, 1, 5)), 0)
        commit(store, store.state(), StreamStep(), 0, [Settled(each.number, each.size) for each in outgoing[:4]])
        recent, state = store.clusters.recent(100), store.state()
        old = Batch()
        for key, sequence in list(store.scan(Table.RECENT)):
            old.delete(Table.RECENT, key)
            number = layout.number_of(sequence)
            old.put(Table.RECENT, layout.number_key((1 << 64) - 1 - number), layout.recent_head(key).encode())
        state.format = 3
        state.ClearField("outbox_first")
        old.put_state(state)
        store.write(old)
    with closing(SecondaryStore(tmp_path / "store", tmp_path / "reader")) as reader:
        assert [number for number, _ in reader.outbox.pending()] == [each.number for each in outgoing[4:]]
    with closing(Store(tmp_path / "store")) as store:
        assert len(recent) == 6
        assert store.clusters.recent(100) == recent
        assert store.state().outbox_first == outgoing[4].number
        stored = store_pb.StoreState.FromString(dict(store.scan(Table.STATE))[b""])
        assert stored.format == layout.FORMAT == 4


@given(st.binary(min_size=1, max_size=4), st.binary(max_size=4))
def test_the_key_after_a_prefix_follows_exactly_the_keys_with_that_prefix(prefix: bytes, more: bytes) -> None:
    prefix = b"\x07" + prefix
    assert prefix + more < layout.after_prefix(prefix)
    assert not any(key.startswith(prefix) for key in (layout.after_prefix(prefix), layout.after_prefix(prefix) + more))
