"""What a new image is compared with: ids, heads, vectors and terms of the decided images, by ordinal.

Everything here is derived from the store. A worker takes heads from its last checkpoint when it starts, and extends
them as it decides; the API follows it. Ids, vectors and the term index have files of their own, which are completed
from the store. An image takes 14 bytes of memory here, besides those files.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from neardup_platform.clusters.corpus_steps import Appended, CorpusStep, Died, Left, Placed, Renamed
from neardup_platform.errors import InvariantBroken
from neardup_platform.id_space import check_ordinals
from neardup_platform.image_table.checkpoint import Columns
from neardup_platform.image_table.ids import IdTable, MemoryIds, PackedIds
from neardup_platform.progress import Progress, no_progress
from neardup_platform.scoring.features import widened
from neardup_platform.scoring.nearness import CosineNearness
from neardup_platform.scoring.vectors import ImageVectors, VectorTable
from neardup_platform.terms.candidates import Candidates
from neardup_platform.terms.cascade import View
from neardup_platform.terms.hyperplanes import Hashed, TermSpace
from neardup_platform.terms.index import TermIndex
from neardup_platform.terms.mmap_segment import Segment

Ordinals = NDArray[np.int64]
Column = TypeVar("Column", np.bool_, np.int32, np.uint32)

_CHUNK = 65_536


@dataclass(frozen=True, slots=True)
class StoredImage:
    """One image as stored: float16 vectors, little-endian, and whether the term index has retired it."""

    ordinal: int
    image_id: str
    lsh: bytes
    pair: bytes
    retired: bool


@dataclass(frozen=True, slots=True)
class Loaded:
    """Images of a load, by ordinal from the first one on.

    Attributes:
        first: their first ordinal.
        ids: of all; none for images that are withheld.
        heads: int64 [n], ordinals; −1 for images that are withheld.
        retired: bool [n], images that no segment holds.
        sizes, representatives: int32 [n], of the clusters that each heads.
        segments: of the term index, linked into its folder.
    """

    first: int
    ids: PackedIds
    heads: Ordinals
    retired: NDArray[np.bool_]
    sizes: NDArray[np.int32]
    representatives: NDArray[np.int32]
    segments: Sequence[Segment]


def stored_vectors(part: Sequence[tuple[bytes, bytes]]) -> ImageVectors:
    """Returns the vectors of stored images, `lsh` and `pair` of each, at least one."""
    lsh, pair = (np.frombuffer(b"".join(kind), "<f2").reshape(len(part), -1) for kind in zip(*part, strict=True))
    return ImageVectors(lsh, pair)


def _wider(column: NDArray[Column], room: int) -> NDArray[Column]:
    """Returns a column with zeros at its end, which take no memory until they are written."""
    wider = np.zeros(room, column.dtype)
    wider[: len(column)] = column
    return wider


def _runs(images: Sequence[StoredImage]) -> Iterator[Sequence[StoredImage]]:
    """Splits images where ordinals are missing between them."""
    breaks = np.flatnonzero(np.diff([image.ordinal for image in images]) != 1) + 1
    for first, end in pairwise([0, *breaks.tolist(), len(images)]):
        yield images[first:end]


class Corpus:
    """Ids, vectors, terms and heads by ordinal.

    An ordinal is dead once its image was forgotten or got another ordinal: it has no id and no head, its vectors are
    zeros, the term index does not hold it, and it is never assigned again.

    Args:
        space: hashes the `lsh` embedding.
        index: the term index; `fill_index` gives it the images it lacks.
        vectors, ids: empty, or those of the images that `restore` knows; None for ids in memory.

    Attributes:
        moves: how often an image left its cluster, or a cluster got another head.
    """

    def __init__(self, space: TermSpace, index: TermIndex, vectors: VectorTable, ids: IdTable | None = None) -> None:
        self._index = index
        self._vectors = vectors
        self._space = space
        self._ids: IdTable = MemoryIds() if ids is None else ids
        self._count = 0
        # Ordinal of the head plus 1; 0 for none. So room that is not used takes no memory.
        self._heads = np.zeros(_CHUNK, np.uint32)
        self._retired = np.zeros(_CHUNK, np.bool_)
        self._dead = np.zeros(_CHUNK, np.bool_)
        self._representatives = np.zeros(_CHUNK, np.int32)
        self._sizes = np.zeros(_CHUNK, np.int32)
        self._dropped: list[int] = []
        self.moves = 0

    def __len__(self) -> int:
        return self._count

    @property
    def space(self) -> TermSpace:
        """Hashes the `lsh` vectors."""
        return self._space

    @property
    def index(self) -> TermIndex:
        """The term index."""
        return self._index

    @property
    def vectors(self) -> VectorTable:
        """The vectors of all images."""
        return self._vectors

    @property
    def id_table(self) -> IdTable:
        """The ids of all images."""
        return self._ids

    def use_index(self, index: TermIndex) -> None:
        """Replaces the term index, which is closed, by another of the same images and terms, and fills it."""
        self._index.close()
        self._index, self._space = index, index.space
        self.fill_index()

    def add(self, ids: Sequence[str], vectors: ImageVectors, hashed: Hashed) -> Ordinals:
        """Adds images, searchable at once and without a head; returns their ordinals, int64 [n]."""
        self._vectors.append(vectors)
        self._append(ids, np.zeros(len(ids), np.bool_))
        return self._index.add(hashed)

    def search(
        self, hashed: Hashed, k: int, min_overlap: int, before: Ordinals | None = None, view: View | None = None
    ) -> Candidates:
        """Finds the K nearest images to each query; arguments and errors as of `TermIndex.search`."""
        # After the view, because the table may grow meanwhile and holds every image of the view.
        view = self._index.view() if view is None else view
        nearness = CosineNearness(self._vectors.rows, self._space.mean) if self._index.by_cosine else None
        return self._index.search(hashed, k, min_overlap, before, view, nearness)

    def lsh_of(self, ordinals: Ordinals) -> NDArray[np.float32]:
        """Returns the `lsh` vectors of images, float32 [n, dim]."""
        return widened(self._vectors.rows.lsh, ordinals)

    def reserve(self, count: int) -> None:
        """Sets the next ordinals aside for a load: dead until `take_in`, and neither searched nor hashed.

        Raises:
            SetupError: the disk is full or broken, or there are no ordinals left; nothing has changed.
        """
        first, end = len(self), len(self) + count
        self._ids.make_room(count)
        self._vectors.skip(count)
        self._index.set_apart(first, end)
        self._append_dead(count)

    def take_in(self, loaded: "Loaded") -> None:
        """Gives ordinals that were set aside to the images of a load, whose rows the table of vectors holds."""
        first, end = loaded.first, loaded.first + len(loaded.ids)
        self._ids.fill_packed(first, loaded.ids)
        self._heads[first:end] = loaded.heads + 1
        self._retired[first:end] = loaded.retired
        self._dead[first:end] = loaded.heads < 0
        self._sizes[first:end] = loaded.sizes
        self._representatives[first:end] = loaded.representatives
        self._index.adopt(loaded.segments)
        self._index.delete(first + np.flatnonzero(loaded.heads < 0))

    def erase_dead(self, ordinals: range) -> None:
        """Erases the vectors of those of these ordinals that are dead."""
        found = ordinals.start + np.flatnonzero(self._dead[ordinals.start : ordinals.stop])
        self._vectors.erase(found)

    def extend(self, stored: Iterable[StoredImage], end: int) -> None:
        """Adds images from the store, in order of ordinal; they are searchable after `fill_index`.

        Args:
            stored: the images; ordinals missing between them are dead.
            end: ordinals after the last image and below this one are dead as well.
        """
        images = iter(stored)
        while part := list(islice(images, _CHUNK)):
            for run in _runs(part):
                self._skip(run[0].ordinal - len(self))
                ids = [image.image_id for image in run]
                self._ids.check(len(self), ids)
                self._vectors.append(stored_vectors([(image.lsh, image.pair) for image in run]))
                self._append(ids, np.array([image.retired for image in run]))
        self._skip(end - len(self))

    def fill(self, stored: Sequence[StoredImage]) -> None:
        """Gives dead ordinals to the images of a load, in a process that follows the one that took it in.

        They are found once the index is replaced by one that holds them.

        Args:
            stored: in order of ordinal, at least one.
        """
        for run in _runs(stored):
            first, end = run[0].ordinal, run[-1].ordinal + 1
            ids = [image.image_id for image in run]
            self._ids.check(first, ids)
            self._vectors.fill(first, stored_vectors([(image.lsh, image.pair) for image in run]))
            self._ids.fill(first, ids)
            self._retired[first:end] = [image.retired for image in run]
            self._dead[first:end] = False

    def _skip(self, count: int) -> None:
        """Makes the next ordinals dead."""
        if count > 0:
            self._vectors.skip(count)
            self._append_dead(count)

    def restore(self, columns: Columns, alive: NDArray[np.bool_]) -> None:
        """Takes over where the images are that both tables hold, before any is added; searchable after `fill_index`.

        Args:
            columns: of all ordinals of the tables.
            alive: bool [n], those that have an image.
        """
        n = len(alive)
        self._grow(n)
        self._heads[:n], self._retired[:n], self._dead[:n] = columns.heads, columns.retired, ~alive
        heads = columns.heads.astype(np.int64) - 1
        self._representatives[:n] = np.bincount(heads[~columns.retired], minlength=n)
        self._sizes[:n] = np.bincount(heads[heads >= 0], minlength=n)

    def know(self, alive: NDArray[np.bool_], retired: NDArray[np.bool_]) -> None:
        """Takes over the images that both tables hold, in a process that does not follow clusters.

        Before any is added; searchable after `fill_index`.

        Args:
            alive: bool [n], ordinals of the tables that have an image.
            retired: bool [n], images that the term index need not hold.
        """
        n = len(alive)
        self._grow(n)
        self._retired[:n], self._dead[:n] = retired, ~alive

    def know_load(self, first: int, alive: NDArray[np.bool_], retired: NDArray[np.bool_]) -> None:
        """Takes over images of a load likewise, from a dead ordinal on.

        They are found once the index is replaced by one that holds them.
        """
        end = first + len(alive)
        self._retired[first:end], self._dead[first:end] = retired, ~alive

    def columns(self, end: int) -> Columns:
        """Returns where the images below an ordinal are, copied."""
        return Columns(self._heads[:end].copy(), self._retired[:end].copy())

    def dead(self, end: int) -> NDArray[np.bool_]:
        """Returns which ordinals below one are dead, bool [end], copied."""
        return self._dead[:end].copy()

    def drop(self, ordinals: Ordinals) -> None:
        """Makes ordinals dead: removes them from the index and their clusters. `erase_dropped` clears the files."""
        for ordinal in ordinals.tolist():
            self.leave(ordinal)
        self._retired[ordinals] = self._dead[ordinals] = True
        self._index.hide(ordinals)
        self._dropped += ordinals.tolist()

    def erase_dropped(self) -> None:
        """Overwrites ids and vectors of dropped ordinals, all of them together; durable when this returns.

        What a crash prevents is erased at the next start.

        Raises:
            SetupError: the disk is broken.
        """
        if self._dropped:
            dropped, self._dropped = np.array(self._dropped), []
            self._index.publish_hidden()
            self._ids.erase(dropped)
            self._vectors.erase(dropped)

    def leave(self, ordinal: int) -> None:
        """Removes an image from its cluster, if it is in one; if it is the head, `rename` names the next one."""
        head = self.head_of(ordinal)
        if head >= 0:
            self.moves += 1
            self._representatives[head] -= not self._retired[ordinal]
            self._sizes[head] -= 1
            self._heads[ordinal] = 0

    def rename(self, old: int, new: int, members: Sequence[int] | None = None) -> None:
        """Moves all members of one head's cluster to another head's, by ordinals of the heads.

        Args:
            members: ordinals that include all of its members; None reads the heads of all images to find them.
        """
        self.moves += 1
        known = self._heads[: len(self)]
        if members is None:
            known[known == old + 1] = new + 1
        else:
            listed = np.asarray(members, np.int64)
            known[listed[known[listed] == old + 1]] = new + 1
        for counts in (self._representatives, self._sizes):
            counts[new] += counts[old]
            counts[old] = 0

    def fill_index(self, progress: Progress = no_progress, other: TermIndex | None = None) -> int:
        """Gives the index the images it lacks; returns how many.

        Args:
            progress: called with how far it has come; it may raise to stop.
            other: an index of the same images to fill in place of this one, in any thread.
        """
        index, count, filled = self._index if other is None else other, len(self), 0
        for first, end in index.missing(count):
            at = first
            while at < end:
                upto = self._filled_at_once(at, end)
                ordinals = at + np.flatnonzero(~self._dead[at:upto])
                hashed = index.space.hash(self.lsh_of(ordinals))
                index.restore(at, upto, ordinals, hashed, self._retired[ordinals])
                filled += len(ordinals)
                progress("hashing images", upto, count)
                at = upto
        return filled

    def _filled_at_once(self, first: int, end: int) -> int:
        """Returns where a chunk ends that begins at `first`; one without images ends at the next image."""
        upto = min(first + _CHUNK, end)
        if self._dead[first:upto].all():
            alive = ~self._dead[upto:end]
            return upto + int(alive.argmax()) if alive.any() else end
        return upto

    def id_of(self, ordinal: int) -> str:
        """Returns the image id of an ordinal; empty for a dead one."""
        return self._ids.id_of(ordinal)

    def ids(self) -> list[str]:
        """Returns all image ids, by ordinal; empty for dead ones. Reads the ids of all images."""
        return [self._ids.id_of(ordinal) for ordinal in range(len(self))]

    def head_of(self, ordinal: int) -> int:
        """Returns the ordinal of the head of an image's cluster; −1 for an undecided image and a dead ordinal."""
        return self._heads.item(ordinal) - 1

    def heads_of(self, ordinals: Ordinals) -> Ordinals:
        """Returns `head_of` for many images, int64 [n]."""
        return self._heads[ordinals].astype(np.int64) - 1

    def vectors_of(self, ordinal: int) -> ImageVectors:
        """Returns both vectors of an image, one row each."""
        return self._vectors.rows.at(np.array([ordinal]))

    def set_head(self, ordinal: int, head: int, *, represents: bool) -> None:
        """Adds an image to a head's cluster, as one of its representatives or not."""
        self._heads[ordinal] = head + 1
        self._representatives[head] += represents
        self._sizes[head] += 1
        self._retired[ordinal] = not represents

    def size_of(self, head: int) -> int:
        """Returns how many members a head's cluster has."""
        return int(self._sizes[head])

    def members_of(self, head: int) -> Ordinals:
        """Returns the ordinals of a head's cluster, ascending. Reads the heads of all images."""
        return np.flatnonzero(self._heads[: len(self)] == head + 1)

    def representatives_of(self, head: int) -> int:
        """Returns how many members of a head's cluster the index holds."""
        return int(self._representatives[head])

    def follow(self, steps: Iterable[CorpusStep]) -> None:
        """Repeats what a rearrangement did to the store; `erase_dropped` completes it."""
        for step in steps:
            match step:
                case Left(ordinal):
                    self.leave(ordinal)
                case Died(ordinal):
                    self.drop(np.array([ordinal]))
                case Appended(ordinal, image_id, lsh, pair):
                    self._add_stored(ordinal, image_id, stored_vectors([(lsh, pair)]))
                case Renamed(old, new, members):
                    self.rename(old, new, members)
                case Placed(ordinal, head, represents):
                    self.leave(ordinal)
                    self.set_head(ordinal, head, represents=represents)

    def _add_stored(self, ordinal: int, image_id: str, vectors: ImageVectors) -> None:
        given = self.add([image_id], vectors, self._space.hash(vectors.lsh.astype(np.float32)))
        if given.tolist() != [ordinal]:
            raise InvariantBroken(f"the store gives image {image_id!r} ordinal {ordinal}, the corpus {given.tolist()}")

    def retired(self, ordinals: Ordinals) -> NDArray[np.bool_]:
        """Returns which of these images the index need not hold, bool [n]."""
        return self._retired[ordinals]

    def close(self) -> None:
        """Stops the threads of the term index and releases the files of vectors and ids."""
        self._index.close()
        self._vectors.close()
        self._ids.close()

    def _append(self, ids: Sequence[str], retired: NDArray[np.bool_]) -> None:
        first, end = self._grow(len(ids))
        self._ids.append(ids)
        self._retired[first:end] = retired
        self._dead[first:end] = [not image_id for image_id in ids]

    def _append_dead(self, count: int) -> None:
        first, end = self._grow(count)
        self._ids.skip(count)
        self._retired[first:end] = self._dead[first:end] = True

    def _grow(self, count: int) -> tuple[int, int]:
        """Makes room for more images; returns their first ordinal, and the one after the last."""
        first, end = self._count, self._count + count
        # Of a 32-bit number one is needed for no head.
        check_ordinals(end + 1)
        if end > len(self._heads):
            room = max(end, 2 * len(self._heads))
            self._heads = _wider(self._heads, room)
            self._retired, self._dead = _wider(self._retired, room), _wider(self._dead, room)
            self._representatives, self._sizes = _wider(self._representatives, room), _wider(self._sizes, room)
        self._count = end
        return first, end
