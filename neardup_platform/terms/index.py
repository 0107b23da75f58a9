"""The term index: finds the images nearest to a query in the whole corpus, while it grows.

    add ──▶ window (newest one to two blocks) ──sealed──▶ segments ──merged──▶ fewer segments
                  └───────────── view ─────────────┴──▶ cascade ──▶ K nearest

Images are numbered in order of arrival (ordinals). The newest are in a window of one to two blocks of `BLOCK_IMAGES`;
a block that leaves the window is sealed into a segment, without the images that were retired meanwhile.
"""

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neardup_platform.id_space import check_ordinals
from neardup_platform.progress import Progress, no_progress
from neardup_platform.terms.blocks import BLOCK_IMAGES, Blocks, gaps, overlap
from neardup_platform.terms.candidates import Candidates, Nearness
from neardup_platform.terms.cascade import View
from neardup_platform.terms.effort import Effort
from neardup_platform.terms.hyperplanes import Hashed, TermSpace
from neardup_platform.terms.image_states import ImageStates
from neardup_platform.terms.merging import count_live, uncount
from neardup_platform.terms.mmap_segment import Segment, memory_segment
from neardup_platform.terms.searcher import Searcher
from neardup_platform.terms.segments import RETRY_S, Segments
from neardup_platform.terms.window import Rows, Window

Ordinals = NDArray[np.int64]


