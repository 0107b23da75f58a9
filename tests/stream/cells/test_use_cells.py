"""Cells of the term index exchanged between the steps of a worker in this process."""

import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neardup_platform.clock import SystemClock
from neardup_platform.errors import BadArtefact, BadCommand, SetupError
from neardup_platform.progress import Progress, no_progress
from neardup_platform.settings import Settings
from neardup_platform.settings.stages import TermSettings
from neardup_platform.store.cells import recorded_cells
from neardup_platform.store.writer import Store
from neardup_platform.stream.cells import make_index as making
from neardup_platform.stream.cells.make_index import IndexOrder, make_index
from neardup_platform.stream.cells.note_cells import note_cells
from neardup_platform.stream.cells.use_cells import UseCells
from neardup_platform.stream.control.outcome import Done, Finish, Outcome, Stage
from neardup_platform.stream.next_files.make_files import FilesOrder
from neardup_platform.terms.cells import Cells, cells_of_index, cells_path, save_cells
from neardup_platform.terms.effort import Effort
from neardup_platform.terms.hyperplanes import TermSpace, save_term_space
from neardup_platform.terms.index import TermIndex
from neardup_platform.terms.json_manifest import read_manifest
from neardup_platform.terms.opening import load_search_space, space_with_cells
from neardup_platform.terms.sort_again import sort_again
from neardup_platform.testing import EXHAUSTIVE, MODELS, small_term_space
from neardup_platform.testing.images import families
from neardup_platform.testing.pipeline import BLOCK_IMAGES
from neardup_platform.testing.worker import InMemoryWorker
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.command_arguments import TERM_SPACE, UseCellsArguments

SPACE = small_term_space()
IMAGES = families(100, 6, noise=0.4)
# Few of the images are scanned, so the candidates depend on the cells.
NARROW = Effort(scan=40, shortlist=30)
COMMAND = pb.Command(command_id="exchange", name="use-cells", issued_by="a test")


def fitted(seed: int, cells: int = 24) -> Cells:
    words = np.random.default_rng(seed).integers(0, 1 << 64, (cells, SPACE.words), np.uint64)
    return Cells(SPACE.version, words)


FIRST, SECOND = fitted(1), fitted(2)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """With the small term space and two versions of cells on the disk."""
    found = Settings(home=tmp_path / "home", terms=TermSettings(space=tmp_path / "space.npz"))
    save_term_space(SPACE, tmp_path / "space.npz")
    for cells in (FIRST, SECOND):
        save_cells(cells, cells_path(found.home, cells.version))
    return found


def opened(effort: Effort) -> Callable[[Path, str, TermSpace], TermIndex]:
    return lambda folder, source, space: TermIndex(folder, space, effort, source=source, block_images=BLOCK_IMAGES)


class MakesHere:
    """Makes indexes as the process does, in this one; `meanwhile` is done before the last images are hashed."""

    def __init__(self, settings: Settings, effort: Effort, meanwhile: Callable[[], None] = lambda: None) -> None:
        self._settings, self._effort, self._meanwhile = settings, effort, meanwhile

    def make(self, order: FilesOrder | IndexOrder, progress: Progress) -> None:
        assert isinstance(order, IndexOrder)
        space = space_with_cells(self._settings, order.cells)
        make_index(order, lambda folder, source: opened(self._effort)(folder, source, space), progress)
        self._meanwhile()

    def close(self) -> None:
        """Nothing is open."""

    def interrupt(self) -> None:
        """Nothing takes long."""


class Exchanging:
    """A worker that can exchange its cells.

    Args:
        meanwhile: done after the process has made its index and before the worker adds what has come since.
    """

    def __init__(
        self, settings: Settings, effort: Effort = EXHAUSTIVE, meanwhile: Callable[[], None] = lambda: None
    ) -> None:
        self.meanwhile = meanwhile
        space = load_search_space(settings, recorded(settings))
        open_index = opened(effort)
        self.worker = InMemoryWorker(
            settings.home, space=space, open_index=lambda source, folder: open_index(folder, source, space)
        )
        note_cells(self.worker.store, cells_of_index(space.index_version), 7)
        self.handler = UseCells(
            settings,
            self.worker.store,
            self.worker.pipeline,
            MODELS,
            lambda version: space_with_cells(settings, version),
            open_index,
            lambda _log: MakesHere(settings, effort, self.meanwhile),
            SystemClock(),
        )

    def begin(self, cells: str) -> Outcome:
        return self.handler(COMMAND, UseCellsArguments(cells=cells))()

    def prepare(self, cells: str) -> Finish:
        begun = self.begin(cells)
        assert isinstance(begun, Stage)
        return begun.prepare()

    def exchange(self, cells: str, *, apply: bool = True) -> pb.CommandResult:
        done = self.prepare(cells)()
        assert isinstance(done, Done)
        return self.worker.commit_outcome(COMMAND.command_id, done, apply=apply)

    def candidates(self) -> list[list[int]]:
        """Returns what a search among all images finds for each of them."""
        corpus = self.worker.corpus
        known = np.flatnonzero(~corpus.dead(len(corpus)))
        found: list[list[int]] = corpus.search(corpus.space.hash(corpus.lsh_of(known)), 20, 0).ordinals.tolist()
        return found


