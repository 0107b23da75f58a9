"""At start: the corpus, read from the store and the term index, once settings and both are seen to fit."""

import logging
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from time import perf_counter

import numpy as np

from neardup_platform.clusters.rocksdb_store import StoreView
from neardup_platform.corpus import Corpus, StoredImage
from neardup_platform.errors import InvariantBroken, SetupError
from neardup_platform.records import Kind, ModelSpec
from neardup_platform.terms.hyperplanes import TermSpace
from neardup_platform.terms.index import TermIndex

log = logging.getLogger(__name__)

_CHUNK = 8_192


def rebuild_corpus(
    store: StoreView,
    space: TermSpace,
    models: Mapping[Kind, ModelSpec],
    open_index: Callable[[str], TermIndex],
) -> Corpus:
    """Read every image's vectors and head into memory, and give the term index what it misses.

    Args:
        open_index: opens the term index of the store with this id.

    Raises:
        SetupError: term space, classifier and stored terms are not made for one another.
        InvariantBroken: the store contradicts itself.
    """
    state = store.state()
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
    begun = perf_counter()
    index = open_index(state.store_id)
    ahead = index.rewind(state.images)
    if ahead:
        log.warning("%d segments of the term index were ahead of the store; they are made anew", ahead)
    corpus = Corpus(space, models[Kind.PAIR].dim, index)
    corpus.extend(stored_images(store))
    if len(corpus) != state.images:
        raise InvariantBroken(f"the store counts {state.images} images but holds vectors of {len(corpus)}")
    _restore_heads(store, corpus)
    filled = corpus.fill_index()
    log.info("%d images read in %.1f s, %d of them hashed anew", len(corpus), perf_counter() - begun, filled)
    return corpus


def stored_images(store: StoreView) -> Iterator[StoredImage]:
    """Every image of the store in order of ordinal."""
    for record in store.vectors():
        yield StoredImage(record.image_id, record.lsh, record.pair, record.retired)


def _restore_heads(store: StoreView, corpus: Corpus) -> None:
    ordinals = {image_id: ordinal for ordinal, image_id in enumerate(corpus.ids())}
    heads = np.empty(len(corpus), np.int64)
    ids = iter(corpus.ids())
    done = 0
    while part := list(islice(ids, _CHUNK)):
        for image_id, record in zip(part, store.images(part), strict=True):
            if record is None or record.head not in ordinals:
                raise InvariantBroken(f"image {image_id!r} has vectors but no cluster in the store")
            heads[done] = ordinals[record.head]
            done += 1
    corpus.set_heads(heads)
