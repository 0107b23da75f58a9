"""Claims about a start over a checkpoint: it leads to what reading all images leads to, whatever has happened since."""

import logging
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from neardup_platform.errors import NeardupError
from neardup_platform.image_table.checkpoint import NAME, read_checkpoint
from neardup_platform.records import JoinedImage
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.writer import Batch, Store
from neardup_platform.stream import checkpointing, known_corpus
from neardup_platform.stream.checkpointing import Checkpointing
from neardup_platform.stream.known_corpus import known_images
from neardup_platform.testing import InMemoryWorker, families, image

POOL = families(30, 6, noise=0.2)


def crash(worker: InMemoryWorker) -> None:
    """What `kill -9` leaves: files and locks are released, nothing is saved."""
    worker.corpus.close()
    worker.store.close()


def records_read(caplog: pytest.LogCaptureFixture) -> int:
    """How many images the last start has read from the store."""
    lines = [record for record in caplog.records if record.name == "neardup_platform.stream.recovery"]
    return int(lines[-1].args[4])  # type: ignore[arg-type, index]


def assert_as_read_in_full(worker: InMemoryWorker) -> None:
    corpus, state = worker.corpus, worker.store.state()
    with TemporaryDirectory() as folder:
        expected = known_images(worker.store, state, Path(folder), lambda *_: None)
        with closing(expected.ids) as ids:
            assert corpus.ids()[: state.ordinals] == [ids.id_of(ordinal) for ordinal in range(state.ordinals)]
    found = corpus.columns(state.ordinals)
    assert np.array_equal(found.heads, expected.columns.heads)
    assert np.array_equal(found.retired, expected.columns.retired)
    heads = expected.columns.heads.astype(np.int64) - 1
    for head in np.unique(heads[heads >= 0]).tolist():
        assert corpus.size_of(head) == (heads == head).sum()
        assert corpus.representatives_of(head) == (heads[~expected.columns.retired] == head).sum()


class Machine:
    """A worker that is changed, saved, stopped and killed at random."""

    def __init__(self, home: Path, seed: int) -> None:
        self.home, self.random = home, Random(seed)  # noqa: S311
        self.left = list(POOL)
        self.random.shuffle(self.left)
        self.worker = InMemoryWorker(home)
        self.saving = self.checkpoints()

    def checkpoints(self) -> Checkpointing:
        worker = self.worker
        return Checkpointing(worker.store, worker.corpus, self.home / "vectors", worker.store.state())

    def known(self) -> str:
        return self.random.choice([image_id for image_id in self.worker.corpus.ids() if image_id])

    def new_images(self) -> None:
        count = self.random.randint(1, 9)
        taken, self.left = self.left[:count], self.left[count:]
        self.worker.decide(taken)

    def forget(self) -> None:
        self.worker.forget(self.known())

    def override(self, *, apply: bool = True) -> None:
        action = self.random.choice(["move", "alone", "forbid"])
        arguments = {"action": action, "image_id": self.known()}
        if action != "alone":
            arguments["other_id"] = self.known()
        try:
            self.worker.run_command("override", apply=apply, **arguments)
        except NeardupError:
            return

    def replace(self) -> None:
        by_id = {each.image_id: each for each in POOL}
        image_id = self.known()
        newer: JoinedImage = image(image_id, -by_id[image_id].lsh.vector, 1_700_000_000_000)
        self.worker.replace(newer)

    def save(self) -> None:
        self.saving.turn(self.worker.store.state())

    def killed_between_commit_and_apply(self) -> None:
        self.saving.close()
        self.override(apply=False)
        crash(self.worker)
        self.restart()

    def killed_before_the_commit(self) -> None:
        self.saving.close()
        self.worker.decide_uncommitted(self.left[:5])
        crash(self.worker)
        self.restart()

    def stopped(self) -> None:
        self.saving.close()
        self.worker.close()
        self.restart()

    def restart(self) -> None:
        self.worker = InMemoryWorker(self.home)
        self.saving = self.checkpoints()
        assert_as_read_in_full(self.worker)

    def run(self, steps: int) -> None:
        often: list[Callable[[], None]] = [self.new_images, self.forget, self.override, self.replace, self.save]
        rarely = [self.killed_between_commit_and_apply, self.killed_before_the_commit, self.stopped]
        self.new_images()
        for _ in range(steps):
            self.random.choice([*often, *often, *rarely])()
        self.stopped()
        self.saving.close()
        self.worker.close()