def recorded(settings: Settings) -> str:
    """What the store records last, as a start reads it."""
    if not settings.store_path.exists():
        return ""
    with closing(Store(settings.store_path)) as store:
        return recorded_cells(store.state())


def on_disk(settings: Settings) -> str:
    manifest = read_manifest(settings.index_path)
    assert manifest is not None
    return cells_of_index(manifest.version)


def test_cells_are_exchanged_among_decisions_and_candidates_are_those_of_an_index_made_from_scratch(
    settings: Settings,
) -> None:
    exchanging = Exchanging(settings, NARROW)
    with exchanging.worker as worker:

        def decide(first: int, end: int, *forgotten: int) -> None:
            worker.decide(IMAGES[first:end])
            for number in forgotten:
                worker.forget(IMAGES[number].image_id)

        decide(0, 250, 3)
        before = exchanging.candidates()
        begun = exchanging.begin(FIRST.version)
        assert isinstance(begun, Stage)
        decide(250, 300, 10)
        exchanging.meanwhile = lambda: decide(300, 380, 20, 290)
        finish = begun.prepare()
        decide(380, 440, 30, 310, 375, 439)
        done = finish()
        assert isinstance(done, Done)
        assert (on_disk(settings), worker.index.space.fitted) == (FIRST.version, None)
        result = worker.commit_outcome(COMMAND.command_id, done)
        assert (result.values["cells"], result.values["replaced"]) == (FIRST.version, "term-space")
        (record,) = worker.store.state().cells
        last = worker.store.state().sequence
        assert (record.version, record.after_sequence, record.command_id) == (FIRST.version, last, "exchange")
        assert worker.pipeline.space is worker.index.space
        decide(440, 500, 40, 400, 499)
        found = exchanging.candidates()
        assert before != found[: len(before)]
        worker.index.flush()
        manifest = read_manifest(settings.index_path)
        assert manifest is not None
        assert {path.name for path in settings.index_path.glob("*.segment")} == set(manifest.segments)
        assert not list(settings.home.glob("next-files-*"))
        assert done.values == {"cells": FIRST.version, "replaced": "term-space", "count": "24", "images": "440"}
        assert len(worker.index) == 500
    shutil.rmtree(settings.index_path)
    # The store knows which cells the index had.
    with Exchanging(settings, NARROW).worker as worker:
        assert worker.index.space.fitted is not None
        exchanging.worker = worker
        assert exchanging.candidates() == found


def test_a_stream_with_exchanges_decides_as_one_without_where_all_images_are_searched(settings: Settings) -> None:
    with closing(InMemoryWorker(settings.home.parent / "other")) as without:
        without.decide(IMAGES)
        expected = without.heads()
    exchanging = Exchanging(settings)
    with exchanging.worker as worker:
        for at, cells in ((0, FIRST.version), (150, SECOND.version), (300, "term-space"), (450, FIRST.version)):
            worker.decide(IMAGES[at : at + 150])
            exchanging.exchange(cells)
            assert on_disk(settings) == cells_of_index(worker.index.space.index_version)
        worker.decide(IMAGES[600:])
        assert worker.heads() == expected
        assert [each.version for each in worker.store.state().cells] == [
            *(FIRST.version, SECOND.version, "", FIRST.version)
        ]


@pytest.mark.parametrize(
    "kill", ["while the index is made", "before the exchange", "before the commit", "before memory"]
)
def test_a_worker_killed_at_any_moment_finds_the_previous_or_the_new_index_whole(settings: Settings, kill: str) -> None:
    class Killed(Exception):
        """The worker is gone."""

    def die() -> None:
        raise Killed

    exchanging = Exchanging(settings, NARROW, die if kill == "while the index is made" else lambda: None)
    with closing(exchanging.worker.store), closing(exchanging.worker.corpus):
        exchanging.worker.decide(IMAGES[:200])
        exchanging.worker.index.flush()
        previous = exchanging.candidates()
        match kill:
            case "while the index is made":
                with pytest.raises(Killed):
                    exchanging.prepare(FIRST.version)
            case "before the exchange":
                exchanging.prepare(FIRST.version)
            case "before the commit":
                exchanging.prepare(FIRST.version)()
            case _:
                exchanging.exchange(FIRST.version, apply=False)
    again = Exchanging(settings, NARROW)
    exchanged = kill in ("before the commit", "before memory")
    with again.worker as worker:
        assert (worker.index.space.fitted is not None) == exchanged
        assert [each.version for each in worker.store.state().cells] == [FIRST.version] * exchanged
        # Nothing but the window was hashed again.
        assert worker.index.segments
        assert not worker.index.damaged
        if not exchanged:
            assert again.candidates() == previous
        worker.decide(IMAGES[200:250])
        if exchanged:
            done = again.begin(FIRST.version)
            assert isinstance(done, Done)
            assert done.values["replaced"] == FIRST.version
        else:
            again.exchange(FIRST.version)
        assert on_disk(settings) == FIRST.version


