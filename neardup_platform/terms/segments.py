"""The active segments of a term index: grown by sealing, kept few by merging in the background.

A sealed segment is searched from memory at once. A background thread writes it, merged with older neighbours of
similar size, and then replaces them; a query uses the tuple of segments it started with, so it never waits.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic, time_ns

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import SetupError
from neardup_platform.progress import Progress, no_progress
from neardup_platform.terms.blocks import overlap
from neardup_platform.terms.merge_policy import next_merge
from neardup_platform.terms.mmap_segment import Segment, merge_in_memory, named_range, open_segment
from neardup_platform.terms.parts import DELETED
from neardup_platform.terms.segment_folder import SegmentFolder, remove

log = logging.getLogger(__name__)

# Sealed images that are not written: above this a bulk load waits for the disk, so that memory stays bounded.
MAX_UNWRITTEN = 1 << 20
# Pause after a failed write, such as to a full disk.
RETRY_S = 10.0

States = NDArray[np.uint8]


class Segments:
    """Segments in order of ordinal, and the deleted images they still hold.

    Args:
        folder: of the files; None keeps all segments in memory.
        version: of the term space.
        source: which store the images come from.
        writable: whether this process seals and merges; others read what it publishes.
        states: returns the present states of all images.
        known: segments that are mapped already.
        progress: receives how many segments have been opened.
        retry_s: pause after a failed write.

    Attributes:
        generation: of the manifest.
        problem: why the last write failed; empty when it succeeded.
        damaged: why segments that the manifest names are not active; each names its file.

    Raises:
        BadArtefact: the folder holds an index of another term space.
    """

    def __init__(
        self,
        folder: Path | None,
        version: str,
        source: str,
        *,
        writable: bool,
        states: Callable[[], States],
        known: Sequence[Segment] = (),
        progress: Progress = no_progress,
        retry_s: float = RETRY_S,
    ) -> None:
        self.generation = 0
        self.problem = ""
        self.damaged: tuple[str, ...] = ()
        self._folder = None if folder is None else SegmentFolder(folder, version, source, writable=writable)
        self._writable, self._states, self._retry_s = writable, states, retry_s
        self._version = version
        self._segments: tuple[Segment, ...] = ()
        self._deleted = np.zeros(0, np.int64)
        # Held for moments only, because searches wait for it. `_publishing` is held while the disk works.
        self._changed = threading.Condition()
        self._publishing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._retry_at = 0.0
        # Whether `_segments` has files that the manifest does not name, and the segments that these replaced.
        self._unpublished = False
        self._deleted_unpublished = False
        self._replaced: list[Segment] = []
        if self._folder is not None:
            opened = self._folder.open({segment.path: segment for segment in known}, progress)
            self._segments, self._deleted = tuple(opened.segments.values()), opened.deleted
            self.generation, self.damaged = opened.generation, opened.damaged

    @property
    def all(self) -> tuple[Segment, ...]:
        """The active segments, in order of ordinal."""
        return self._segments

    @property
    def end(self) -> int:
        """The ordinal after the last one that a segment covers."""
        return max((segment.end for segment in self._segments), default=0)

    @property
    def deleted(self) -> NDArray[np.int64]:
        """Deleted ordinals that a segment still holds, int64, ascending."""
        return self._deleted

    def add(self, segment: Segment) -> None:
        """Makes a sealed segment active."""
        with self._changed:
            self._segments = tuple(sorted((*self._segments, segment), key=lambda s: s.first))
            self._start()

    def link(self, files: Sequence[Path]) -> Sequence[Segment]:
        """Links segments that another process has written into the folder; see `SegmentFolder.link`."""
        if self._folder is None:
            return [replace(open_segment(path, self._version, verify=False), path=None) for path in files]
        return [self._folder.link(path, self.generation + 1) for path in files]

    def adopt(self, segments: Sequence[Segment]) -> None:
        """Makes linked segments active; the manifest soon names them."""
        with self._changed:
            self._segments = tuple(sorted((*self._segments, *segments), key=lambda s: s.first))
            self._unpublished = self._folder is not None
            self._start()

    def wait_for_room(self) -> None:
        """Waits while too many sealed images are not written, unless writing them has failed."""
        with self._changed:
            if self.problem:
                self._start()
            while self._thread is not None and self._unwritten() > MAX_UNWRITTEN:
                self._changed.wait()

    def delete(self, ordinals: NDArray[np.int64]) -> None:
        """Records deleted images of the segments, in memory until `publish_deleted`."""
        with self._changed:
            self._deleted = np.union1d(self._deleted, ordinals)
            self._deleted_unpublished = True
            self._start()

    def publish_deleted(self) -> None:
        """Names all deleted images in the manifest; durable when this returns.

        Raises:
            SetupError: the disk is full or broken; the images stay hidden until a restart.
        """
        if self._deleted_unpublished:
            self._deleted_unpublished = False
            self._publish_or_explain("noting deleted images")

    def drop(self, after: int) -> int:
        """Drops the segments that hold ordinals from `after` on; returns how many.

        Raises:
            SetupError: the manifest cannot be written.
        """
        self.wait()
        with self._changed:
            dropped = [segment for segment in self._segments if segment.end > after]
            self._segments = tuple(segment for segment in self._segments if segment.end <= after)
            self._deleted = self._deleted[self._deleted < self.end]
        if dropped:
            self._publish_or_explain(f"dropping {len(dropped)} segments")
            remove(dropped)
        return len(dropped)

    def is_stale(self, apart: range = range(0)) -> bool:
        """Whether the folder's manifest is another than the one these segments were opened by or published last.

        That of an index with other cells is, too.

        Args:
            apart: a manifest that names segments of these ordinals does not count.
        """
        manifest = self._folder.read_present() if self._folder else None
        if manifest is None or manifest.generation == self.generation:
            return False
        return not any(overlap(named_range(name), apart) for name in manifest.segments)

    def wait(self) -> None:
        """Waits until nothing is being written or merged; for benchmarks, tests and the end of a bulk load."""
        with self._changed:
            while self._thread is not None:
                self._changed.wait()

    def move(self, folder: Path) -> None:
        """Makes these segments those of another folder, whose manifest names them when this returns.

        Nothing may write to either folder meanwhile. Segments in memory are written there later.

        Args:
            folder: of an index that they replace, on the same disk.

        Raises:
            SetupError: the disk is full or broken; the index of that folder is as it was.
        """
        if self._folder is None:
            raise ValueError("an index in memory has no folder to leave")
        generation = max(self.generation, time_ns()) + 1
        target = self._folder.at(folder)
        moved = [each if each.path is None else target.link(each.path, generation) for each in self._segments]
        try:
            target.publish(generation, moved, self._deleted)
        except OSError as error:
            raise SetupError(f"the index in {folder} cannot be replaced: {error}; free some disk and repeat") from error
        with self._changed:
            self._folder, self._segments, self.generation = target, tuple(moved), generation
            self._unpublished = self._deleted_unpublished = False

    def stop_writing(self) -> None:
        """Stops after the current write: what is sealed from now on stays in memory until `resume_writing`."""
        with self._changed:
            self._closing = True
        self.wait()

    def resume_writing(self) -> None:
        """Writes and merges again."""
        with self._changed:
            self._closing = False
            self._start()

    def close(self) -> None:
        """Stops after the current write; images that are not written are restored from the store next time."""
        self.stop_writing()

    def _unwritten(self) -> int:
        return sum(segment.images for segment in self._segments if segment.path is None) if self._folder else 0

    def _start(self) -> None:
        """Starts the background thread if there is work for it; the caller holds `_changed`."""
        if not self._writable or self._thread is not None or monotonic() < self._retry_at or not self._has_work():
            return
        thread = threading.Thread(target=self._work, name="term-index", daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:
            # The system has no thread to give; sealed images stay in memory until it has.
            self._note_failure(error)
            return
        # The thread waits for `_changed` first, so it cannot end before it is recorded here.
        self._thread = thread

    def _has_work(self) -> bool:
        return self._due_merge() is not None or (self._unpublished and not self._closing)

    def _due_merge(self) -> slice | None:
        if self._closing:
            return None
        return next_merge(self._segments, self.deleted, durable=self._folder is not None)

    def _work(self) -> None:
        """Writes and merges until no work is left. A failure is reported and retried later.

        Nothing may leave this function with `_thread` set: `wait`, `wait_for_room` and `close` wait for it.
        """
        try:
            while (merged := self._next_merged()) is not None:
                if merged:
                    self._replace(merged)
                self._publish()
                remove(self._replaced)
                self._replaced = []
                if self.problem:
                    log.warning("the term index is written to %s again", self._where)
                self.problem = ""
        except BaseException as error:  # noqa: BLE001 -- no kind of error may wedge the index
            with self._changed:
                self._note_failure(error)
                self._end_work()

    def _next_merged(self) -> Sequence[Segment] | None:
        """Returns the segments to merge next; empty if only the manifest is due; None when the thread may end."""
        with self._changed:
            if not self._has_work():
                self._end_work()
                return None
            due = self._due_merge()
            return () if due is None else self._segments[due]

    def _replace(self, merged: Sequence[Segment]) -> None:
        """Writes segments as one and replaces them by it."""
        # A copy: an image deleted between counting and copying would leave a hole.
        states = self._states()[merged[0].first : merged[-1].end].copy()
        if self._folder is None:
            segment = merge_in_memory(merged, states)
        else:
            segment = self._folder.merge(merged, states, self.generation + 1)
        with self._changed:
            # Only this thread replaces segments, but others may have been added before these.
            others = [s for s in self._segments if s not in merged]
            self._segments = tuple(sorted((*others, segment), key=lambda s: s.first))
            gone = np.nonzero(states == DELETED)[0] + segment.first
            self._deleted = np.setdiff1d(self._deleted, gone)
            self._replaced += merged
            self._unpublished = self._folder is not None
            self._changed.notify_all()

    def _note_failure(self, error: BaseException) -> None:
        self._retry_at = monotonic() + self._retry_s
        failed = f"writing the term index to {self._where} failed:"
        if isinstance(error, OSError):
            self.problem = f"{failed} {error}; free some disk and it continues"
            log.error("%s", self.problem)
            return
        self.problem = (
            f"{failed} {type(error).__name__}: {error}; answers stay correct, and it is retried with the next images "
            f"after {self._retry_s:.0f} s; restart the worker if the problem persists"
        )
        log.error("%s", self.problem, exc_info=error)

    def _end_work(self) -> None:
        """Ends the thread in the same moment as the decision to: what is added afterwards starts a new one."""
        self._thread = None
        self._changed.notify_all()

    @property
    def _where(self) -> Path | None:
        return self._folder.path if self._folder else None

    def _publish_or_explain(self, action: str) -> None:
        try:
            self._publish()
        except OSError as error:
            raise SetupError(f"{action} in {self._where} failed: {error}; free some disk and repeat") from error

    def _publish(self) -> None:
        """Names the written segments in the manifest."""
        if self._folder is None or not self._writable:
            return
        with self._publishing:
            with self._changed:
                self.generation += 1
                published = self.generation, self._segments, self._deleted
                self._unpublished = False
            try:
                self._folder.publish(*published)
            except BaseException:
                self._unpublished = True
                raise
