"""Rebuilds the corpus at the start, from the store and the files derived from it, once these and the settings fit."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice, pairwise
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from neardup_platform.bootstrap.folders import folder_of
from neardup_platform.corpus import Corpus, stored_vectors
from neardup_platform.errors import InvariantBroken, NeardupError, SetupError
from neardup_platform.progress import Progress, no_progress
from neardup_platform.records import Kind, ModelSpec
from neardup_platform.scoring.inherit_vectors import inherit_vectors
from neardup_platform.scoring.mmap_vectors import WrittenVectors
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.reserved import numbers_apart, reserved_by_load
from neardup_platform.store.stored_pairs import StoredPairs
from neardup_platform.store.view import StoreView
from neardup_platform.store.writer import Store
from neardup_platform.stream.checkpointing import complete_checkpoint
from neardup_platform.stream.known_corpus import KnownImages, known_images
from neardup_platform.terms.hyperplanes import TermSpace
from neardup_platform.terms.index import TermIndex

log = logging.getLogger(__name__)

InheritTerms = Callable[[str, str, NDArray[np.bool_]], int]

_CHUNK = 8_192


def rebuild_corpus(
    store: Store,
    space: TermSpace,
    models: Mapping[Kind, ModelSpec],
    open_index: Callable[[str], TermIndex],
    vectors_path: Path,
    progress: Progress = no_progress,
    inherit_terms: InheritTerms = lambda _source, _replaced, _wanted: 0,
    loads: Path | None = None,
) -> Corpus:
    """Make the corpus as `read_corpus` does, and save what was read of the store.

    Arguments and errors are those of `read_corpus`.
    """
    corpus, images = read_corpus(store, space, models, open_index, vectors_path, progress, inherit_terms, loads)
    if images.read or not len(corpus):
        complete_checkpoint(store, corpus, images.ids, vectors_path)
    return corpus


def read_corpus(
    store: StoreView,
    space: TermSpace,
    models: Mapping[Kind, ModelSpec],
    open_index: Callable[[str], TermIndex],
    vectors_path: Path,
    progress: Progress = no_progress,
    inherit_terms: InheritTerms = lambda _source, _replaced, _wanted: 0,
    loads: Path | None = None,
    *,
    inherited_path: Path | None = None,
) -> tuple[Corpus, KnownImages]:
    """Make the corpus of the last checkpoint and what has changed since, and add what vectors and term index lack.

    Args:
        open_index: opens the term index of the store with this id.
        vectors_path: folder of the vector files and of the checkpoint.
        progress: called with how far it has come.
        inherit_terms: makes what serves of another store's index one of this store; takes the ids of this and of that
            store, and which of the ordinals that both share the index must hold.
        loads: folder of the folders of loads.
        inherited_path: folder of the vector files of the store that this one replaces; None for `vectors_path`.

    Returns:
        The corpus, and what of it came from the store.

    Raises:
        SetupError: term space, classifier and stored terms do not fit each other; the disk is full.
        InvariantBroken: the store contradicts itself.
    """
    state = store.state()
    _check_fit(state, space, models)
    begun = perf_counter()
    images = known_images(store, state, vectors_path, progress)
    wanted = images.alive & ~images.columns.retired
    inherited = _inherit(state, models, wanted, vectors_path, inherited_path, inherit_terms, progress)
    vectors = WrittenVectors(vectors_path, state.store_id, models, state.ordinals, StoredPairs(store))
    read = fill_vectors(store, vectors, images.alive, progress)
    if inherited:
        read += _fill_erased(store, vectors, images.alive[:inherited])
    index = open_index(state.store_id)
    reserved, apart = reserved_by_load(state), numbers_apart(state)
    ahead = index.rewind(state.ordinals, kept=reserved.stop)
    if ahead:
        log.warning("%d segments of the term index were ahead of the store; they are rebuilt", ahead)
    if apart:
        index.set_apart(apart.start, apart.stop)
    elif reserved and loads is not None:
        _adopt(index, reserved, folder_of(loads, state.reserved.command_id))
    loading = store.commands.progress(state.reserved.command_id) is not None
    _drop_dead(~images.alive, apart, reserved if loading else range(0), vectors, index)
    corpus = Corpus(space, index, vectors, images.ids)
    corpus.restore(images.columns, images.alive)
    filled = corpus.fill_index(progress)
    vectors.warm()
    log.info(
        "%d images in %.1f s: vectors of %d read from the store, %d hashed again; records of %d read",
        state.images,
        perf_counter() - begun,
        read,
        filled,
        images.read,
    )
    return corpus, images


def fill_vectors(
    store: StoreView, vectors: WrittenVectors, alive: NDArray[np.bool_], progress: Progress = no_progress
) -> int:
    """Append to the vector files what they lack of the store; returns how many ordinals.

    Args:
        alive: bool [ordinals], those that belong to an image.

    Raises:
        SetupError: the disk is full, or the store holds vectors of other models.
        InvariantBroken: the store lacks vectors of an image.
    """
    first, records = len(vectors), store.vectors.numbered(len(vectors))
    _step_over_dead(vectors, alive)
    while part := list(islice(records, _CHUNK)):
        for rows in _without_long_gaps(part):
            ordinals = [ordinal for ordinal, _ in rows]
            found = stored_vectors([(record.lsh, record.pair) for _, record in rows])
            _append(vectors, ordinals, found, ordinals[-1] + 1, alive)
            _step_over_dead(vectors, alive)
        progress("writing vectors", len(vectors), len(alive))
    none = vectors.rows.at(np.zeros(0, np.int64))
    while len(vectors) < len(alive):
        _append(vectors, [], none, min(len(alive), len(vectors) + _CHUNK), alive)
        progress("writing vectors", len(vectors), len(alive))
    vectors.sync()
    return len(alive) - first


def _step_over_dead(vectors: WrittenVectors, alive: NDArray[np.bool_]) -> None:
    """Leave a long stretch of dead rows as it is, such as the numbers of a load; afterwards it is erased."""
    first = len(vectors)
    end = first + _CHUNK
    if end <= len(alive) and not alive[first:end].any():
        rest = alive[end:]
        vectors.skip(_CHUNK + (int(rest.argmax()) if rest.any() else len(rest)))


def _without_long_gaps(
    part: Sequence[tuple[int, store_pb.VectorRecord]],
) -> Iterator[Sequence[tuple[int, store_pb.VectorRecord]]]:
    breaks = np.flatnonzero(np.diff([ordinal for ordinal, _ in part]) > _CHUNK) + 1
    for first, end in pairwise([0, *breaks.tolist(), len(part)]):
        yield part[first:end]


def _append(
    vectors: WrittenVectors, ordinals: list[int], found: ImageVectors, end: int, alive: NDArray[np.bool_]
) -> None:
    first = len(vectors)
    expected = first + np.nonzero(alive[first:end])[0]
    if expected.tolist() != ordinals:
        raise InvariantBroken(
            f"from ordinal {first} to {end - 1} the store has {len(expected)} images and vectors of {len(ordinals)}, "
            "or of others"
        )
    vectors.append(_spread(first, end, ordinals, found))


def _spread(first: int, end: int, ordinals: Sequence[int], vectors: ImageVectors) -> ImageVectors:
    """Return rows for the ordinals first…end − 1: vectors for those given, zeros for the others.

    Args:
        ordinals: ascending, of the rows of `vectors`.
    """
    if len(ordinals) == end - first:
        return vectors
    rows = np.asarray(ordinals, np.int64) - first
    wide = ImageVectors(*(np.zeros((end - first, kind.shape[1]), np.float16) for kind in vectors))
    for kind, given in zip(wide, vectors, strict=True):
        kind[rows] = given
    return wide


def _inherit(
    state: store_pb.StoreState,
    models: Mapping[Kind, ModelSpec],
    wanted: NDArray[np.bool_],
    vectors_path: Path,
    inherited_path: Path | None,
    inherit_terms: InheritTerms,
    progress: Progress,
) -> int:
    """Take over what serves of the files of the store that this one replaced; returns how many rows of vectors.

    Args:
        wanted: bool [ordinals], those that the term index holds.
    """
    shared = state.shared
    if not shared.end:
        return 0
    progress("taking over the term index", 0, 0)
    inherit_terms(state.store_id, shared.store_id, wanted[: shared.end])
    return inherit_vectors(
        vectors_path, state.store_id, models, shared.store_id, shared.end, progress, source=inherited_path
    )


def _fill_erased(store: StoreView, vectors: WrittenVectors, alive: NDArray[np.bool_]) -> int:
    """Write the rows of images that are dead in the replaced store and alive in this one; returns how many."""
    rows = vectors.rows
    erased = np.nonzero(alive & ~rows.lsh[: len(alive)].view(np.uint16).any(axis=1))[0]
    for first in range(0, len(erased), _CHUNK):
        part = erased[first : first + _CHUNK]
        found = [store.vectors.get(ordinal) for ordinal in part.tolist()]
        vectors.rewrite(part, stored_vectors([(record.lsh, record.pair) for record in found]))
    return len(erased)


def _adopt(index: TermIndex, reserved: range, folder: Path) -> None:
    """Give the index the segments of a load that was taken in just before a crash; else they are hashed again."""
    lacking = [first for first, end in index.missing(reserved.stop) if end > reserved.start]
    if not lacking or lacking[0] > reserved.start:
        return
    # pyarrow takes a while to import, and most starts do without.
    from neardup_platform.bootstrap.bulk_files import read_manifest

    try:
        found = read_manifest(folder)
        if found is not None and found.first_ordinal == reserved.start:
            index.adopt(index.link([folder / name for name in found.segments]))
    except (NeardupError, ValueError) as error:
        log.warning("the segments of a load cannot be used (%s): its images are hashed again", error)


def _drop_dead(
    dead: NDArray[np.bool_], apart: range, written: range, vectors: WrittenVectors, index: TermIndex
) -> None:
    """Erase dead images that a crash between a commit and its effect in memory has left.

    Args:
        dead: bool [ordinals].
        apart: ordinals that the index does not cover.
        written: ordinals where a load in progress has written rows that it needs.
    """
    hidden, erased = dead.copy(), dead.copy()
    hidden[apart.start : apart.stop] = False
    erased[written.start : written.stop] = False
    index.delete(index.sealed(np.flatnonzero(hidden)))
    rows, ordinals = vectors.rows, np.flatnonzero(erased)
    for first in range(0, len(ordinals), _CHUNK):
        part = ordinals[first : first + _CHUNK]
        vectors.erase(part[rows.lsh[part].any(axis=1) | rows.compact[part].any(axis=1)])


def _check_fit(state: store_pb.StoreState, space: TermSpace, models: Mapping[Kind, ModelSpec]) -> None:
    if space.model_version != models[Kind.LSH].version:
        raise SetupError(
            f"the term space was fitted to {space.model_version}, the classifier to {models[Kind.LSH].version}: "
            "set terms.space and scoring.model to a matching pair"
        )
    if state.terms_version not in ("", space.version):
        raise SetupError(
            f"the store holds terms of {state.terms_version}, settings give {space.version}: "
            "restore terms.space, or use another NEARDUP_HOME"
        )
