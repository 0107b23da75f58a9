"""The segments of a term index on disk: opened by the manifest, written, and published by a new manifest.

A segment file exists wholly or not at all, and counts only once the manifest names it. Files that a crash left
between the two renames are deleted at the next start.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import time

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import BadArtefact, ServerUnavailable, SetupError
from neardup_platform.files import sync_folder
from neardup_platform.progress import Progress
from neardup_platform.terms.json_manifest import Manifest, read_manifest, write_manifest
from neardup_platform.terms.mmap_segment import Segment, open_segment, segment_name, write_segment

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Opened:
    """What was found in a folder.

    Attributes:
        segments: by file, in order of ordinal.
        damaged: why segments that the manifest names are missing here; each names its file.
        deleted: int64, deleted ordinals that a segment still holds, ascending.
        generation: of the manifest.
    """

    segments: Mapping[Path | None, Segment]
    damaged: tuple[str, ...]
    deleted: NDArray[np.int64]
    generation: int


class SegmentFolder:
    """The files of one term index.

    Args:
        path: of the folder.
        version: of the term space.
        source: which store the images come from; an index of another one is not used.
        writable: whether this process is the one that writes.
    """

    def __init__(self, path: Path, version: str, source: str, *, writable: bool) -> None:
        self.path = path
        self._version = version
        self._source = source
        self._writable = writable

    def open(self, known: Mapping[Path | None, Segment], progress: Progress) -> Opened:
        """Maps the segments that the manifest names; the writer deletes all other files.

        Args:
            known: segments that are mapped already, by file.
            progress: receives how many segments have been opened.

        Raises:
            BadArtefact: the folder holds an index of another term space.
            ServerUnavailable: it is of the same terms and another version, until the writer makes it again.
        """
        if self._writable:
            self.path.mkdir(parents=True, exist_ok=True)
        manifest = self.read_manifest()
        segments, damaged = self._open_segments(manifest, known, progress)
        while damaged and not self._writable and (newer := self.read_manifest()) != manifest:
            # The writer has replaced segments meanwhile.
            manifest = newer
            segments, damaged = self._open_segments(manifest, {**known, **segments}, progress)
        for reason in damaged:
            log.error("%s", reason)
        if self._writable:
            self._remove_orphans(set(segments))
        end = max((segment.end for segment in segments.values()), default=0)
        deleted = np.array(manifest.deleted if manifest else (), np.int64)
        # Without a manifest, a number that no earlier index of this folder had: followers know segments by name.
        generation = manifest.generation if manifest is not None else int(time())
        return Opened(segments, tuple(damaged), deleted[deleted < end], generation)

    def read_manifest(self) -> Manifest | None:
        """Returns the published manifest; None where there is none, or it is damaged or another store's.

        Raises:
            BadArtefact: it is of another term space.
            ServerUnavailable: it is of the same terms and another version.
        """
        try:
            manifest = read_manifest(self.path)
        except BadArtefact as error:
            log.error("%s", error)
            return None
        if manifest is not None and manifest.version != self._version:
            if manifest.version.split("+")[0] == self._version.split("+")[0]:
                raise ServerUnavailable(
                    f"index {self.path}: it is of {manifest.version}, settings give {self._version}: set terms.cells, "
                    "terms.ranking and terms.min_overlap as for the worker, which makes it again at its next start"
                )
            raise BadArtefact(
                f"index {self.path}: it holds terms of {manifest.version}, settings give {self._version}: "
                "restore terms.space, or delete the folder and it is rebuilt from the store"
            )
        if manifest is not None and manifest.source != self._source:
            log.warning("index %s belongs to another store; it is rebuilt from this one", self.path)
            return None
        return manifest

    def read_present(self) -> Manifest | None:
        """Returns the published manifest whatever its version; None as for `read_manifest`."""
        try:
            manifest = read_manifest(self.path)
        except BadArtefact:
            return None
        return manifest if manifest is not None and manifest.source == self._source else None

    def at(self, path: Path) -> "SegmentFolder":
        """Returns another folder for the same index."""
        return SegmentFolder(path, self._version, self._source, writable=self._writable)

    def merge(self, segments: Sequence[Segment], states: NDArray[np.uint8], generation: int) -> Segment:
        """Writes neighbouring segments as one file; arguments and errors as of `write_segment`."""
        name = segment_name(segments[0].first, segments[-1].end, generation)
        return write_segment(self.path, name, segments, states, self._version)

    def link(self, file: Path, generation: int) -> Segment:
        """Links a segment that was written elsewhere on this disk; until a manifest names it, a restart removes it.

        Args:
            file: verified.
            generation: of a manifest that may name it.

        Raises:
            BadArtefact: it is no segment of this term space.
            SetupError: it cannot be linked.
        """
        found = open_segment(file, self._version, verify=False)
        path = self.path / segment_name(found.first, found.end, generation)
        try:
            path.unlink(missing_ok=True)
            os.link(file, path)
            sync_folder(self.path)
        except OSError as error:
            raise SetupError(f"linking segment {file} to {path} failed: {error}") from error
        return replace(found, path=path)

    def publish(self, generation: int, segments: Sequence[Segment], deleted: NDArray[np.int64]) -> None:
        """Replaces the manifest by one that names the written ones of these segments.

        Raises:
            OSError: the disk is full or broken; the previous manifest stays.
        """
        written = [segment.path.name for segment in segments if segment.path is not None]
        write_manifest(self.path, Manifest(self._version, self._source, generation, written, deleted.tolist()))

    def _open_segments(
        self, manifest: Manifest | None, known: Mapping[Path | None, Segment], progress: Progress
    ) -> tuple[dict[Path | None, Segment], list[str]]:
        """Returns the segments of a manifest by file, and what is wrong with those that cannot be opened."""
        opened: dict[Path | None, Segment] = {}
        damaged = []
        names = manifest.segments if manifest else ()
        for number, name in enumerate(names):
            path, opening = self.path / name, partial(progress, "opening the term index", number, len(names))
            opening()
            try:
                opened[path] = known.get(path) or open_segment(path, self._version, verified=opening)
            except BadArtefact as error:
                damaged.append(str(error))
        return opened, damaged

    def _remove_orphans(self, named: set[Path | None]) -> None:
        for path in self.path.iterdir():
            if path.suffix in (".segment", ".tmp") and path not in named:
                path.unlink()


def remove(segments: Sequence[Segment]) -> None:
    """Deletes the files of segments that the manifest no longer names; processes that have them mapped may continue."""
    for segment in segments:
        if segment.path is not None:
            segment.path.unlink(missing_ok=True)
