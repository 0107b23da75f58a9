"""Pairs by example: two images compared now, each of the store, a picture or two vectors; nothing changes."""

from collections.abc import Sequence

import numpy as np

from neardup_platform.images.rgb import Pixels
from neardup_platform.pair_comparison import PairComparison, compare_vectors
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.serving.example_search import checked_vectors, one_row
from neardup_platform.serving.rocksdb_follower import StoreFollower
from neardup_platform.serving.s3_pictures import PictureStore
from neardup_platform.serving.search_corpus import SearchCorpus
from neardup_platform.serving.stored_images import known_image, vectors_of


class ExamplePairs:
    """Compares pairs. Every method but `enough_px` is called from one thread at a time.

    All raise:
        ServerUnavailable: the models are still being loaded, or cannot be; or there is no store.
    """

    def __init__(self, corpus: SearchCorpus, follower: StoreFollower, pictures: PictureStore) -> None:
        self._corpus = corpus
        self._follower = follower
        self._pictures = pictures

    @property
    def enough_px(self) -> int:
        """Shorter side that the embedders need of a picture."""
        return self._corpus.models.enough_px

    def of_picture(self, pixels: Pixels) -> ImageVectors:
        """Returns the vectors of a decoded picture, one row."""
        return one_row(*self._corpus.models.embed(pixels))

    def of_vectors(self, lsh: Sequence[float], pair: Sequence[float]) -> ImageVectors:
        """Returns vectors of a request, one row.

        Raises:
            BadMessage: a vector has the wrong dimension, or values that no message may have.
        """
        return checked_vectors(lsh, pair, self._corpus.models.required_models)

    def of_image(self, image_id: str) -> ImageVectors:
        """Returns the vectors of an image of the store, one row.

        Raises:
            NotFound: it has not been decided, or was forgotten.
        """
        return self._follower.read(lambda store: vectors_of(store, known_image(store, image_id)))

    def picture(self, image_id: str) -> str | None:
        """Returns the path of the call that shows the picture of an image; None if there is none."""
        return self._follower.read(lambda store: self._pictures.paths(store, [image_id])[0])

    def compare(self, a: ImageVectors, b: ImageVectors) -> PairComparison:
        """Compares two images, one row each."""
        vectors = ImageVectors(np.concatenate([a.lsh, b.lsh]), np.concatenate([a.pair, b.pair]))
        with self._corpus.searching() as pipeline:
            return compare_vectors(pipeline.scorer, pipeline.matching, vectors, len(pipeline.corpus))
