"""Puts images into the clusters that they were given, without a search.

Images with their given heads → **overrides → cluster of the head, as it is now** → decisions and members

A given head names an image, and the image joins the cluster that this image is in at present. Overrides come first: an
image that one links or sets apart goes where it says, and one that may not be with its given head founds a cluster. If
nobody knows the head any more, because it was forgotten, the first image that was given it stands in for it. Images
that are known stay where they are; those that are in another cluster than given are reported.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from neardup_platform.bootstrap.elsewhere import Elsewhere
from neardup_platform.bootstrap.given import given_decision
from neardup_platform.clusters.decision import Constraint
from neardup_platform.decide import Constraints
from neardup_platform.matching import Scored
from neardup_platform.pipeline import Added, Decided, Pipeline
from neardup_platform.records import Cause, Decision, JoinedImage
from neardup_platform.store.view import StoreView
from neardup_platform.terms.equal_terms import NoTerms


class GivenImage(NamedTuple):
    """An image and the id of its given head, its own where it founds a cluster."""

    image: JoinedImage
    head: str


class GivenHeads:
    """Decides images by their given heads.

    Args:
        store: holds every image decided in an earlier step.
        command_id: of the load; the decisions name it.
    """

    def __init__(self, store: StoreView, pipeline: Pipeline, command_id: str) -> None:
        self._store, self._pipeline, self._command_id = store, pipeline, command_id
        self._stand_ins: dict[str, str] = {}

    def resume(self, earlier: Iterable[tuple[str, str]]) -> None:
        """Learn from images that an interrupted attempt has decided: (image id, given head) in their order."""
        pairs = [(image_id, head) for image_id, head in earlier if image_id != head]
        heads = list({head for _, head in pairs})
        found = self._store.images.find_many(heads) if heads else []
        unknown = {head for head, record in zip(heads, found, strict=True) if record is None}
        for image_id, head in pairs:
            if head in unknown and head not in self._stand_ins and self._store.images.find(image_id) is not None:
                self._stand_ins[head] = image_id

    def decide(
        self, given: Sequence[GivenImage], first_sequence: int, decided_ms: int, constraints: Constraints
    ) -> list[Decided]:
        """Decide images that the store does not know, in the order given; arguments as of `Pipeline.decide`."""
        heads = {image.image_id: head for image, head in given}
        batches: list[Decided] = []
        in_flight: dict[str, int] = {}
        for images in self._pipeline.split([image for image, _ in given]):
            added = self._pipeline.add(images)
            ids = [image.image_id for image in images]
            in_flight |= zip(ids, added.ordinals.tolist(), strict=True)
            batches.append(self._place(added, heads, constraints, in_flight, first_sequence, decided_ms))
            first_sequence += len(images)
        return batches

    def elsewhere(self, given: Iterable[GivenImage], decided: Iterable[Decided]) -> list[Elsewhere]:
        """Those of these images that were known before, and are in another cluster than given.

        An image that was to found a cluster is one of them if it is in another's. Images that were given its id are
        where it is, so they are none.

        Args:
            given: the images of a step.
            decided: those that are new, which `decide` has returned.
        """
        in_flight = {
            image.image_id: ordinal
            for batch in decided
            for image, ordinal in zip(batch.images, batch.ordinals.tolist(), strict=True)
        }
        known = {each.image.image_id: each for each in given if each.image.image_id not in in_flight}
        found = []
        for record, (image, head) in zip(self._store.images.find_many(list(known)), known.values(), strict=True):
            if record is None or record.head == head or self._is_outdated(image):
                continue
            named = None if head == image.image_id else self._head_of(head, in_flight)
            if named is None or self._pipeline.corpus.id_of(named) != record.head:
                found.append(Elsewhere(image.image_id, head, record.head))
        return found

    def _is_outdated(self, image: JoinedImage) -> bool:
        """Whether an image was forgotten since."""
        forgotten = self._store.state().forgotten
        return bool(forgotten) and image.event_time_ms <= self._store.images.forgotten_upto_ms(image.image_id)

    def _place(
        self,
        added: Added,
        heads: Mapping[str, str],
        constraints: Constraints,
        in_flight: Mapping[str, int],
        first_sequence: int,
        decided_ms: int,
    ) -> Decided:
        corpus, most = self._pipeline.corpus, self._pipeline.matching.max_representatives
        matched = self._pipeline.labels.matching([image.pdq for image in added.images])
        decisions: list[Decision] = []
        for row, image in enumerate(added.images):
            ordinal = int(added.ordinals[row])
            demand = constraints(image.image_id, in_flight)
            head, override_id = self._cluster(image.image_id, heads[image.image_id], ordinal, demand, in_flight)
            corpus.set_head(ordinal, head, represents=corpus.representatives_of(head) < most)
            decision = given_decision(
                image,
                corpus.id_of(head),
                first_sequence + row,
                ordinal,
                terms_version=self._pipeline.space.version,
                command_id=self._command_id,
                decided_ms=decided_ms,
            )
            if override_id:
                decision = replace(decision, cause=Cause.OVERRIDE, override_id=override_id)
            joined = None if head == ordinal else head
            labels = self._pipeline.labels(image.image_id, ordinal, joined, matched[row])
            decisions.append(replace(decision, labels=labels))
        retired = corpus.retired(added.ordinals)
        corpus.index.retire(added.ordinals[retired])
        scored = _not_scored(len(decisions))
        return Decided(added.images, added.ordinals, added.query.vectors, scored, retired, decisions, added.stage_ms)

    def _cluster(
        self, image_id: str, given: str, ordinal: int, demand: Constraint, in_flight: Mapping[str, int]
    ) -> tuple[int, str]:
        """The head of the cluster that an image goes to, by ordinal, and the override without which it would not."""
        if demand.head is not None:
            return demand.head, demand.override_id
        if demand.alone:
            return ordinal, demand.override_id
        head = ordinal if given == image_id else self._head_of(given, in_flight)
        if head is None:
            self._stand_ins[given] = image_id
            return ordinal, ""
        if head == ordinal:
            return ordinal, ""
        against = demand.quarantine(head) or demand.barred.get(head, "")
        return (ordinal, against) if against else (head, "")

    def _head_of(self, given: str, in_flight: Mapping[str, int]) -> int | None:
        for image_id in (given, self._stand_ins.get(given), self._store.redirects.resolve(given)):
            ordinal = None if image_id is None else self._ordinal_of(image_id, in_flight)
            if ordinal is not None:
                return self._pipeline.corpus.head_of(ordinal)
        return None

    def _ordinal_of(self, image_id: str, in_flight: Mapping[str, int]) -> int | None:
        if image_id in in_flight:
            return in_flight[image_id]
        record = self._store.images.find(image_id)
        return None if record is None else record.ordinal


def _not_scored(images: int) -> Scored:
    """What the search of images finds that are not searched."""
    return Scored(
        np.empty((images, 0), np.int64),
        NoTerms(),
        np.empty((images, 0), np.float32),
        np.zeros(images, np.int64),
        np.zeros(images, np.bool_),
        np.empty((images, 0), np.uint8),
    )
