"""Claims about a reader beside a writer that commits, flushes and restarts."""

import multiprocessing
import time
from pathlib import Path

import pytest

from neardup_platform.store.secondary import SecondaryStore
from neardup_platform.store.writer import Store
from neardup_platform.stream.commit import commit
from neardup_platform.stream.recovery import rebuild_corpus
from neardup_platform.stream.steps import StreamStep
from neardup_platform.testing import MODELS, families, small_index, small_pipeline, small_term_space
from neardup_platform.wire.codec import decode_decision

WRITING_S = 8.0


def write(path: Path, seconds: float) -> None:
    """Commit, flush every third batch, and reopen the store now and then."""
    images, at, deadline = families(300, 15), 0, time.monotonic() + seconds
    while time.monotonic() < deadline and at < len(images):
        store = Store(path)
        pipeline = small_pipeline(
            rebuild_corpus(store, small_term_space(), MODELS, small_index, path.parent / "vectors")
        )
        for batch in range(20):
            size = 1 + batch % 5
            state = store.state()
            decided = pipeline.decide(images[at : at + size], state.sequence + 1, 1)
            commit(store, state, StreamStep(decided=decided), 0)
            at += size
            if batch % 3 == 0:
                store._tables.db.flush(True)
            time.sleep(0.005)
        store.close()


def check_one_moment(reader: SecondaryStore) -> int:
    """Everything the last image touched is there, and every total agrees; returns the number of images."""
    state = reader.state()
    if not state.images:
        return 0
    newest = reader.vectors.get(state.images - 1).image_id
    record = reader.images.find(newest)
    assert record is not None
    assert record.sequence == state.sequence
    assert decode_decision(reader.history.current(newest)).head == record.head
    members = reader.members.page(record.head, 10_000).image_ids
    assert members[-1] == newest
    assert reader.clusters.get(record.head).size == len(members)
    assert all(image and image.head == record.head for image in reader.images.find_many(list(members)))
    assert sum(1 for _ in reader.vectors.all()) == state.images
    return int(state.images)


@pytest.mark.slow
def test_reader_sees_whole_commits_only(tmp_path: Path) -> None:
    Store(tmp_path / "store").close()
    reader = SecondaryStore(tmp_path / "store", tmp_path / "scratch")
    process = multiprocessing.get_context("spawn").Process(target=write, args=(tmp_path / "store", WRITING_S))
    process.start()
    moments = set()
    while process.is_alive():
        reader.refresh()
        moments.add(check_one_moment(reader))
    process.join()
    assert process.exitcode == 0
    reader.refresh()
    moments.add(check_one_moment(reader))
    assert len(moments) > 5
    reader.close()
