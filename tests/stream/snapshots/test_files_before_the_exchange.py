"""Claims about the files of a restored store, which are made while the active one decides, corrects and is killed."""

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from neardup_platform.progress import Progress
from neardup_platform.records import Embedding
from neardup_platform.scoring.mmap_vectors import WrittenVectors
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.settings import Settings
from neardup_platform.store.stored_pairs import StoredPairs
from neardup_platform.store.view import open_checkpoint
from neardup_platform.stream.built_files import built_path
from neardup_platform.stream.control.command import RegisteredCommand, register
from neardup_platform.stream.corrections.forget import Forget
from neardup_platform.stream.next_files import make_files as make_files_module
from neardup_platform.stream.next_files.make_files import FilesOrder
from neardup_platform.stream.snapshots.compensation import changed_heads
from neardup_platform.testing import MODELS, eventually, families, image
from neardup_platform.wire.command_arguments import ForgetArguments, OverrideArguments, RestoreArguments
from tests.stream.control_machine import ControlMachine, Machines, command
from tests.stream.corrected import FolderRestore, nothing_deleted, snapshot
from tests.stream.small_files import SmallFiles
from tests.stream.snapshots.test_mirrors_after_a_restore import assert_mirrored
from tests.stream.snapshots.test_snapshot_and_restore import assert_whole

IMAGES = families(30, 4)
SHARED = 100


class HeldFiles(SmallFiles):
    """Files that are made, with some rows as a copy leaves them that was made while they were erased; then it waits.

    Args:
        torn: ordinals of these rows.
    """

    def __init__(self, torn: Sequence[int] = ()) -> None:
        self.torn, self.made, self.go = torn, threading.Event(), threading.Event()
        self.files = Path()

    def make(self, order: FilesOrder, progress: Progress) -> None:
        super().make(order, progress)
        with closing(open_checkpoint(order.checkpoint)) as store:
            state, pairs = store.state(), StoredPairs(store)
            with closing(
                WrittenVectors(order.files / "vectors", state.store_id, MODELS, state.ordinals, pairs)
            ) as vectors:
                rows = (np.ones((len(self.torn), model.dim), np.float16) for model in MODELS.values())
                vectors.rewrite(np.array(self.torn, np.int64), ImageVectors(*rows))
        self.files = order.files
        self.made.set()
        self.go.wait(60)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def make(settings: Settings) -> Iterator[Callable[..., ControlMachine]]:
    """Workers over one home, one after the other."""

    def give_up(machine: ControlMachine) -> None:
        machine.control.close(20)
        unfinished = machine.commands["restore"].handler
        assert isinstance(unfinished, FolderRestore)
        unfinished.close()

    machines = Machines(settings.home, give_up)

    def start(maker: SmallFiles | None = None, *sent: bytes) -> ControlMachine:
        def commands(machine: ControlMachine) -> Sequence[RegisteredCommand]:
            restore = FolderRestore(
                *(settings, machine.store, machine.pipeline, "cosine", lambda _: None, nothing_deleted),
                machine.clock,
                models=MODELS,
                launch=lambda _: maker or SmallFiles(),
            )
            forget = Forget(machine.store, machine.worker.redeciding, machine.clock, restore.note_forgotten)
            return [
                register(RestoreArguments, restore),
                register(ForgetArguments, forget, prompt=True),
                register(OverrideArguments, machine.worker.override_handler, prompt=True),
            ]

        return machines.start(commands, *sent)

    yield start
    machines.end()


def filled(make: Callable[..., ControlMachine], settings: Settings, maker: SmallFiles | None = None) -> ControlMachine:
    """A worker with a snapshot of the first images."""
    one = make(maker)
    one.decide(IMAGES[:SHARED])
    snapshot(one.store, settings.home / "earlier")
    one.decide(IMAGES[SHARED:])
    return one


def turn_until(machine: ControlMachine, is_reached: Callable[[], bool]) -> None:
    def turned() -> bool:
        machine.turn()
        return is_reached()

    eventually(turned)


def newer(image_id: str) -> Embedding:
    (found,) = [each.lsh for each in IMAGES if each.image_id == image_id]
    return Embedding(image_id, found.kind, found.model_version, found.vector[::-1].copy(), found.event_time_ms + 1)