def test_a_command_that_fails_leaves_the_present_index_writing(settings: Settings) -> None:
    exchanging = Exchanging(settings)
    with exchanging.worker as worker:
        worker.decide(IMAGES[:200])
        finish = exchanging.prepare(FIRST.version)
        # A folder in place of the manifest stands for a disk that fails at the exchange.
        worker.index.flush()
        kept = settings.index_path / "manifest.json"
        content = kept.read_bytes()
        kept.unlink()
        kept.mkdir()
        with pytest.raises(SetupError, match="cannot be replaced"):
            finish()
        kept.rmdir()
        kept.write_bytes(content)
        worker.decide(IMAGES[200:400])
        worker.index.flush()
        assert on_disk(settings) == ""
        assert all(segment.path is not None for segment in worker.index.segments)
        assert not list(settings.home.glob("next-files-*"))
        assert exchanging.exchange(SECOND.version).values["cells"] == SECOND.version


def test_a_command_that_is_cancelled_leaves_the_index_as_it_was_and_another_one_is_carried_out(
    settings: Settings,
) -> None:
    exchanging = Exchanging(settings)
    with exchanging.worker as worker:
        worker.decide(IMAGES[:200])

        def cancel() -> None:
            # The stream adds images, so the worker has some to add after the process has ended.
            worker.decide(IMAGES[200:300])
            exchanging.handler.interrupt()

        exchanging.meanwhile = cancel
        with pytest.raises(BadCommand, match="it was cancelled"):
            exchanging.prepare(FIRST.version)
        assert exchanging.handler.doing == ""
        assert not list(settings.home.glob("next-files-*"))
        worker.decide(IMAGES[300:400])
        worker.index.flush()
        assert on_disk(settings) == ""
        assert all(segment.path is not None for segment in worker.index.segments)
        exchanging.meanwhile = lambda: None
        assert exchanging.exchange(FIRST.version).values["replaced"] == TERM_SPACE


def test_what_cannot_be_used_is_refused_with_the_next_step(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = f"cells{'0' * 12}"
    damaged, other_name = cells_path(settings.home, f"cells{'1' * 12}"), cells_path(settings.home, f"cells{'2' * 12}")
    damaged.write_bytes(b"PK damaged")
    save_cells(FIRST, other_name)
    foreign = replace(FIRST, terms_version="8x4-000000000000", signatures=SECOND.signatures[:5].copy())
    save_cells(foreign, cells_path(settings.home, foreign.version))
    exchanging = Exchanging(settings)
    with exchanging.worker as worker:
        worker.decide(IMAGES[:40])
        for version, reason in (
            (absent, "No such file"),
            (damaged.stem, "fit them again"),
            (other_name.stem, f"they are {FIRST.version}"),
            (foreign.version, "of terms 8x4-000000000000"),
        ):
            with pytest.raises(BadArtefact, match=reason):
                exchanging.begin(version)
        monkeypatch.setattr(making, "_SPARE_BYTES", 1 << 60)
        with pytest.raises(SetupError, match="free some disk, then send the command again"):
            exchanging.begin(FIRST.version)
    for text in ("", "cells12", "../cells", f"{FIRST.version}\n"):
        with pytest.raises(BadCommand, match="cells"):
            UseCellsArguments.parse({"cells": text})
    pinned = settings.model_copy(
        update={"terms": settings.terms.model_copy(update={"cells": cells_path(settings.home, FIRST.version)})}
    )
    with Exchanging(pinned).worker as worker:
        # What the settings name is recorded, too.
        assert [each.version for each in worker.store.state().cells] == [FIRST.version]
    exchanging = Exchanging(pinned)
    with exchanging.worker, pytest.raises(BadCommand, match=r"terms\.cells names"):
        exchanging.begin(SECOND.version)


def test_a_start_whose_cells_are_gone_says_so_and_uses_those_of_the_term_space(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    exchanging = Exchanging(settings)
    with exchanging.worker as worker:
        worker.decide(IMAGES[:100])
        exchanging.exchange(FIRST.version)
        expected = worker.heads()
    cells_path(settings.home, FIRST.version).unlink()
    assert load_search_space(settings).fitted is None
    assert "the cells of the term space are used" in caplog.text
    sort_again(settings.index_path, load_search_space(settings), no_progress)
    with Exchanging(settings).worker as worker:
        assert worker.heads() == expected
        assert [each.version for each in worker.store.state().cells] == [FIRST.version, ""]
