"""The term index: the images nearest to a query, out of the whole corpus, while it grows.

Images are numbered in order of arrival (ordinals). The newest lie in a window of
one to two blocks of BLOCK_IMAGES; a block that leaves it is sealed into a segment, without the images that were
retired meanwhile.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neardup_platform.id_space import MAX_ORDINALS, check_ordinals
from neardup_platform.progress import Progress, no_progress
from neardup_platform.settings import TermSettings
from neardup_platform.terms.candidates import Candidates, nothing_found
from neardup_platform.terms.cascade import BATCH_QUERIES, Cascade, View
from neardup_platform.terms.effort import Effort
from neardup_platform.terms.hyperplanes import Hashed, Signatures, TermSpace
from neardup_platform.terms.merging import count_live
from neardup_platform.terms.mmap_segment import Segment, memory_segment
from neardup_platform.terms.parts import DELETED, LIVE, RETIRED
from neardup_platform.terms.segments import Segments
from neardup_platform.terms.window import Window

Ordinals = NDArray[np.int64]

# Images are retired from, and sealed in, whole blocks, so that what a query sees does not depend on batches.
BLOCK_IMAGES = 4_096
# Fewer queries are not worth handing to another thread.
LEAST_QUERIES = 4


class TermIndex:
    """Signatures of every image, by ordinal; see `CandidateIndex`.

    One writer adds, retires and deletes; any number of threads may search meanwhile.

    Args:
        folder: of the segments; None keeps them in memory.
        space: gives the width of a signature and the number of cells.
        effort: how much a search looks at.
        threads: that share a micro-batch.
        source: names the store the images come from; an index of another one is not used.
        writable: False for processes that only follow what the writer publishes.
        known: an index of the same folder whose mapped segments are used again.
        progress: is told how far opening has come.
        block_images: see BLOCK_IMAGES; tests make it small.

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
    ) -> None:
        self._space, self._block = space, block_images
        self._lock = threading.Lock()
        self._states = np.zeros(block_images, np.uint8)
        self._segments = Segments(
            folder,
            space.version,
            source,
            writable=writable,
            states=lambda: self._states,
            known=known.segments if known else (),
            progress=progress,
        )
        self._sealed_end = self._end = max((segment.end for segment in self.segments), default=0)
        self._grow_states(self._end)
        self._states[self._segments.deleted] = DELETED
        self._sizes = self._count_cells()
        self._window = Window(2 * block_images, space.words)
        self._cascade = Cascade(space, effort)
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, "term-search")

    def __len__(self) -> int:
        return self._end

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The sealed segments in force."""
        return self._segments.all

    @property
    def problem(self) -> str:
        """Why segments cannot be written at present; empty when they can."""
        return self._segments.problem

    @property
    def damaged(self) -> tuple[str, ...]:
        """What is wrong with segments that were found damaged at opening; each names its file."""
        return self._segments.damaged

    def figures(self) -> dict[str, float]:
        """Images held, segments in force, bytes of them on disk, and 1 while they cannot be written."""
        segments = self.segments
        return {
            "index_images": sum(segment.images for segment in segments) + self._end - self._sealed_end,
            "index_segments": len(segments),
            "index_bytes": sum(segment.bytes for segment in segments if segment.path is not None),
            "index_problem": int(bool(self.problem)),
        }

    def is_stale(self) -> bool:
        """Whether the writer has published segments since this index, which follows it, was opened."""
        return self._segments.is_stale()

    @property
    def room(self) -> int:
        """Images that may be added and then searched as one micro-batch: those left in the present block."""
        return self._block - self._end % self._block

    def missing(self, upto: int) -> list[tuple[int, int]]:
        """Ranges [first, end) of ordinals below `upto` that are not held and `restore` must be given, ascending."""
        held = [(s.first, s.end) for s in self.segments]
        if self._end > self._sealed_end:
            held.append((self._sealed_end, self._end))
        gaps = zip([0, *(end for _, end in held)], [*(first for first, _ in held), upto], strict=True)
        return [(first, min(end, upto)) for first, end in gaps if first < min(end, upto)]

    def add(self, hashed: Hashed) -> Ordinals:
        """Add images; they are found by the next search.

        Returns:
            Their ordinals, int64 [n], consecutive.

        Raises:
            ValueError: signatures of another width.
            SetupError: more images than there are ordinals.
        """
        self._check(hashed)
        ordinals = np.arange(self._end, self._end + len(hashed))
        self._append(ordinals, hashed.signatures, hashed.cells, self._end + len(hashed))
        return ordinals

    def restore(self, first: int, end: int, ordinals: Ordinals, hashed: Hashed, retired: NDArray[np.bool_]) -> None:
        """Fill part of a missing range with what the store holds of it.

        Args:
            first: where the range, or what is left of it, begins.
            end: first ordinal after those given now.
            ordinals: int64 [n], ascending; those not named do not exist any more.
            hashed: of these images.
            retired: bool [n].

        Raises:
            ValueError: signatures of another width, or the range does not begin where one is missing.
        """
        self._check(hashed)
        if first not in (gap for gap, _ in self.missing(max(end, self._end + 1))):
            raise ValueError(f"ordinals from {first} on are not missing; missing are {self.missing(end)}")
        if first >= self._end:
            with self._lock:
                self._grow_states(end)
                self._states[ordinals[retired]] = RETIRED
            self._append(ordinals, hashed.signatures, hashed.cells, end)
            return
        live = ~retired
        segment = memory_segment(
            first, end, ordinals[live], hashed.signatures[live], hashed.cells[live], self._space.cells
        )
        with self._lock:
            self._take(segment)
        self._segments.wait_for_room()

    def retire(self, ordinals: Ordinals) -> None:
        """Hide images from all queries of the blocks after the next; they leave the index when sealed.

        Raises:
            ValueError: an image too old for it: it lies in no block of the window.
        """
        recent = _recent(self._end, self._block)
        if len(ordinals) and ordinals.min() < recent:
            raise ValueError(f"ordinal {ordinals.min()} is sealed; only from {recent} on can images be retired")
        with self._lock:
            live = ordinals[self._states[ordinals] == LIVE]
            self._states[live] = RETIRED

    def delete(self, ordinals: Ordinals) -> None:
        """Forget images; no later search finds them, and what is on disk of them goes with the next merge.

        Unknown or already deleted ordinals are ignored.
        """
        with self._lock:
            known = np.unique(ordinals[(ordinals >= 0) & (ordinals < self._end)])
            fresh = known[self._states[known] != DELETED]
            self._states[fresh] = DELETED
        sealed = fresh[fresh < self._sealed_end]
        if len(sealed):
            self._sizes = self._count_cells()
            self._segments.delete(sealed)

    def sealed(self, ordinals: Ordinals) -> Ordinals:
        """Those of these images, int64 ascending, that a segment holds and that are not deleted."""
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
    ) -> Candidates:
        """The K nearest images to each query, as `CandidateIndex.search` says; a cascade (module docstring).

        Queries given `before` must lie in the present block: see `room`.

        Args:
            view: of the moment at which those queries were added, for a search that comes later; None: of now.

        Raises:
            ValueError: k below 1, signatures of another width, or a wrong number of limits.
        """
        self._check(hashed)
        if k < 1:
            raise ValueError(f"k is {k}, at least 1 is needed")
        if before is not None and len(before) != len(hashed):
            raise ValueError(f"{len(before)} limits for {len(hashed)} queries")
        found = nothing_found(len(hashed), k)
        view = self.view() if view is None else view
        limits = np.full(len(hashed), view.end, np.int64) if before is None else before.astype(np.int64)
        share = max(LEAST_QUERIES, min(BATCH_QUERIES, -(-len(hashed) // self._threads)))
        batches = [slice(at, at + share) for at in range(0, len(hashed), share)]

        def answer(rows: slice) -> None:
            self._cascade.search(view, hashed[rows], limits[rows], min_overlap, found.part(rows))

        for _ in self._pool.map(answer, batches) if len(batches) > 1 else map(answer, batches):
            pass
        return found

    def rewind(self, images: int) -> int:
        """Forget what an index of so many images would not have sealed yet; returns how many segments that were.

        After a crash the store may know less than the index: images are sealed before they are committed, and a
        power cut takes the last commits. Called before anything is added or restored.

        Raises:
            SetupError: the disk is full or broken.
        """
        dropped = self._segments.drop(_recent(images, self._block))
        if dropped:
            with self._lock:
                self._sealed_end = self._end = max((segment.end for segment in self.segments), default=0)
                self._states = np.zeros_like(self._states)
                self._states[self._segments.deleted] = DELETED
                self._sizes = self._count_cells()
        return dropped

    def flush(self) -> None:
        """Return when every sealed segment is written and no merge is left to do."""
        self._segments.wait()

    def close(self) -> None:
        """Stop threads after what they do now; images not yet written are restored from the store next time."""
        self._pool.shutdown()
        self._segments.close()

    def view(self) -> View:
        """What a search of this moment works on: later ones may find less, as blocks leave the window."""
        with self._lock:
            deleted = self._segments.deleted
            sealed = (segment.part._replace(hides=segment.count_of(deleted) > 0) for segment in self.segments)
            window = self._window.part()
            recent = _recent(self._end, self._block)
            before = max(0, (self._end - 1) // self._block * self._block)
            return View(tuple(sealed), window, self._sizes, self._states, recent, before, self._end)

    def _append(self, ordinals: Ordinals, signatures: Signatures, cells: NDArray[np.uint16], end: int) -> None:
        """Put images behind all others; seal those that leave the window."""
        check_ordinals(end)
        with self._lock:
            self._grow_states(end)
            recent = _recent(end, self._block)
            if recent > self._sealed_end:
                rows = self._window.rows(ordinals, signatures, cells)
                old = rows.ordinals < recent
                live = old & (self._states[rows.ordinals] == LIVE)
                segment = memory_segment(self._sealed_end, recent, *rows.select(live), self._space.cells)
                self._window = Window(2 * self._block, self._space.words)
                self._window.append(*rows.select(~old))
                self._sealed_end = recent
                self._take(segment)
            else:
                self._window.append(ordinals, signatures, cells)
            self._end = end
        self._segments.wait_for_room()

    def _take(self, segment: Segment) -> None:
        sizes = self._sizes.copy()
        count_live(segment.part, self._states, 0, sizes)
        self._segments.add(segment)
        self._sizes = sizes

    def _count_cells(self) -> NDArray[np.int64]:
        """Live images of each cell in the segments, int64 [cells]; counted anew, because forgetting is rare."""
        sizes = np.zeros(self._space.cells, np.int64)
        for segment in self.segments:
            count_live(segment.part, self._states, 0, sizes)
        return sizes

    def _grow_states(self, images: int) -> None:
        if images > len(self._states):
            # With room to spare, which takes no memory until it is written, so that it is seldom copied.
            room = max(images + images // 2, 2 * len(self._states))
            grown = np.zeros(min(room, MAX_ORDINALS), np.uint8)
            grown[: len(self._states)] = self._states
            self._states = grown

    def _check(self, hashed: Hashed) -> None:
        found, expected = hashed.signatures, self._space.words
        if found.ndim != 2 or found.shape[1] != expected or found.dtype != np.uint64:
            raise ValueError(f"signatures are {found.dtype} {found.shape}, expected uint64 [n, {expected}]")


def effort_of(settings: TermSettings) -> Effort:
    """The effort that the settings ask for."""
    return Effort(settings.scan_images, settings.shortlist, settings.ranking, follows=True)


def open_index(
    folder: Path | None,
    space: TermSpace,
    settings: TermSettings,
    source: str = "",
    *,
    writable: bool = True,
    known: TermIndex | None = None,
    progress: Progress = no_progress,
) -> TermIndex:
    """A term index as the settings want it; arguments as of `TermIndex`."""
    effort = effort_of(settings)
    return TermIndex(
        *(folder, space, effort),
        threads=settings.threads,
        source=source,
        writable=writable,
        known=known,
        progress=progress,
    )


def _recent(end: int, block: int) -> int:
    """The first ordinal of the window: the block of the newest image, and the one before."""
    return max(0, ((end - 1) // block - 1) * block)
