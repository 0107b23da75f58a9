"""The models and the corpus of search by example: loaded in the background, following the worker's store."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from neardup_platform.corpus import Corpus, StoredImage
from neardup_platform.errors import NeardupError, RetryableError, ServerUnavailable, SetupError
from neardup_platform.image_table.mmap_ids import FollowedIds
from neardup_platform.images.rgb import Pixels
from neardup_platform.matching import Matching, PairScorer
from neardup_platform.pipeline import Pipeline
from neardup_platform.records import Kind, ModelSpec
from neardup_platform.scoring.mmap_vectors import FollowedVectors
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.serving.followed_pairs import FollowedPairs
from neardup_platform.serving.known_rows import known_load, known_rows
from neardup_platform.serving.rocksdb_follower import StoreFollower
from neardup_platform.store.reserved import numbers_apart
from neardup_platform.store.store_pb2 import StoreState
from neardup_platform.structure.overlap import overlap_of
from neardup_platform.structure.sketch import Sketch
from neardup_platform.terms.blocks import overlap
from neardup_platform.terms.hyperplanes import TermSpace
from neardup_platform.terms.index import TermIndex

log = logging.getLogger(__name__)

# Images read at once under the follower's lock: a few milliseconds, so that refreshes keep up.
_CHUNK_IMAGES = 1_024
_FOLLOW_S = 0.2
# Of a load, before new images are followed again: half a second.
_FILLED_CHUNKS = 64

Vectors = NDArray[np.float32]


class PictureEmbedder(Protocol):
    """Turns a picture into its two vectors."""

    def __call__(self, pixels: Pixels) -> tuple[Vectors, Vectors]:
        """Returns the `lsh` and the `pair` vector of a picture, each float32 [dim]."""


@dataclass(frozen=True, slots=True)
class Models:
    """Everything that a search needs besides the corpus.

    Attributes:
        space: hashes the example.
        scorer, matching: the classifier of the settings, active until another is promoted.
        required_models: of the embeddings that the classifier scores.
        embed: turns a picture into vectors.
        enough_px: shorter side that the embedders need of a picture.
        open_index: maps the worker's term index of a store by its id; shares the segments of an index opened earlier.
        vectors_path: folder of the worker's vectors, ids and checkpoint.
        promoted: loads the classifier of a version, with the limits and thresholds that apply with it.
    """

    space: TermSpace
    scorer: PairScorer
    required_models: Mapping[Kind, ModelSpec]
    matching: Matching
    embed: PictureEmbedder
    enough_px: int
    open_index: Callable[[str, TermIndex | None], TermIndex]
    vectors_path: Path
    promoted: Callable[[str], tuple[PairScorer, Matching]]


@dataclass(frozen=True, slots=True)
class _Loaded:
    models: Models
    pipeline: Pipeline
    source: str
    vectors: FollowedVectors
    ids: FollowedIds


class _StoreReplaced(Exception):
    """Another store is active: its ordinals belong to other images."""


class SearchCorpus:
    """Models and corpus, once they are loaded.

    Args:
        follower: reads the store.
        load: loads the models; called in a thread, because importing TensorFlow takes seconds.
    """

    def __init__(self, follower: StoreFollower, load: Callable[[], Models]) -> None:
        self._follower = follower
        self._load = load
        self._models: Models | None = None
        self._loaded: _Loaded | None = None
        self._problem = "search by example is warming up: its models are being loaded"
        self._missing = self._unwritten = ""
        # Ordinals of a load that are dead in the corpus.
        self._apart = range(0)
        self._using = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="search-corpus", daemon=True)

    def start(self) -> None:
        """Starts loading models and corpus."""
        self._thread.start()

    def close(self) -> None:
        """Stops following the store; does not wait for models that are being loaded."""
        self._stop.set()
        if self._loaded is not None:
            self._thread.join()

    @property
    def problem(self) -> str:
        """Why search is unavailable now; empty when it is available."""
        return "" if self._loaded else self._problem

    @property
    def models(self) -> Models:
        """The active models.

        Raises:
            ServerUnavailable: they are still being loaded, or an error turned search off.
        """
        return self._warm().models

    @property
    def scorer(self) -> PairScorer:
        """The active classifier.

        Raises:
            ServerUnavailable: as for `models`.
        """
        return self._warm().pipeline.scorer

    @contextmanager
    def searching(self) -> Iterator[Pipeline]:
        """Gives the pipeline over a corpus that does not grow until the block ends.

        Raises:
            ServerUnavailable: as for `models`.
        """
        self._warm()
        with self._using:
            # Again, because another store may have become active meanwhile.
            yield self._warm().pipeline

    def _warm(self) -> _Loaded:
        loaded = self._loaded
        if loaded is None:
            raise ServerUnavailable(self._problem)
        return loaded

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                with suppress(_StoreReplaced):
                    self._follow()
        except NeardupError as error:
            self._turn_off(str(error))
        except Exception as error:
            self._turn_off(f"{type(error).__name__}: {error}")
            raise

    def _follow(self) -> None:
        loaded = self._prepare()
        try:
            while not self._stop.wait(_FOLLOW_S):
                self._follow_classifier(loaded)
                self._catch_up(loaded)
        except _StoreReplaced:
            log.info("another store is active: the corpus of the search is loaded again")
            self._loaded = None
            with self._using:
                loaded.pipeline.corpus.close()
            raise

    def _turn_off(self, why: str) -> None:
        self._loaded = None
        self._problem = f"search by example is off: {why}"
        log.error("%s", self._problem)

    def _prepare(self) -> _Loaded:
        begun = perf_counter()
        if self._models is None:
            self._models = self._load()
        # They are the same whatever the store.
        models = self._models
        self._problem = "search by example is warming up: waiting for the worker's store"
        while not self._follower.is_open and not self._stop.wait(_FOLLOW_S):
            pass
        source = self._follower.read(lambda store: store.state().store_id)
        self._apart = range(0)
        index = self._open_index(models, source)
        pairs = FollowedPairs(self._follower, source)
        vectors = FollowedVectors(models.vectors_path, source, models.required_models, pairs)
        ids = FollowedIds(models.vectors_path, source)
        corpus = Corpus(index.space, index, vectors, ids)
        loaded = _Loaded(models, Pipeline(index.space, models.scorer, corpus, models.matching), source, vectors, ids)
        while not self._follow_classifier(loaded) and not self._stop.wait(_FOLLOW_S):
            self._problem = f"search by example is warming up: {self._missing}"
        while not self._catch_up(loaded) and not self._stop.wait(_FOLLOW_S):
            self._problem = f"search by example is warming up: {self._unwritten}"
        _exercise(loaded)
        self._loaded = loaded
        log.info("search by example is ready over %d images after %.1f s", len(corpus), perf_counter() - begun)
        return loaded

    def _open_index(self, models: Models, source: str) -> TermIndex:
        """Opens the index once the worker has made it as the settings ask for.

        Raises:
            ServerUnavailable: it is to stop before.
        """
        while True:
            try:
                return models.open_index(source, None)
            except ServerUnavailable as error:
                self._problem = f"search by example is warming up: {error}"
                if self._stop.wait(_FOLLOW_S):
                    raise

    def _follow_classifier(self, loaded: _Loaded) -> bool:
        """Activates the classifier that the store names; returns whether it is active now."""
        pipeline = loaded.pipeline
        promoted = self._follower.read(lambda store: store.state().classifier_version)
        if promoted in ("", pipeline.scorer.version):
            return True
        try:
            scorer, matching = loaded.models.promoted(promoted)
        except RetryableError as error:
            if not self._missing:
                log.warning("classifier %s is not here, trying again: %s", promoted, error)
            self._missing = str(error)
            return False
        self._missing = ""
        with self._using:
            pipeline.use_classifier(scorer, matching)
        log.info("search by example uses classifier %s", promoted)
        return True

    def _follow_index(self, loaded: _Loaded) -> None:
        """Replaces the index by what the worker has published, unless it holds images that are not filled in yet."""
        pipeline = loaded.pipeline
        if not pipeline.corpus.index.is_stale(self._apart):
            return
        try:
            fresh = loaded.models.open_index(loaded.source, pipeline.corpus.index)
        except ServerUnavailable:
            # The worker has exchanged its cells meanwhile.
            return
        if fresh.holds_any(self._apart):
            fresh.close()
            return
        if fresh.space.index_version != pipeline.space.index_version:
            log.info("search uses an index sorted by %s", fresh.space.fitted_version or "the cells of the term space")
        with self._using:
            pipeline.use_index(fresh)

    def _note_load(self, loaded: _Loaded, state: StoreState, end: int) -> None:
        """Notes ordinals below `end` that are dead until a load is taken in."""
        reserved = numbers_apart(state)
        if not overlap(reserved, range(end)) or overlap(reserved, self._apart):
            return
        while self._apart and not self._stop.is_set():
            self._follow_load(loaded)
        self._apart = reserved

    def _follow_load(self, loaded: _Loaded) -> None:
        """Fills in the images of a load that was taken in; searches find the others meanwhile.

        All at once from the checkpoint that the worker saves after a load; until there is one, a part from the store.

        Raises:
            _StoreReplaced: another store is active.
        """
        if self._apart and self._know_load(loaded):
            return
        for _ in range(_FILLED_CHUNKS if self._apart else 0):
            with self._follower.reading() as store:
                state = store.state()
                if state.store_id != loaded.source:
                    raise _StoreReplaced
                if overlap(numbers_apart(state), self._apart):
                    return
                rows = islice(store.vectors.numbered(self._apart.start), _CHUNK_IMAGES)
                part = [StoredImage(n, r.image_id, r.lsh, r.pair, r.retired) for n, r in rows if n in self._apart]
            if not part:
                self._apart = range(0)
                return
            try:
                with self._using:
                    loaded.pipeline.corpus.fill(part)
            except ServerUnavailable as error:
                log.warning("%s", error)
                return
            self._apart = range(part[-1].ordinal + 1, self._apart.stop)

    def _know_load(self, loaded: _Loaded) -> bool:
        """Takes over a load from the worker's checkpoint; returns whether there is one."""
        state = self._follower.read(lambda store: store.state())
        if state.store_id != loaded.source:
            raise _StoreReplaced
        if overlap(numbers_apart(state), self._apart):
            return False
        folder, apart = loaded.models.vectors_path, self._apart
        known = known_load(folder, self._follower, loaded.source, loaded.vectors, loaded.ids, apart)
        if known is None:
            return False
        with self._using:
            loaded.pipeline.corpus.know_load(apart.start, known.alive, known.retired)
        self._apart = range(0)
        log.info("%d images of a load are those of the worker's checkpoint", len(apart))
        return True

    def _take_checkpoint(self, loaded: _Loaded) -> bool:
        """Begins with the images of the worker's last checkpoint.

        Returns:
            Whether the rest can be added: the images of the checkpoint are there, or all have to be compared.
        """
        if not self._follower.read(lambda store: store.state().ordinals):
            return True
        models, corpus = loaded.models, loaded.pipeline.corpus
        try:
            found = known_rows(models.vectors_path, self._follower, loaded.source, loaded.vectors, loaded.ids)
            if found is None:
                return True
            # The one opened before may be that of a store that this one replaces.
            index = models.open_index(loaded.source, None)
        except ServerUnavailable as error:
            self._note_unwritten(error)
            return False
        self._apart = found.apart
        corpus.know(found.alive, found.retired)
        corpus.use_index(index)
        return True

    def _catch_up(self, loaded: _Loaded) -> bool:
        """Adds the new images of the store to the corpus, with the vectors and segments that the worker has written.

        Returns:
            Whether the corpus now holds all images of the store.

        Raises:
            _StoreReplaced: another store is active.
        """
        corpus, version = loaded.pipeline.corpus, loaded.models.space.version
        self._follow_load(loaded)
        self._follow_index(loaded)
        if not len(corpus) and not self._take_checkpoint(loaded):
            return False
        while not self._stop.is_set():
            with self._follower.reading() as store:
                state = store.state()
                if state.store_id != loaded.source:
                    raise _StoreReplaced
                part = list(islice(store.vectors.numbered(len(corpus)), _CHUNK_IMAGES))
            if len(corpus) >= state.ordinals:
                return True
            # A full part may be followed by more images; otherwise the rest of the ordinals is dead.
            end = part[-1][0] + 1 if len(part) == _CHUNK_IMAGES else state.ordinals
            self._note_load(loaded, state, end)
            stored = state.terms_version
            if stored != version:
                raise SetupError(
                    f"the store holds terms of {stored}, settings give {version}: "
                    "start the API with the settings of the worker"
                )
            try:
                with self._using:
                    corpus.extend((StoredImage(n, r.image_id, r.lsh, r.pair, r.retired) for n, r in part), end)
                    corpus.fill_index()
            except ServerUnavailable as error:
                self._note_unwritten(error)
                return False
            self._unwritten = ""
        return True

    def _note_unwritten(self, error: ServerUnavailable) -> None:
        if not self._unwritten:
            log.warning("%s", error)
        self._unwritten = str(error)


def _exercise(loaded: _Loaded) -> None:
    """Searches and aligns once, so that kernels are compiled before the first user waits for them."""
    models = loaded.models
    lsh = np.linspace(-1, 1, models.space.dim, dtype=np.float32)[None]
    pair = np.zeros((1, models.required_models[Kind.PAIR].dim), np.float16)
    loaded.pipeline.preview(ImageVectors(lsh.astype(np.float16), pair), matches_only=True)
    if models.scorer.sketch != slice(0, 0):
        noise = np.random.default_rng(0).uniform(0, 255, (32, 32)).astype(np.float32)
        sketch = Sketch(noise, np.zeros((4, 4, 3), np.float32))
        overlap_of(sketch, sketch)
