"""`use-cells`: exchanges the cells of the term index while the stream runs.

    note the images → make an index of them → add what came since → exchange
        (loop)             (process)              (thread)           (loop)

Terms and vectors stay as they are, so an index with other cells follows from the vectors of the images. A process of
low priority makes it in a folder of its own, then a thread of the worker adds what has come since, and between two
steps the rest. There its segments are linked into the folder of the index, and the manifest that names them replaces
the previous one: a worker that is killed before finds the previous index, and one killed afterwards the new one. The
store records from which decision on the cells are active. The API follows the manifest.
"""

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neardup_platform.clock import Clock
from neardup_platform.errors import BadCommand
from neardup_platform.pipeline import Pipeline
from neardup_platform.records import Kind, ModelSpec
from neardup_platform.settings import Settings
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.cells import record_cells
from neardup_platform.store.reserved import numbers_apart
from neardup_platform.store.view import StoreView
from neardup_platform.store.writer import Batch
from neardup_platform.stream.built_files import remove_unfinished, unfinished_path
from neardup_platform.stream.cells.make_index import IndexOrder, check_room, write_columns
from neardup_platform.stream.control.outcome import Done, Finish, Stage
from neardup_platform.stream.next_files.making import Making
from neardup_platform.stream.next_files.remote_files import FilesMaker
from neardup_platform.terms.hyperplanes import TermSpace
from neardup_platform.terms.index import TermIndex
from neardup_platform.terms.segment_folder import remove
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.command_arguments import TERM_SPACE, UseCellsArguments

log = logging.getLogger(__name__)

_FILES = "index with other cells"


@dataclass(frozen=True, slots=True)
class _Begun:
    """The images of which the index is made first.

    Attributes:
        folder: of the index.
        dead: bool [ordinals], those without an image then.
        apart: first and end of the ordinals that a load has reserved; equal for none.
    """

    folder: Path
    dead: NDArray[np.bool_]
    apart: tuple[int, int]


