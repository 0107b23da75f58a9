"""At start: the corpus, from the store and the files that follow from it, once settings and all are seen to fit."""

import logging
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from time import perf_counter

import numpy as np

from neardup_platform.clusters.rocksdb_store import StoreView
from neardup_platform.corpus import Corpus, stored_vectors
from neardup_platform.errors import InvariantBroken, SetupError
from neardup_platform.messages import neardup_pb2 as pb
from neardup_platform.records import Kind, ModelSpec
from neardup_platform.scoring.mmap_vectors import WrittenVectors
from neardup_platform.terms.hyperplanes import TermSpace
from neardup_platform.terms.index import TermIndex

log = logging.getLogger(__name__)

_CHUNK = 8_192


def rebuild_corpus(
    store: StoreView,
    space: TermSpace,
    models: Mapping[Kind, ModelSpec],
    open_index: Callable[[str], TermIndex],
    vectors_path: Path,
) -> Corpus:
    """Read every image's id and head into memory, and give vector files and term index what they miss.

    Args:
        open_index: opens the term index of the store with this id.
        vectors_path: folder of the vector files.

    Raises:
        SetupError: term space, classifier and stored terms are not made for one another; the disk is full.
        InvariantBroken: the store contradicts itself.
    """
    state = store.state()
    _check_fit(state, space, models)
    begun = perf_counter()
    vectors = WrittenVectors(vectors_path, state.store_id, models, state.images)
    read = fill_vectors(store, vectors, state.images)
    index = open_index(state.store_id)
    ahead = index.rewind(state.images)
    if ahead:
        log.warning("%d segments of the term index were ahead of the store; they are made anew", ahead)
    corpus = Corpus(space, index, vectors)
    _restore_images(store, corpus, state.images)
    filled = corpus.fill_index()
    log.info(
        "%d images in %.1f s: vectors of %d read from the store, %d hashed anew",
        len(corpus),
        perf_counter() - begun,
        read,
        filled,
    )
    return corpus


def fill_vectors(store: StoreView, vectors: WrittenVectors, images: int) -> int:
    """Give the vector files what they miss of the store; returns of how many images.

    Raises:
        SetupError: the disk is full, or the store holds vectors of other models.
        InvariantBroken: the store lacks vectors of an image that it counts.
    """
    first, records = len(vectors), store.vectors(len(vectors))
    while part := [(record.lsh, record.pair) for record in islice(records, _CHUNK)]:
        vectors.append(stored_vectors(part))
    if len(vectors) != images:
        raise InvariantBroken(f"the store counts {images} images but holds vectors of {len(vectors)}")
    vectors.sync()
    return images - first


def _check_fit(state: pb.StoreState, space: TermSpace, models: Mapping[Kind, ModelSpec]) -> None:
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


def _restore_images(store: StoreView, corpus: Corpus, images: int) -> None:
    """Ids and heads from the images' records, and from their clusters' which of them the index holds."""
    ids, head_ids = [""] * images, [""] * images
    for image_id, record in store.all_images():
        if record.ordinal >= images or ids[record.ordinal]:
            raise InvariantBroken(f"image {image_id!r} has ordinal {record.ordinal}: another's, or not below {images}")
        ids[record.ordinal], head_ids[record.ordinal] = image_id, record.head
    ordinals = {image_id: ordinal for ordinal, image_id in enumerate(ids)}
    if "" in ordinals:
        raise InvariantBroken(f"the store counts {images} images, and none has ordinal {ordinals['']}")
    retired = np.ones(images, np.bool_)
    try:
        heads = np.array([ordinals[head] for head in head_ids], np.int64)
        for _, cluster in store.all_clusters():
            retired[[ordinals[image_id] for image_id in cluster.representatives]] = False
    except KeyError as error:
        raise InvariantBroken(f"{error} is the head or a representative of a cluster, but no image") from error
    corpus.restore(ids, heads, retired)
