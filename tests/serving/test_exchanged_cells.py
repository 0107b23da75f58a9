"""Search by example while the worker exchanges the cells of its index."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest

from neardup_platform.clock import SystemClock
from neardup_platform.progress import Progress
from neardup_platform.serving.app import build_app
from neardup_platform.serving.search_corpus import Models
from neardup_platform.settings import Settings
from neardup_platform.settings.stages import TermSettings
from neardup_platform.stream.cells.make_index import IndexOrder, make_index
from neardup_platform.stream.cells.use_cells import UseCells
from neardup_platform.stream.control.outcome import Done, Stage
from neardup_platform.stream.next_files.make_files import FilesOrder
from neardup_platform.terms.cells import Cells, cells_path, save_cells
from neardup_platform.terms.hyperplanes import TermSpace, save_term_space
from neardup_platform.terms.index import TermIndex
from neardup_platform.terms.opening import load_search_space, open_index, space_with_cells
from neardup_platform.testing import MODELS, small_term_space
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.command_arguments import UseCellsArguments
from tests.serving.conftest import Writer, listening, models, seen, settings_of, vectors_of, wait_for

SPACE = small_term_space()
CELLS = Cells(SPACE.version, np.random.default_rng(1).integers(0, 1 << 64, (12, SPACE.words), np.uint64))


class MakesHere:
    """Makes an index in this process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def make(self, order: FilesOrder | IndexOrder, progress: Progress) -> None:
        assert isinstance(order, IndexOrder)
        space = space_with_cells(self._settings, order.cells)
        make_index(order, lambda folder, source: opened(self._settings, folder, source, space), progress)

    def close(self) -> None:
        """Nothing is open."""

    def interrupt(self) -> None:
        """Nothing takes long."""


def opened(settings: Settings, folder: Path, source: str, space: TermSpace) -> TermIndex:
    return open_index(folder, space, settings.terms, source)


def exchange(settings: Settings, writer: Writer, cells: str) -> None:
    """Carry out `use-cells`."""
    handler = UseCells(
        settings,
        writer.store,
        writer.worker.pipeline,
        MODELS,
        lambda version: space_with_cells(settings, version),
        lambda folder, source, space: opened(settings, folder, source, space),
        lambda _log: MakesHere(settings),
        SystemClock(),
    )
    stage = handler(pb.Command(command_id=cells), UseCellsArguments(cells=cells))()
    assert isinstance(stage, Stage)
    done = stage.prepare()()
    assert isinstance(done, Done)
    writer.worker.commit_outcome(cells, done)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The small term space, and an index by signature, as the writer has it."""
    space = tmp_path / "space.npz"
    save_term_space(SPACE, space)
    return settings_of(tmp_path).model_copy(update={"terms": TermSettings(space=space, ranking="hamming")})


@pytest.fixture
def client(settings: Settings, writer: Writer) -> Iterator[httpx.Client]:
    def load() -> Models:
        def follow_index(source: str, known: TermIndex | None) -> TermIndex:
            space = load_search_space(settings)
            return open_index(settings.index_path, space, settings.terms, source, writable=False, known=known)

        return replace(models(settings), open_index=follow_index)

    with closing(writer.store), listening(build_app(settings, load), settings.api) as client:
        yield client


def found(client: httpx.Client, image_id: str) -> dict:
    lsh, pair = vectors_of(image_id)
    return client.post("/v1/search", json={"lsh": lsh.tolist(), "pair": pair.tolist()}).json()


def test_search_follows_exchanged_cells_without_a_restart(
    client: httpx.Client, settings: Settings, writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    save_cells(CELLS, cells_path(settings.home, CELLS.version))
    caplog.set_level("INFO")
    writer.decide(["cat~1", "dog~1"])
    seen(client, "dog~1")
    wait_for(client, "/readyz", lambda answer: answer.json()["search"]["ok"])
    for number, cells in enumerate((CELLS.version, "term-space", CELLS.version)):
        exchange(settings, writer, cells)
        expected = cells if cells == CELLS.version else "the cells of the term space"
        writer.decide([f"cat~{number + 2}"])
        seen(client, f"cat~{number + 2}")
        wait_for(client, "/healthz", lambda _: found(client, "cat~9").get("images_searched") == 3 + number)  # noqa: B023
        matches = {match["image_id"] for match in found(client, "cat~9")["matches"]}
        assert matches == {f"cat~{each}" for each in range(1, number + 3)}
        wait_for(client, "/healthz", lambda _: f"sorted by {expected}" in caplog.text)  # noqa: B023
        assert client.get("/readyz").json()["search"]["ok"]