class TermIndex:
    """The heads of all images, and their signatures if it ranks by them, by ordinal; see `CandidateIndex`.

    One writer adds, retires and deletes; any number of threads may search meanwhile.

    Args:
        folder: of the segments; None keeps them in memory.
        space: gives the width of a signature and the number of cells.
        effort: how much a search examines.
        threads: share a micro-batch of queries.
        source: id of the store the images come from; an index of another one is not used.
        writable: False for a process that follows what the writer publishes.
        known: an index of the same folder whose mapped segments are used again.
        progress: receives how many segments have been opened.
        block_images: see `BLOCK_IMAGES`; tests make it small.
        retry_s: pause after a failed write.

    Raises:
        BadArtefact: the folder holds an index of another term space.
    """

    def __init__(
        self,
        folder: Path | None,
        space: TermSpace,
        effort: Effort,
        *,
        threads: int = 1,
        source: str = "",
        writable: bool = True,
        known: "TermIndex | None" = None,
        progress: Progress = no_progress,
        block_images: int = BLOCK_IMAGES,
        retry_s: float = RETRY_S,
    ) -> None:
        self._space, self._blocks = space, Blocks(block_images)
        self._lock = threading.Lock()
        self._states = ImageStates(block_images)
        self._segments = Segments(
            folder,
            space.index_version,
            source,
            writable=writable,
            states=lambda: self._states.all,
            known=known.segments if known else (),
            progress=progress,
            retry_s=retry_s,
        )
        self._sealed_end = self._end = self._segments.end
        self._apart = (0, 0)
        self._states.grow(self._end)
        self._states.reset(self._segments.deleted)
        self._sizes = self._count_cells()
        self._window = Window(2 * block_images, space.kept_words)
        self._searcher = Searcher(space, effort, threads)

    def __len__(self) -> int:
        return self._end

    @property
    def space(self) -> TermSpace:
        """The term space, with the cells that the images are sorted by."""
        return self._space

    @property
    def window(self) -> range:
        """The ordinals that no segment covers yet, in which images can be retired."""
        return range(self._sealed_end, self._end)

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The active segments."""
        return self._segments.all

    @property
    def problem(self) -> str:
        """Why segments cannot be written now; empty when they can."""
        return self._segments.problem

    @property
    def damaged(self) -> tuple[str, ...]:
        """What is wrong with segments that were damaged when the index was opened; each names its file."""
        return self._segments.damaged

    def metrics(self) -> dict[str, float]:
        """Returns the images held, the active segments, their bytes on disk, and 1 while they cannot be written."""
        segments = self.segments
        return {
            "index_images": sum(segment.images for segment in segments) + self._end - self._sealed_end,
            "index_segments": len(segments),
            "index_bytes": sum(segment.bytes for segment in segments if segment.path is not None),
            "index_problem": int(bool(self.problem)),
        }

    @property
    def by_cosine(self) -> bool:
        """Whether searches need `nearness`."""
        return self._space.by_cosine

    def is_stale(self, apart: range = range(0)) -> bool:
        """Whether the writer has published segments since this follower was opened, none of ordinals `apart`."""
        return self._segments.is_stale(apart)

    def holds_any(self, ordinals: range) -> bool:
        """Whether a segment covers one of these ordinals."""
        return any(overlap(range(segment.first, segment.end), ordinals) for segment in self.segments)

    @property
    def room(self) -> int:
        """Images that may be added and searched as one micro-batch: the rest of the present block."""
        return self._blocks.room(self._end)

    def missing(self, upto: int) -> list[tuple[int, int]]:
        """Returns the ranges [first, end) of ordinals below `upto` that `restore` must be given, ascending."""
        held = [(segment.first, segment.end) for segment in self.segments]
        return gaps(sorted([*held, self._apart, (self._sealed_end, self._end)]), upto)

    def set_apart(self, first: int, end: int) -> None:
        """Sets ordinals apart that belong to no image until `adopt` is given segments of them.

        They are neither searched nor missing, and no segment covers them, so none is merged across them. Only one range
        is apart; an earlier one is missing from then on, as far as no segment holds it.

        Args:
            first: where the index ends; in one that is being restored, any ordinal that no segment holds.
            end: the ordinal after the last one.

        Raises:
            SetupError: there are no ordinals left.
        """
        check_ordinals(end)
        with self._lock:
            self._apart = (first, end)
            self._states.grow(end)
            self._step_over()

    def link(self, files: Sequence[Path]) -> Sequence[Segment]:
        """Links segments that another process has written into the folder; `adopt` makes them active.

        Args:
            files: on the disk of the index, verified.

        Raises:
            BadArtefact: a file is no segment of this term space.
            SetupError: it cannot be linked.
        """
        return self._segments.link(files)

    def adopt(self, segments: Sequence[Segment]) -> None:
        """Makes linked segments of the ordinals that are apart active; nothing is apart any more.

        An index that ends before them must not have been given images since it was opened.
        """
        with self._lock:
            self._apart = (0, 0)
            self._states.grow(max([self._end, *(segment.end for segment in segments)]))
            sizes = self._sizes.copy()
            for segment in segments:
                count_live(segment.part, self._states.all, 0, sizes)
            self._segments.adopt(segments)
            self._sizes = sizes
            if self._end < self._segments.end:
                self._sealed_end = self._end = self._segments.end

    def add(self, hashed: Hashed) -> Ordinals:
        """Adds images; the next search finds them.

        Returns:
            Their ordinals, int64 [n], consecutive.

        Raises:
            ValueError: the signatures have another width.
            SetupError: there are no ordinals left.
        """
        self._check(hashed)
        ordinals = np.arange(self._end, self._end + len(hashed))
        self._append(Rows.of(ordinals, hashed, self._space), self._end + len(hashed))
        return ordinals

    def restore(self, first: int, end: int, ordinals: Ordinals, hashed: Hashed, retired: NDArray[np.bool_]) -> None:
        """Fills part of a missing range from the store.

        Args:
            first: where the range, or the rest of it, starts.
            end: the ordinal after the last one given now.
            ordinals: int64 [n], ascending; the others of the range no longer exist.
            hashed: the images of these ordinals.
            retired: bool [n].

        Raises:
            ValueError: the signatures have another width, or no missing range starts at `first`.
        """
        self._check(hashed)
        if first not in (gap for gap, _ in self.missing(max(end, self._end + 1))):
            raise ValueError(f"no missing range starts at ordinal {first}; missing are {self.missing(end)}")
        if first >= self._end:
            with self._lock:
                self._states.grow(end)
                self._states.restore(ordinals[retired])
            self._append(Rows.of(ordinals, hashed, self._space), end)
            return
        live = Rows.of(ordinals, hashed, self._space).select(~retired)
        segment = memory_segment(first, end, live, self._space.cells)
        with self._lock:
            self._take(segment)
        self._segments.wait_for_room()

    def retire(self, ordinals: Ordinals) -> None:
        """Hides images from queries of the blocks after the next one; sealing removes them from the index.

        Raises:
            ValueError: an image is too old: it has left the window.
        """
        recent = self._blocks.recent(self._end)
        if len(ordinals) and ordinals.min() < recent:
            raise ValueError(f"ordinal {ordinals.min()} is sealed; only from {recent} on can images be retired")
        with self._lock:
            self._states.retire(ordinals)

    def delete(self, ordinals: Ordinals) -> None:
        """Hides images for good, durable when this returns; the next merge removes them from disk.

        Raises:
            SetupError: the disk is full or broken; the images stay hidden until a restart.
        """
        self.hide(ordinals)
        self.publish_hidden()

    def publish_hidden(self) -> None:
        """Makes durable what `hide` did; errors as of `delete`."""
        self._segments.publish_deleted()

    def hide(self, ordinals: Ordinals) -> None:
        """Hides images: no later search finds them. Unknown and already hidden ordinals are ignored."""
        with self._lock:
            fresh = self._states.delete(ordinals[(ordinals >= 0) & (ordinals < self._end)])
            sealed = fresh[fresh < self._sealed_end]
            sizes = self._sizes.copy()
            for segment in self.segments if len(sealed) else ():
                inside = sealed[(sealed >= segment.first) & (sealed < segment.end)]
                uncount(segment.part, inside, sizes)
            self._sizes = sizes
        if len(sealed):
            self._segments.delete(sealed)

    def sealed(self, ordinals: Ordinals) -> Ordinals:
        """Returns those of these images that a segment holds and that are not deleted, int64 ascending."""
        held = np.zeros(len(ordinals), np.bool_)
        for segment in self.segments if len(ordinals) else ():
            held |= np.isin(ordinals, segment.part.ordinals)
        return ordinals[held & ~np.isin(ordinals, self._segments.deleted)]

    def search(
        self,
        hashed: Hashed,
        k: int,
        min_overlap: int = 1,
        before: Ordinals | None = None,
        view: View | None = None,
        nearness: Nearness | None = None,
    ) -> Candidates:
        """Finds the K nearest images to each query; see `CandidateIndex.search` and `cascade.py`.

        Queries with `before` must be in the present block: see `room`.

        Args:
            view: taken when those queries were added, for a search that runs later; None takes the present one.
            nearness: ranks the shortlist of an index by cosine, whose images need no equal terms.

        Raises:
            ValueError: k is below 1, the signatures have another width, the number of limits is wrong, or an index by
                cosine is given no `nearness`.
        """
        self._check(hashed)
        if self._space.by_cosine != (nearness is not None):
            raise ValueError("an index by cosine is searched with `nearness`, one by signature without")
        return self._searcher.search(self.view() if view is None else view, hashed, k, min_overlap, before, nearness)

    def rewind(self, images: int, kept: int = 0) -> int:
        """Drops the segments that an index of `images` images would not have sealed; returns how many.

        After a crash the index may hold more than the store: images are sealed before they are committed, and a
        power cut loses the last commits. Call it before anything is added or restored.

        Args:
            images: ordinals of the store.
            kept: segments that end at this ordinal or before stay whatever the blocks: they were sealed or adopted for
                numbers that the store has reserved.

        Raises:
            SetupError: the disk is full or broken.
        """
        dropped = self._segments.drop(max(self._blocks.recent(images), kept))
        if dropped:
            with self._lock:
                self._sealed_end = self._end = self._segments.end
                self._states.reset(self._segments.deleted)
                self._sizes = self._count_cells()
        return dropped

    def move(self, folder: Path) -> None:
        """Makes this index that of another folder in one step; arguments and errors as of `Segments.move`."""
        self._segments.move(folder)

    def stop_writing(self) -> None:
        """Stops writing to the folder, but for deletions, until `resume_writing`; searched and added to as before."""
        self._segments.stop_writing()

    def resume_writing(self) -> None:
        """Writes and merges again."""
        self._segments.resume_writing()

    def flush(self) -> None:
        """Waits until every sealed segment is written and no merge is due."""
        self._segments.wait()

    def close(self) -> None:
        """Stops the threads after their current work; images not written are restored from the store next time."""
        self._searcher.close()
        self._segments.close()

    def view(self) -> View:
        """Returns what a search works on now; a later one may find less, as blocks leave the window."""
        with self._lock:
            deleted = self._segments.deleted
            sealed = (segment.part._replace(hides=segment.count_of(deleted) > 0) for segment in self.segments)
            window = self._window.part()
            recent = self._blocks.recent(self._end)
            before = self._blocks.present(self._end)
            return View(tuple(sealed), window, self._sizes, self._states.all, recent, before, self._end)

    def _append(self, added: Rows, end: int) -> None:
        """Adds images after all others; seals those that leave the window."""
        check_ordinals(end)
        with self._lock:
            self._states.grow(end)
            recent = self._blocks.recent(end)
            if recent > self._sealed_end:
                rows = self._window.rows(added)
                old = rows.ordinals < recent
                live = old & self._states.live(rows.ordinals)
                segment = memory_segment(self._sealed_end, recent, rows.select(live), self._space.cells)
                self._window = Window(2 * self._blocks.size, self._space.kept_words)
                self._window.append(rows.select(~old))
                self._sealed_end = recent
                self._take(segment)
            else:
                self._window.append(added)
            self._end = end
            self._step_over()
        self._segments.wait_for_room()

    def _step_over(self) -> None:
        """Continues after the range that is apart, if it is next: seals the window before it."""
        first, end = self._apart
        if self._end != first or first == end:
            return
        if self._sealed_end < first:
            rows = self._window.rows(Rows.none(self._space.kept_words))
            live = self._states.live(rows.ordinals)
            self._take(memory_segment(self._sealed_end, first, rows.select(live), self._space.cells))
            self._window = Window(2 * self._blocks.size, self._space.kept_words)
        self._sealed_end = self._end = end

    def _take(self, segment: Segment) -> None:
        sizes = self._sizes.copy()
        count_live(segment.part, self._states.all, 0, sizes)
        self._segments.add(segment)
        self._sizes = sizes

    def _count_cells(self) -> NDArray[np.int64]:
        """Counts the live images of each cell in the segments, int64 [cells]; deletions are rare enough for it."""
        sizes = np.zeros(self._space.cells, np.int64)
        for segment in self.segments:
            count_live(segment.part, self._states.all, 0, sizes)
        return sizes

    def _check(self, hashed: Hashed) -> None:
        found, expected = hashed.signatures, self._space.words
        if found.ndim != 2 or found.shape[1] != expected or found.dtype != np.uint64:
            raise ValueError(f"signatures are {found.dtype} {found.shape}, expected uint64 [n, {expected}]")
