"""Claims about forgetting: gone from every table, from memory and from the disk, and not back by a repeat."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from neardup_platform.errors import NotFound
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.secondary import SecondaryStore
from neardup_platform.store.writer import Batch, Store
from neardup_platform.testing import LSH_DIM, InMemoryWorker, families, image
from neardup_platform.wire.codec import decode_decision, encode_embedding
from neardup_platform.wire.topics import DECISIONS
from tests.stream.rearranged import assert_gone, assert_sound, heads

IMAGES = families(6, 9, noise=0.2)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[InMemoryWorker]:
    with closing(InMemoryWorker(tmp_path / "home")) as worker:
        worker.decide(IMAGES)
        yield worker
        assert_sound(worker, tmp_path / "scratch")


def member_of(worker: InMemoryWorker) -> str:
    return next(image_id for image_id, head in heads(worker.store).items() if head != image_id)


def files_with(folder: Path, found: bytes) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and found in path.read_bytes()]


def test_a_forgotten_member_is_in_no_table(worker: InMemoryWorker) -> None:
    image_id = member_of(worker)
    before = worker.store.state()
    result = worker.run_command("forget", image_id=image_id)
    assert_gone(worker.store, image_id)
    assert image_id not in worker.corpus.ids()
    after = worker.store.state()
    assert (after.images, after.ordinals, after.forgotten) == (before.images - 1, before.ordinals, 1)
    assert after.counters["forgotten"] == 2
    assert image_id not in str(result)


def test_that_an_image_is_gone_is_published(worker: InMemoryWorker) -> None:
    image_id = member_of(worker)
    worker.run_command("forget", command_id="c", image_id=image_id)
    entry = [entry for _, entry in worker.store.outbox.pending() if entry.topic == DECISIONS][-1]
    gone = decode_decision(entry.value)
    assert (gone.image_id, gone.head, gone.cause, gone.override_id) == (image_id, "", "forget", "c")


def test_the_bytes_of_a_forgotten_image_leave_the_disk(tmp_path: Path) -> None:
    marked = image("marked", np.random.default_rng(3).standard_normal(LSH_DIM))
    vector = marked.lsh.vector.astype("<f2").tobytes()
    home = tmp_path / "home"
    with closing(InMemoryWorker(home)) as worker:
        worker.decide([*IMAGES[:20], marked, *IMAGES[20:]])
    assert files_with(home / "store", vector)
    assert files_with(home / "vectors", vector)
    with closing(InMemoryWorker(home)) as worker:
        worker.run_command("forget", image_id="marked")
        worker.store.purged()
        assert files_with(home / "store", vector) == []
        assert files_with(home / "store", b"s3://pictures/marked") == []
        assert files_with(home / "vectors", vector) == []
        assert list(worker.store.scan(Table.PURGES)) == []
        assert_sound(worker, tmp_path / "scratch")


def test_the_bytes_of_many_images_forgotten_in_one_turn_leave_the_disk(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with closing(InMemoryWorker(home)) as worker:
        worker.decide(IMAGES)
    with closing(InMemoryWorker(home)) as worker:
        for each in IMAGES[::5]:
            worker.run_command("forget", apply=False, image_id=each.image_id)
        worker.apply_pending()
        worker.store.purged()
        assert list(worker.store.scan(Table.PURGES)) == []
        for each in IMAGES[::5]:
            assert files_with(home, each.lsh.vector.astype("<f2").tobytes()) == []
        assert files_with(home / "vectors", IMAGES[1].lsh.vector.astype("<f2").tobytes())


def test_vectors_an_image_had_before_leave_the_disk_with_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    old = image("marked", np.random.default_rng(3).standard_normal(LSH_DIM))
    new = image("marked", np.random.default_rng(4).standard_normal(LSH_DIM))
    with closing(InMemoryWorker(home)) as worker:
        worker.decide([*IMAGES, old])
    with closing(InMemoryWorker(home)) as worker:
        worker.re_embed(new.lsh)
    with closing(InMemoryWorker(home)) as worker:
        worker.run_command("forget", image_id="marked")
        worker.store.purged()
        for was in (old, new):
            assert files_with(home, was.lsh.vector.astype("<f2").tobytes()) == []


def test_a_purge_that_a_crash_prevented_is_done_by_the_next_start(tmp_path: Path) -> None:
    home = tmp_path / "home"
    marked = image("marked", np.random.default_rng(3).standard_normal(LSH_DIM))
    vector = marked.lsh.vector.astype("<f2").tobytes()
    with closing(InMemoryWorker(home)) as worker:
        worker.decide([*IMAGES[:20], marked, *IMAGES[20:]])
    crashed = InMemoryWorker(home)
    crashed.run_command("forget", apply=False, image_id="marked")
    crashed.corpus.close()
    crashed.store.close()
    assert files_with(home / "store", vector)
    assert files_with(home / "vectors", vector)
    with closing(InMemoryWorker(home)) as worker:
        worker.store.purged()
        assert files_with(home, vector) == []
        assert "marked" not in worker.corpus.ids()
        worker.decide([image("late", marked.lsh.vector)])
        found = decode_decision(worker.store.history.current("late")).candidates
        assert "marked" not in {candidate.image_id for candidate in found}
        assert_sound(worker, tmp_path / "scratch")


def test_a_forgotten_image_is_found_no_more_in_window_and_segments(worker: InMemoryWorker) -> None:
    """Blocks are of 32 images here: the first family images are sealed, the last are in the window."""
    for number in (0, len(IMAGES) - 1):
        gone = IMAGES[number]
        worker.run_command("forget", image_id=gone.image_id)
        worker.decide([image(f"again {number}", gone.lsh.vector)])
        found = decode_decision(worker.store.history.current(f"again {number}")).candidates
        assert gone.image_id not in {candidate.image_id for candidate in found}


def test_unpaired_embeddings_are_forgotten_too(worker: InMemoryWorker) -> None:
    half = image("waits", np.ones(LSH_DIM)).pair
    batch = Batch()
    waiting = store_pb.UnpairedRecord(value=encode_embedding(half), topic="neardup.embeddings.pair")
    batch.put(Table.WAITING, layout.waiting_key(half.kind, "waits"), waiting.SerializeToString())
    worker.store.write(batch)
    before = worker.store.state()
    assert worker.run_command("forget", image_id="waits").values["forgotten"] == "halves"
    assert list(worker.store.unpaired.all()) == []
    after = worker.store.state()
    assert (after.images, after.counters["forgotten"], after.forgotten) == (before.images, 1, 1)


def test_an_unknown_image_cannot_be_forgotten(worker: InMemoryWorker) -> None:
    with pytest.raises(NotFound, match="is unknown"):
        worker.run_command("forget", image_id="nobody")
    assert worker.store.images.forgotten("nobody") is None


def test_embeddings_are_barred_up_to_the_order_or_the_images_own_time(worker: InMemoryWorker) -> None:
    ahead = image("ahead", np.ones(LSH_DIM), time_ms=4_000_000_000_000)
    worker.decide([ahead])
    for image_id in ("ahead", member_of(worker)):
        worker.run_command("forget", image_id=image_id)
        forgotten = worker.store.images.forgotten(image_id)
        assert forgotten is not None
        assert forgotten.upto_ms == worker.store.images.forgotten_upto_ms(image_id)
        assert (forgotten.upto_ms == ahead.event_time_ms) == (image_id == "ahead")
        assert (forgotten.issued_by, bool(forgotten.command_id)) == ("a test", True)


def test_an_image_that_comes_back_is_new_and_takes_its_redirect_away(worker: InMemoryWorker) -> None:
    head = next(head for image_id, head in heads(worker.store).items() if head != image_id)
    worker.run_command("forget", image_id=head)
    heir = worker.store.redirects.resolve(head)
    assert heir != head
    worker.decide([image(head, 7 * np.eye(LSH_DIM)[3], time_ms=5_000)])
    assert worker.store.redirects.resolve(head) == head
    assert len(worker.store.history.all(head)) == 1
    worker.run_command("override", action="move", image_id=heir, other_id=head)
    assert worker.store.redirects.resolve(heir) not in (heir, "")


def test_a_store_of_format_2_is_migrated_by_the_writer_and_read_before(tmp_path: Path) -> None:
    with closing(InMemoryWorker(tmp_path)) as worker:
        worker.decide(IMAGES[:30])
        digest = worker.store.state().digest
    with closing(Store(tmp_path / "store")) as store:
        old = store.state()
        old.format = 2
        old.ClearField("ordinals")
        batch = Batch()
        batch.put_state(old)
        store.write(batch)
    reader = SecondaryStore(tmp_path / "store", tmp_path / "scratch")
    assert (reader.state().format, reader.state().ordinals) == (layout.FORMAT, 30)
    reader.close()
    with closing(InMemoryWorker(tmp_path)) as worker:
        state = worker.store.state()
        assert (state.format, state.ordinals, state.images, state.digest) == (layout.FORMAT, 30, 30, digest)
        worker.decide(IMAGES[30:])
        assert_sound(worker, tmp_path / "rebuilt")