def test_what_is_corrected_while_files_are_made_is_in_the_restored_store(
    make: Callable[..., ControlMachine], settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "neardup_platform.stream.recovery")
    again, gone, head = IMAGES[5].image_id, IMAGES[9].image_id, IMAGES[12].image_id
    ordinals = sorted(IMAGES.index(each) for each in IMAGES if each.image_id in (again, gone, head))
    maker = HeldFiles(ordinals)
    one = filled(make, settings, maker)
    assert one.store.images.find(head).head == head  # type: ignore[union-attr]
    one.log.append(command("restore", "r", snapshot="earlier"))
    turn_until(one, maker.made.is_set)
    assert one.control.doing.startswith("restore: files of the other store")
    one.worker.re_embed(newer(again))
    one.log += [command("forget", f"f-{image_id}", image_id=image_id) for image_id in (gone, head)]
    one.log.append(command("override", "o", action="alone", image_id=IMAGES[20].image_id))
    turn_until(one, lambda: one.store.state().forgotten == len(one.store.overrides.all()) + 1 == 2)
    one.decide([image(f"more/{each.image_id}", each.lsh.vector) for each in IMAGES[::20]])
    maker.go.set()
    one.run_until_replaced()
    kept = built_path(settings.store_path)
    assert kept.exists()
    assert not maker.files.exists()
    caplog.clear()
    two = make()
    assert two.store.state().images == SHARED - 2
    assert not kept.exists()
    (line,) = [r.args for r in caplog.records if r.name == "neardup_platform.stream.recovery"]
    assert isinstance(line, tuple)
    assert (line[2], int(str(line[4])) < SHARED // 2) == (0, True)
    for ordinal, (image_id, found) in enumerate(
        zip(two.pipeline.corpus.ids(), two.pipeline.corpus.vectors.rows.lsh, strict=True)
    ):
        record = two.store.vectors.find(ordinal)
        assert image_id == ("" if record is None else record.image_id)
        assert found.tobytes() == (bytes(len(found.tobytes())) if record is None else record.lsh)
    assert_mirrored(two.store)


def test_a_kill_while_files_are_made_leaves_nothing_that_is_used(
    make: Callable[..., ControlMachine], settings: Settings
) -> None:
    maker = HeldFiles()
    one = filled(make, settings, maker)
    digest = one.store.state().digest
    one.log.append(command("restore", "r", snapshot="earlier"))
    turn_until(one, maker.made.is_set)
    maker.go.set()
    two = make()
    assert two.store.state().digest == digest
    assert_whole(two)
    two.run_until_replaced()
    three = make()
    assert_whole(three)
    assert three.store.state().images == SHARED
    assert not list(settings.home.glob("next-files-*"))


def test_a_rollback_for_whose_files_there_is_no_disk_is_refused(
    make: Callable[..., ControlMachine], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = filled(make, settings)
    used = SimpleNamespace(disk_usage=lambda _: SimpleNamespace(free=1_000_000), rmtree=shutil.rmtree)
    monkeypatch.setattr(make_files_module, "shutil", used)
    one.log.append(command("restore", "r", snapshot="earlier"))
    (refused,) = one.run()
    assert "of 100 images take 268 MB" in refused.reason
    assert "1 MB are free" in refused.reason
    assert one.store.state().images == len(IMAGES)


def test_undo_after_a_rollback_is_made_before_the_exchange_too(
    make: Callable[..., ControlMachine], settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "neardup_platform.stream.recovery")
    one = filled(make, settings)
    heads = one.worker.heads()
    one.log.append(command("restore", "r", snapshot="earlier"))
    one.run_until_replaced()
    two = make()
    assert changed_heads(two.store, two.store) == []
    two.log.append(command("restore", "u", undo="true"))
    two.run_until_replaced()
    caplog.clear()
    three = make()
    assert three.worker.heads() == heads
    assert_whole(three)
    (line,) = [r.args for r in caplog.records if r.name == "neardup_platform.stream.recovery"]
    assert isinstance(line, tuple)
    assert (line[2], line[4]) == (0, 0)