@pytest.mark.parametrize("seed", range(6))
def test_every_start_leads_to_what_the_store_holds(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(checkpointing, "LEAST_DECISIONS", 3)
    monkeypatch.setattr(known_corpus, "_CHUNK", 4)
    with caplog.at_level(logging.INFO):
        Machine(tmp_path, seed).run(40)
    fell_back = [r.getMessage() for r in caplog.records if "are read from the store:" in r.getMessage()]
    assert {line.partition("store: ")[2] for line in fell_back} == {"there is no checkpoint"}


def test_a_start_after_a_stop_reads_no_image(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(InMemoryWorker(tmp_path)) as worker:
        worker.decide(POOL)
    with caplog.at_level(logging.INFO), closing(InMemoryWorker(tmp_path)) as worker:
        assert records_read(caplog) == 0
        assert_as_read_in_full(worker)


def test_a_start_after_a_crash_reads_what_came_after_the_checkpoint(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(InMemoryWorker(tmp_path)) as worker:
        worker.decide(POOL[:100])
    worker = InMemoryWorker(tmp_path)
    worker.decide(POOL[100:])
    worker.forget(POOL[0].image_id)
    crash(worker)
    with caplog.at_level(logging.INFO), closing(InMemoryWorker(tmp_path)) as worker:
        assert len(POOL) - 100 < records_read(caplog) < len(POOL) - 80
        assert_as_read_in_full(worker)


def test_members_of_a_head_with_newer_embeddings_are_found(tmp_path: Path) -> None:
    with closing(InMemoryWorker(tmp_path)) as worker:
        worker.decide(POOL)
        head = max(set(worker.heads().values()), key=list(worker.heads().values()).count)
    worker = InMemoryWorker(tmp_path)
    record = worker.store.images.find(head)
    assert record is not None
    same = next(each for each in POOL if each.image_id == head)
    worker.re_embed(same.lsh)
    crash(worker)
    with closing(InMemoryWorker(tmp_path)) as worker:
        assert worker.store.images.find(head).ordinal != record.ordinal  # type: ignore[union-attr]
        assert_as_read_in_full(worker)


def changed_unnoted(store: Store) -> None:
    """A write of images that is no commit, as of a store under construction."""
    batch = Batch()
    head, record = next(iter(store.images.all()))
    batch.put(Table.IMAGES, head.encode(), record.SerializeToString())
    store.write(batch)


def an_earlier_version(store: Store) -> None:
    """A commit that notes nothing."""
    batch, state = Batch(), store.state()
    state.commit += 1
    batch.put_state(state)
    store.write(batch)


def another_store(store: Store) -> None:
    batch, state = Batch(), store.state()
    state.store_id = "another"
    batch.put_state(state)
    store.write(batch)


def an_older_copy(store: Store) -> None:
    batch, state = Batch(), store.state()
    state.commit = state.touched_commit = 1
    batch.put_state(state)
    store.write(batch)


def a_load(store: Store) -> None:
    batch, state = Batch(), store.state()
    state.commit += 1
    state.touched_commit = state.commit
    batch.put(Table.TOUCHED, layout.number_key(state.commit), store_pb.Touched(all=True).SerializeToString())
    batch.put_state(state)
    store.write(batch)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (changed_unnoted, "has changed many images"),
        (an_earlier_version, "an earlier version has written"),
        (another_store, "of another store"),
        (an_older_copy, "the store of commit 1"),
        (a_load, "has changed many images"),
    ],
)
def test_a_checkpoint_that_does_not_serve_is_not_used(
    tmp_path: Path, change: Callable[[Store], None], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(InMemoryWorker(tmp_path)) as worker:
        worker.decide(POOL)
    with closing(Store(tmp_path / "store")) as store:
        change(store)
    with caplog.at_level(logging.INFO), closing(InMemoryWorker(tmp_path)) as worker:
        assert why in caplog.text
        assert records_read(caplog) == len(POOL)
        assert_as_read_in_full(worker)
    caplog.clear()
    with caplog.at_level(logging.INFO), closing(InMemoryWorker(tmp_path)):
        assert records_read(caplog) == 0


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *((name, damage) for name in (NAME, "columns-*", "ids-*.places") for damage in ("gone", "short", "zeros")),
        # One of zeros is found by `neardup doctor`, which compares a sample, as it does for vectors.
        *(("ids-*.text", damage) for damage in ("gone", "short")),
    ],
)
def test_damaged_files_are_made_again(tmp_path: Path, name: str, damage: str) -> None:
    with closing(InMemoryWorker(tmp_path)) as worker:
        worker.decide(POOL)
    (path,) = (tmp_path / "vectors").glob(name)
    content = path.read_bytes()
    path.write_bytes(b"" if damage == "short" else bytes(len(content)))
    if damage == "gone":
        path.unlink()
    with closing(InMemoryWorker(tmp_path)) as worker:
        assert_as_read_in_full(worker)


def test_an_earlier_checkpoint_is_not_used_once_what_followed_is_no_longer_noted(tmp_path: Path) -> None:
    with closing(InMemoryWorker(tmp_path)) as worker:
        worker.decide(POOL[:90])
    earlier = {path.name: path.read_bytes() for path in (tmp_path / "vectors").iterdir()}
    with closing(InMemoryWorker(tmp_path)) as worker:
        worker.forget(POOL[3].image_id)
        saving = Checkpointing(worker.store, worker.corpus, tmp_path / "vectors", store_pb.StoreState())
        saving.turn(worker.store.state())
    found = read_checkpoint(tmp_path / "vectors")
    assert found is not None
    with closing(Store(tmp_path / "store")) as store:
        checkpointing.drop_noted(store, found.commit)
    for path in (tmp_path / "vectors").iterdir():
        path.unlink()
    for name, content in earlier.items():
        (tmp_path / "vectors" / name).write_bytes(content)
    with closing(InMemoryWorker(tmp_path)) as worker:
        assert_as_read_in_full(worker)


def test_a_full_disk_leaves_the_previous_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(InMemoryWorker(tmp_path)) as worker:
        worker.decide(POOL[:90])
    before = read_checkpoint(tmp_path / "vectors")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, closing(InMemoryWorker(tmp_path)) as worker:
        patched.setattr("neardup_platform.image_table.checkpoint.replace_file", full)
        worker.decide(POOL[90:])
    assert "No space left on device; the next start reads more" in caplog.text
    assert read_checkpoint(tmp_path / "vectors") == before
    with closing(InMemoryWorker(tmp_path)) as worker:
        assert_as_read_in_full(worker)


@pytest.mark.slow
def test_a_kill_at_any_line_of_saving_leaves_a_start_that_leads_to_the_store(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.stream.killed_while_saving", str(tmp_path / "home")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10
