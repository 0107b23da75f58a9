"""Near-duplicate clusters in memory, for a notebook or a script: no Kafka, no store, no server.

Pictures or vectors → **the pipeline of the stream** → decisions. Term space, classifier, embedders and thresholds are
those of the platform with the same settings, so the decisions are, too.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neardup_platform.client.answers import FoundImage, HeldApart, SearchAnswer
from neardup_platform.clock import Clock, SystemClock
from neardup_platform.decide import Recording
from neardup_platform.errors import BadPicture, Conflict, InvalidRequest, NotFound, SetupError
from neardup_platform.evaluation.pipeline_run import empty_pipeline
from neardup_platform.images.picture_embedder import Picture, PictureEmbedder
from neardup_platform.images.rgb import Pixels
from neardup_platform.pipeline import Pipeline
from neardup_platform.records import Decision, Embedding, JoinedImage, Kind, ModelSpec
from neardup_platform.scoring.keras_classifier import PairClassifier, load_classifier
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.settings import Settings
from neardup_platform.terms.hyperplanes import load_term_space
from neardup_platform.wire.validation import check_vector, checked_id

# An image takes about 5 KB with the built-in embedders.
MAX_IMAGES = 100_000
# Pictures decoded and embedded together: at most 32 × 150 MB of pixels, usually far less.
_BATCH_PICTURES = 32
# Images decided together.
_BATCH_IMAGES = 256


@dataclass(frozen=True, slots=True)
class AddedPictures:
    """Result of `Deduplicator.add_many`.

    Attributes:
        decisions: in the order of the pictures.
        refused: image id → why its picture was not added.
    """

    decisions: list[Decision] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


class Deduplicator:
    """Clusters of images in memory; the same calls in the same order give the same decisions.

    It holds a bounded number of images and is not safe to share between threads.

    Example:
        >>> with Deduplicator.in_memory() as dedup:
        ...     for path in Path("pictures").glob("*.jpg"):
        ...         dedup.add(path.name, path)
        ...     dedup.clusters()
        {'bridge.jpg': ['bridge.jpg', 'bridge--crop.jpg'], 'cat.jpg': ['cat.jpg']}
    """

    def __init__(
        self,
        pipeline: Pipeline,
        models: Mapping[Kind, ModelSpec],
        settings: Settings,
        *,
        max_images: int = MAX_IMAGES,
        clock: Clock | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._models = models
        self._max_images = max_images
        self._clock = clock or SystemClock()
        self._heads: dict[str, str] = {}
        self._pictures = PictureEmbedder(settings.images, models)

    @classmethod
    def in_memory(
        cls,
        settings: Settings | None = None,
        *,
        max_images: int = MAX_IMAGES,
        clock: Clock | None = None,
    ) -> Self:
        """Make an empty deduplicator.

        Args:
            settings: models, thresholds and limits; None reads `neardup.toml` and `NEARDUP_…` variables.
            max_images: images it can hold.
            clock: gives the time of a decision; None for the clock of this machine.

        Raises:
            BadArtefact: a model of the settings is missing or damaged.
        """
        settings = settings or Settings()
        scorer: PairClassifier = load_classifier(
            settings.scoring.model, settings.scoring.threads, settings.scoring.kinds
        )
        pipeline = empty_pipeline(load_term_space(settings.terms.space), scorer, settings)
        return cls(pipeline, scorer.required_models, settings, max_images=max_images, clock=clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._heads)

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._heads

    def close(self) -> None:
        """Stop the decoder processes and threads."""
        self._pictures.close()
        self._pipeline.corpus.close()

    def add(self, image_id: str, picture: Picture) -> Decision:
        """Add a picture and decide which cluster it belongs to.

        Args:
            image_id: 1 to 512 bytes of Unicode text, not used before.
            picture: a path, the bytes of a picture file, a file opened for binary reading, or a PIL image.

        Raises:
            BadMessage: the id is malformed.
            Conflict: the id is in use.
            BadPicture: the picture cannot be decoded within the limits of `images`.
            SetupError: `max_images` images are held.
            OSError: the file cannot be read.
        """
        self._check_new([image_id])
        lsh, pair = self._pictures.embed([self._pictures.decode(picture)])
        return self._decide([image_id], lsh, pair)[0]

    def add_many(self, pictures: Mapping[str, Picture] | Iterable[tuple[str, Picture]]) -> AddedPictures:
        """Add pictures by image id, in order; pictures that cannot be decoded or read are skipped and reported.

        Raises:
            BadMessage, Conflict, SetupError: as `add`; batches before the image at fault have been added.
        """
        pairs = iter(pictures.items() if isinstance(pictures, Mapping) else pictures)
        added = AddedPictures()
        while batch := list(islice(pairs, _BATCH_PICTURES)):
            self._check_new([image_id for image_id, _ in batch])
            decoded: dict[str, Pixels] = {}
            for image_id, picture in batch:
                try:
                    decoded[image_id] = self._pictures.decode(picture)
                except (BadPicture, OSError) as error:
                    added.refused[image_id] = str(error)
            if decoded:
                added.decisions.extend(self._decide(list(decoded), *self._pictures.embed(list(decoded.values()))))
        return added

    def add_vectors(self, image_ids: Sequence[str], lsh: ArrayLike, pair: ArrayLike) -> list[Decision]:
        """Add images by their vectors, in order; row i belongs to image i.

        Args:
            image_ids: n ids, not used before.
            lsh: float [n, lsh_dim].
            pair: float [n, pair_dim].

        Raises:
            InvalidRequest: the numbers of ids and rows differ.
            BadMessage: an id or a vector is malformed; nothing is added.
            Conflict: an id is in use or given twice; nothing is added.
            SetupError: `max_images` would be exceeded; nothing is added.
        """
        rows = self._checked_rows(Kind.LSH, lsh), self._checked_rows(Kind.PAIR, pair)
        if not len(image_ids) == len(rows[0]) == len(rows[1]):
            raise InvalidRequest(f"{len(image_ids)} ids, {len(rows[0])} lsh and {len(rows[1])} pair vectors were given")
        self._check_new(image_ids)
        return self._decide(list(image_ids), *rows)

    def clusters(self) -> dict[str, list[str]]:
        """Return head → members, including the head, both in the order of adding."""
        clusters: defaultdict[str, list[str]] = defaultdict(list)
        for image_id, head in self._heads.items():
            clusters[head].append(image_id)
        return dict(clusters)

    def head_of(self, image_id: str) -> str:
        """Return the head of an image's cluster.

        Raises:
            NotFound: the image has not been added.
        """
        if image_id not in self._heads:
            raise NotFound(f"image {image_id!r} has not been added")
        return self._heads[image_id]

    def lookup_many(self, image_ids: Iterable[str]) -> dict[str, str]:
        """Return image id → head, for the images that have been added."""
        return {image_id: self._heads[image_id] for image_id in image_ids if image_id in self._heads}

    def search(
        self, picture: Picture | None = None, *, lsh: ArrayLike | None = None, pair: ArrayLike | None = None
    ) -> SearchAnswer:
        """Search by example, which adds nothing; arguments and answer are those of `Client.search`.

        Raises:
            InvalidRequest: neither a picture nor both vectors are given, or both.
            BadPicture, BadMessage, OSError: as `add` and `add_vectors`.
        """
        if picture is not None and lsh is None and pair is None:
            rows = self._pictures.embed([self._pictures.decode(picture)])
        elif picture is None and lsh is not None and pair is not None:
            rows = self._checked_rows(Kind.LSH, np.atleast_2d(lsh)), self._checked_rows(Kind.PAIR, np.atleast_2d(pair))
        else:
            raise InvalidRequest("search needs either a picture or both vectors, lsh and pair")
        return self._search(*rows)

    def _search(self, lsh: NDArray[np.float32], pair: NDArray[np.float32]) -> SearchAnswer:
        everything = Recording(self._pipeline.matching.max_candidates, floor=0.0)
        example = ImageVectors(lsh.astype(np.float16), pair.astype(np.float16))
        found = self._pipeline.preview(example, matches_only=True, recording=everything)
        ruling, thresholds = found.ruling, found.thresholds
        return SearchAnswer(
            seen_before=bool(ruling.candidates),
            cluster=ruling.head_id,
            score=ruling.score,
            head_score=0.0 if ruling.head_id is None else ruling.head_score,
            matches=[
                FoundImage(each.image_id, each.head, each.score, each.overlap, kind=each.kind)
                for each in ruling.candidates
            ],
            candidates_found=int((found.scored.ordinals >= 0).sum()),
            threshold=thresholds.match,
            head_threshold=thresholds.head,
            images_searched=int(found.scored.examined[0]),
            stage_ms=dict(found.stage_ms),
            guard=None if ruling.guard is None else HeldApart(**asdict(ruling.guard)),
            undistinctive=found.undistinctive,
        )

    def _check_new(self, image_ids: Sequence[str]) -> None:
        new: set[str] = set()
        for image_id in image_ids:
            checked_id(image_id)
            if image_id in self._heads or image_id in new:
                raise Conflict(f"image {image_id!r} was added before: use another id")
            new.add(image_id)
        if len(self) + len(new) > self._max_images:
            raise SetupError(
                f"{len(self)} images and {len(new)} more exceed max_images = {self._max_images}: make a deduplicator "
                "with a larger max_images, or run the platform"
            )

    def _checked_rows(self, kind: Kind, rows: ArrayLike) -> NDArray[np.float32]:
        matrix = np.asarray(rows, np.float64)
        if matrix.ndim != 2:
            raise InvalidRequest(f"{kind} vectors of shape {matrix.shape}: [n, {self._models[kind].dim}] is expected")
        for vector in matrix:
            check_vector(vector, kind, self._models[kind].dim)
        return matrix.astype(np.float32)

    def _decide(self, image_ids: Sequence[str], lsh: NDArray[np.float32], pair: NDArray[np.float32]) -> list[Decision]:
        now_ms = self._clock.now_ms()
        decisions = []
        images = map(self._joined, image_ids, lsh, pair, [now_ms] * len(image_ids))
        while batch := list(islice(images, _BATCH_IMAGES)):
            for decided in self._pipeline.decide(batch, len(self) + 1, now_ms):
                self._heads |= {decision.image_id: decision.head for decision in decided.decisions}
                decisions += decided.decisions
        return decisions

    def _joined(self, image_id: str, lsh: NDArray[np.float32], pair: NDArray[np.float32], now_ms: int) -> JoinedImage:
        by_kind = {Kind.LSH: lsh, Kind.PAIR: pair}
        return JoinedImage(
            *(Embedding(image_id, kind, self._models[kind].version, by_kind[kind], now_ms) for kind in by_kind)
        )