class UseCells:
    """The handler.

    Args:
        models: of the embeddings.
        load: reads the term space with cells of a version; empty: with its own.
        open_index: opens the index of a store by its id, in a folder, with these cells.
        launch: starts what makes the index; its argument is the log file.
    """

    def __init__(
        self,
        settings: Settings,
        store: StoreView,
        pipeline: Pipeline,
        models: Mapping[Kind, ModelSpec],
        load: Callable[[str], TermSpace],
        open_index: Callable[[Path, str, TermSpace], TermIndex],
        launch: Callable[[Path], FilesMaker],
        clock: Clock,
    ) -> None:
        self._settings, self._store, self._pipeline, self._models = settings, store, pipeline, models
        self._load, self._open_index, self._clock = load, open_index, clock
        self._next: TermIndex | None = None
        self._making = Making(launch, settings.home / "next-files.log")

    def interrupt(self) -> None:
        """See `Interruptible`."""
        self._making.interrupt()

    @property
    def doing(self) -> str:
        """See `Reporting`."""
        return self._making.doing

    def __call__(self, command: pb.Command, arguments: UseCellsArguments) -> Finish:
        """Read the cells and check what can be checked; see `Handler`."""
        self._making.clear()
        if self._settings.terms.cells is not None:
            raise BadCommand(f"terms.cells names {self._settings.terms.cells}: unset it, or change it and restart")
        space = self._load("" if arguments.cells == TERM_SPACE else arguments.cells)
        if space.index_version == self._pipeline.space.index_version:
            return partial(Done, self._values(space, self._pipeline.space.fitted_version, 0))
        remove_unfinished(self._settings.home)
        check_room(self._settings.home, len(self._pipeline.corpus), space)
        return partial(self._begin, command, space)

    def _begin(self, command: pb.Command, space: TermSpace) -> Stage:
        """Note which images are sealed, which are final but for those that are dropped."""
        corpus, state = self._pipeline.corpus, self._store.state()
        sealed, apart = corpus.index.window.start, numbers_apart(state)
        begun = _Begun(unfinished_path(self._settings.home), corpus.dead(sealed), (apart.start, apart.stop))
        columns = corpus.columns(sealed)
        order = IndexOrder(
            begun.folder,
            self._settings.vectors_path,
            state.store_id,
            self._models,
            space.fitted_version,
            (min(apart.start, sealed), min(apart.stop, sealed)),
        )

        def prepare() -> Finish:
            write_columns(begun.folder, columns, ~begun.dead)
            try:
                return self._make(command, space, begun, order)
            except Exception:
                self._abandon()
                raise

        return Stage(prepare, abandon=self._abandon)

    def _make(self, command: pb.Command, space: TermSpace, begun: _Begun, order: IndexOrder) -> Finish:
        """Make the index, and add most of what has come since, while the stream runs."""
        self._making.doing = "starting"
        self._making.make(_FILES, order)
        self._next = index = self._open_index(begun.folder, order.source, space)
        index.set_apart(*begun.apart)
        self._pipeline.corpus.fill_index(self._advance, index)
        _compile(index.space)
        # So that exchanging them waits for no merge, of this index or of the present one.
        index.flush()
        index.stop_writing()
        self._pipeline.corpus.index.stop_writing()
        return partial(self._finish, command, space, begun, index)

    def _advance(self, doing: str, done: int, of: int) -> None:
        self._making.advance(f"{_FILES}: {doing}", done, of)

    def _finish(self, command: pb.Command, space: TermSpace, begun: _Begun, index: TermIndex) -> Done:
        """Complete the index, which every process finds from now on."""
        previous, replaced = self._pipeline.corpus.index, self._pipeline.space.fitted_version
        try:
            self._follow(begun, index)
            index.move(self._settings.index_path)
        except Exception:
            self._abandon()
            raise
        self._next = None
        self._making.close()
        version = space.fitted_version

        def write(_batch: Batch, state: store_pb.StoreState) -> None:
            record_cells(state, version, self._clock.now_ms(), command.command_id, command.issued_by)

        def apply() -> None:
            self._pipeline.use_index(index)
            index.resume_writing()
            remove(previous.segments)
            shutil.rmtree(begun.folder, ignore_errors=True)
            log.info("cells %s in place of %s", version or TERM_SPACE, replaced or TERM_SPACE)

        return Done(self._values(space, replaced, len(index)), write, apply)

    def _follow(self, begun: _Begun, index: TermIndex) -> None:
        """Give the index what it lacks of the corpus, and hide what the corpus has dropped or retired since."""
        corpus, known = self._pipeline.corpus, len(begun.dead)
        dead = corpus.dead(len(corpus))
        later = np.arange(known, len(index))
        retired = later[corpus.retired(later) & ~dead[later]]
        index.retire(retired[retired >= index.window.start])
        index.hide(np.concatenate([np.flatnonzero(dead[:known] & ~begun.dead), later[dead[later]]]))
        index.hide(retired[retired < index.window.start])
        corpus.fill_index(other=index)

    def _values(self, space: TermSpace, replaced: str, images: int) -> Mapping[str, str]:
        return {
            "cells": space.fitted_version or TERM_SPACE,
            "replaced": replaced or TERM_SPACE,
            "count": str(space.cells),
            "images": str(images),
        }

    def _abandon(self) -> None:
        """End a command that is not continued: the present index stays."""
        self._making.close()
        if self._next is not None:
            self._next.close()
            self._next = None
        self._pipeline.corpus.index.resume_writing()
        remove_unfinished(self._settings.home)


def _compile(space: TermSpace) -> None:
    """Compile what the first search in fitted cells needs, while the stream runs."""
    if space.fitted is not None:
        distances = space.fitted.distances(space.fitted.signatures[:1])
        space.fitted.plan(distances, np.zeros(space.cells, np.int64), 1, 1)
