"""The segments in force: grown by sealing, kept few by merging in the background, published by the manifest.

A sealed segment is searched from memory at once. A background thread writes it, merged with older neighbours of
like size, and only then are they replaced; a query works on the tuple of segments it began with, so it never waits.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import monotonic, time

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import BadArtefact, SetupError
from neardup_platform.progress import Progress, no_progress
from neardup_platform.terms.json_manifest import Manifest, read_manifest, write_manifest
from neardup_platform.terms.mmap_segment import Segment, merge_in_memory, open_segment, write_segment
from neardup_platform.terms.parts import DELETED

log = logging.getLogger(__name__)

# A segment is merged with its newer neighbours until it is more than this much larger than all of them.
MERGE_FACTOR = 4
# A segment of which more than this share is deleted is written anew without them.
MAX_DELETED_SHARE = 0.125
# Sealed images not yet written: above this a bulk load waits for the disk, so that memory stays bounded.
MAX_UNWRITTEN = 1 << 20
# After a failed write (disk full) the next attempt waits this long.
RETRY_S = 10.0

States = NDArray[np.uint8]


class Segments:
    """Segments in order of ordinal, and the deleted images they still hold.

    Args:
        folder: where they lie; None keeps them in memory.
        version: of the term space.
        source: which store the images come from.
        writable: the one process that seals and merges; others read what it published.
        states: the present states of all images.
        known: segments already mapped, by file, which need not be opened again.
        progress: is told how many segments have been opened.

    Attributes:
        all: the segments in force, in order of ordinal.
        generation: of the manifest.
        problem: why the last write failed; empty when it did not.
        damaged: why segments named by the manifest are not in force; each names its file.

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
    ) -> None:
        self.generation = 0
        self.problem = ""
        self.damaged: tuple[str, ...] = ()
        self._folder, self._version, self._source, self._writable = folder, version, source, writable
        self._states, self._progress = states, progress
        self._segments: tuple[Segment, ...] = ()
        self._deleted = np.zeros(0, np.int64)
        # Held for moments only: searches wait for those who hold it. `_publishing` is held while the disk works.
        self._changed = threading.Condition()
        self._publishing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._retry_at = 0.0
        # Whether `_segments` has files that the manifest does not name, and the segments that these replaced.
        self._unpublished = False
        self._replaced: list[Segment] = []
        if folder is not None:
            self._open(folder, {segment.path: segment for segment in known})

    @property
    def all(self) -> tuple[Segment, ...]:
        """The segments in force."""
        return self._segments

    @property
    def deleted(self) -> NDArray[np.int64]:
        """Deleted ordinals that a segment still holds, int64, ascending."""
        return self._deleted

    def add(self, segment: Segment) -> None:
        """Put a sealed segment in force."""
        with self._changed:
            self._segments = tuple(sorted((*self._segments, segment), key=lambda s: s.first))
            self._start()

    def wait_for_room(self) -> None:
        """Wait while too many sealed images are not yet written, unless writing them has failed."""
        with self._changed:
            if self.problem:
                self._start()
            while self._thread is not None and self._unwritten() > MAX_UNWRITTEN:
                self._changed.wait()

    def delete(self, ordinals: NDArray[np.int64]) -> None:
        """Remember deleted images of the segments; durable when this returns.

        Raises:
            SetupError: the disk is full or broken; the images are hidden all the same, until a restart.
        """
        with self._changed:
            self._deleted = np.union1d(self._deleted, ordinals)
            self._start()
        self._publish_or_explain(f"noting {len(ordinals)} deleted images")

    def drop(self, after: int) -> int:
        """Drop the segments that hold ordinals from `after` on; returns how many.

        Raises:
            SetupError: the manifest cannot be written.
        """
        self.wait()
        with self._changed:
            dropped = [segment for segment in self._segments if segment.end > after]
            self._segments = tuple(segment for segment in self._segments if segment.end <= after)
            end = max((segment.end for segment in self._segments), default=0)
            self._deleted = self._deleted[self._deleted < end]
        if dropped:
            self._publish_or_explain(f"dropping {len(dropped)} segments")
            _remove(dropped)
        return len(dropped)

    def is_stale(self) -> bool:
        """Whether the folder's manifest is not the one these segments were opened by or published last."""
        manifest = self._read_manifest(self._folder) if self._folder else None
        return manifest is not None and manifest.generation != self.generation

    def wait(self) -> None:
        """Return when nothing is being written or merged; for benchmarks, tests and the end of a bulk load."""
        with self._changed:
            while self._thread is not None:
                self._changed.wait()

    def close(self) -> None:
        """Stop after the write under way; what is unwritten is loaded from the store next time."""
        with self._changed:
            self._closing = True
        self.wait()

    def _open(self, folder: Path, known: dict[Path | None, Segment]) -> None:
        if self._writable:
            folder.mkdir(parents=True, exist_ok=True)
        manifest = self._read_manifest(folder)
        opened, damaged = self._open_segments(folder, manifest, known)
        while damaged and not self._writable and (newer := self._read_manifest(folder)) != manifest:
            # The writer has put others in their place meanwhile.
            manifest = newer
            opened, damaged = self._open_segments(folder, manifest, {**known, **opened})
        for reason in damaged:
            log.error("%s", reason)
        # Without a manifest a number that no earlier index of this folder had: followers know segments by name.
        self.generation = manifest.generation if manifest is not None else int(time())
        self._segments, self.damaged = tuple(opened.values()), tuple(damaged)
        end = max((segment.end for segment in self._segments), default=0)
        deleted = np.array(manifest.deleted if manifest else (), np.int64)
        self._deleted = deleted[deleted < end]
        if self._writable:
            _remove_orphans(folder, set(opened))

    def _open_segments(
        self, folder: Path, manifest: Manifest | None, known: dict[Path | None, Segment]
    ) -> tuple[dict[Path | None, Segment], list[str]]:
        """The segments of a manifest by file, and what is wrong with those that cannot be opened."""
        opened: dict[Path | None, Segment] = {}
        damaged = []
        names = manifest.segments if manifest else ()
        for number, name in enumerate(names):
            path, opening = folder / name, partial(self._progress, "opening the term index", number, len(names))
            opening()
            try:
                opened[path] = known.get(path) or open_segment(path, self._version, verified=opening)
            except BadArtefact as error:
                damaged.append(str(error))
        return opened, damaged

    def _read_manifest(self, folder: Path) -> Manifest | None:
        try:
            manifest = read_manifest(folder)
        except BadArtefact as error:
            log.error("%s", error)
            return None
        if manifest is not None and manifest.version != self._version:
            raise BadArtefact(
                f"index {folder}: it holds terms of {manifest.version}, settings give {self._version}: "
                "restore terms.space, or delete the folder and it is rebuilt from the store"
            )
        if manifest is not None and manifest.source != self._source:
            log.warning("index %s belongs to another store; it is rebuilt from this one", folder)
            return None
        return manifest

    def _unwritten(self) -> int:
        return sum(segment.images for segment in self._segments if segment.path is None) if self._folder else 0

    def _start(self) -> None:
        """Start the background thread if there is work for it; the caller holds `_changed`."""
        if not self._writable or self._thread is not None or monotonic() < self._retry_at or not self._has_work():
            return
        thread = threading.Thread(target=self._work, name="term-index", daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:
            # The system has no thread to give; what is sealed stays in memory until it has.
            self._note_failure(error)
            return
        # The thread waits for `_changed` first, so it cannot end before it is noted here.
        self._thread = thread

    def _has_work(self) -> bool:
        return self._job() is not None or (self._unpublished and not self._closing)

    def _job(self) -> slice | None:
        if self._closing:
            return None
        return next_merge(self._segments, self.deleted, durable=self._folder is not None)

    def _work(self) -> None:
        """Write and merge until nothing is left to do. Whatever goes wrong is reported and tried again later.

        Nothing may leave this function with `_thread` set: `wait`, `wait_for_room` and `close` wait for it.
        """
        try:
            while (merged := self._next_merged()) is not None:
                if merged:
                    self._replace(merged)
                self._publish()
                _remove(self._replaced)
                self._replaced = []
                if self.problem:
                    log.warning("the term index is written to %s again", self._folder)
                self.problem = ""
        except BaseException as error:  # noqa: BLE001 -- not one kind of error may wedge the index
            with self._changed:
                self._note_failure(error)
                self._end_work()

    def _next_merged(self) -> Sequence[Segment] | None:
        """Segments to merge next; empty if only the manifest has to be written; None when the thread's work is done."""
        with self._changed:
            if not self._has_work():
                self._end_work()
                return None
            job = self._job()
            return () if job is None else self._segments[job]

    def _replace(self, merged: Sequence[Segment]) -> None:
        """Write segments as one and put it in their place."""
        # A copy: an image deleted between counting and copying would leave a hole.
        states = self._states()[merged[0].first : merged[-1].end].copy()
        segment = self._merge(merged, states)
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
        self._retry_at = monotonic() + RETRY_S
        if isinstance(error, OSError):
            self.problem = f"writing the term index to {self._folder} failed: {error}; free some disk and it goes on"
            log.error("%s", self.problem)
            return
        what = f"{type(error).__name__}: {error}"
        self.problem = (
            f"writing the term index to {self._folder} failed: {what}; answers stay right, it is tried again after "
            f"{RETRY_S:.0f} s with the next images; restart the worker if it stays so"
        )
        log.error("%s", self.problem, exc_info=error)

    def _end_work(self) -> None:
        """In the same moment as the decision to end: what is added afterwards starts a thread of its own."""
        self._thread = None
        self._changed.notify_all()

    def _merge(self, segments: Sequence[Segment], states: States) -> Segment:
        if self._folder is None:
            return merge_in_memory(segments, states)
        name = f"{segments[0].first:012d}-{segments[-1].end:012d}-{self.generation + 1}.segment"
        return write_segment(self._folder, name, segments, states, self._version)

    def _publish_or_explain(self, doing: str) -> None:
        try:
            self._publish()
        except OSError as error:
            raise SetupError(f"{doing} in {self._folder} failed: {error}; free some disk and repeat") from error

    def _publish(self) -> None:
        """Put the written segments into the manifest."""
        if self._folder is None or not self._writable:
            return
        with self._publishing:
            with self._changed:
                self.generation += 1
                written = [segment.path.name for segment in self._segments if segment.path is not None]
                deleted = self._deleted.tolist()
                self._unpublished = False
            try:
                write_manifest(self._folder, Manifest(self._version, self._source, self.generation, written, deleted))
            except BaseException:
                self._unpublished = True
                raise


def next_merge(segments: Sequence[Segment], deleted: NDArray[np.int64], *, durable: bool) -> slice | None:
    """Which neighbouring segments to merge next, newest first; None when all is well.

    Args:
        segments: in order of ordinal.
        deleted: int64, ascending.
        durable: segments that are only in memory must be written.
    """
    for last in range(len(segments) - 1, -1, -1):
        first, images = last, segments[last].images
        while (
            first > 0
            and segments[first - 1].end == segments[first].first
            and segments[first - 1].images <= MERGE_FACTOR * images
        ):
            first -= 1
            images += segments[first].images
        unwritten = durable and any(segment.path is None for segment in segments[first : last + 1])
        if first < last or unwritten or _too_many_deleted(segments[last], deleted):
            return slice(first, last + 1)
    return None


def _too_many_deleted(segment: Segment, deleted: NDArray[np.int64]) -> bool:
    return segment.count_of(deleted) > MAX_DELETED_SHARE * segment.images


def _remove_orphans(folder: Path, in_force: set[Path | None]) -> None:
    """Delete what a crash left between the renames of a segment and of the manifest, before or after."""
    for path in folder.iterdir():
        if path.suffix in (".segment", ".tmp") and path not in in_force:
            path.unlink()


def _remove(segments: Sequence[Segment]) -> None:
    """Delete the files of segments that the manifest no longer names; those who have them mapped may go on."""
    for segment in segments:
        if segment.path is not None:
            segment.path.unlink(missing_ok=True)
