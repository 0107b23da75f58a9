"""Which of a batch of images come into another cluster by other rules. Changes nothing; runs in any thread."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neardup_platform.decide import NO_HEAD
from neardup_platform.matching import Query
from neardup_platform.pipeline import Pipeline
from neardup_platform.store.view import StoreView
from neardup_platform.stream.redecide.demands import Demands
from neardup_platform.stream.redecide.regrouping import Places, Regrouped, regroup
from neardup_platform.stream.redecide.rules import Rules
from neardup_platform.stream.redecide.weighing import (
    Known,
    Weighed,
    known_images,
    vectors_of,
    weigh_again,
    weigh_recorded,
)


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What a survey found.

    Attributes:
        regrouped: what would move.
        movers: the images that would, weighed in full.
        known: images of the batch that are decided.
        searched: of them, those that were searched and scored again.
    """

    regrouped: Regrouped
    movers: Sequence[Weighed]
    known: int
    searched: int


@dataclass(frozen=True, slots=True)
class Survey:
    """What a survey reads.

    Attributes:
        demands: of a copy of the overrides, because those of the worker may change at any time.
    """

    store: StoreView
    pipeline: Pipeline
    rules: Rules
    demands: Demands

    def of(self, image_ids: Sequence[str], places: Places, now_ms: int) -> Surveyed:
        """Survey a batch.

        Args:
            places: where images are; afterwards, where they would be.
            now_ms: the clock, Unix milliseconds.
        """
        known = known_images(self.store, image_ids)
        again = [each for each in known.values() if not self.rules.has_scored(each[1])]
        searched = {image.image_id: image for image in self._search(again)}
        recorded = [each for image_id, each in known.items() if image_id not in searched]
        weighed = {image.image_id: image for image in self._weigh(recorded, places)} | searched
        images = [weighed[image_id] for image_id in known]
        regrouped = regroup(images, places, self.pipeline.corpus, self.rules, self.demands, now_ms)
        moving = {decision.image_id for decision in regrouped.moved}
        full = [each for image_id, each in known.items() if image_id in moving and image_id not in searched]
        movers = weigh_recorded(self.store, self.rules, self._tables, full)
        movers += [image for image_id, image in searched.items() if image_id in moving]
        return Surveyed(regrouped, movers, len(known), len(searched))

    def _weigh(self, images: Sequence[Known], places: Places) -> list[Weighed]:
        """Weigh by recorded scores, in full only those with a match in a guarded cluster."""
        weighed = weigh_recorded(self.store, self.rules, self._tables, images, matches_only=True)
        guarded = [row for row, image in enumerate(weighed) if _guarded(image, places)]
        full = weigh_recorded(self.store, self.rules, self._tables, [images[row] for row in guarded])
        for row, image in zip(guarded, full, strict=True):
            weighed[row] = image
        return weighed

    def _search(self, images: Sequence[Known]) -> list[Weighed]:
        if not images:
            return []
        corpus = self.pipeline.corpus
        vectors = vectors_of(corpus, images)
        query = Query(vectors, self.pipeline.space.hash(vectors.lsh.astype(np.float32)))
        return weigh_again(query, corpus, self.rules, images)

    @property
    def _tables(self) -> int:
        return self.pipeline.space.tables


def _guarded(image: Weighed, places: Places) -> bool:
    heads = np.unique(places.heads_of(image.ordinals[image.ordinals >= 0])).tolist()
    return any(head != NO_HEAD and image.thresholds.guard.watches(places.size_of(head)) for head in heads)
