"""Decides known images again, by their recorded candidates and the present overrides.

Active decision, present heads of its candidates → decision rule → **rearrangement**. Nothing is searched, and only
heads are compared, so an override acts at once and everything it does can be explained by what was recorded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from neardup_platform.clusters.decision import Constraint
from neardup_platform.clusters.overrides import Overrides
from neardup_platform.clusters.rearrangement import Rearrangement
from neardup_platform.decide import NO_HEAD, Constraints, Evidence, decide, decided_again, unconstrained
from neardup_platform.errors import NotFound
from neardup_platform.matching import Thresholds
from neardup_platform.pipeline import Pipeline
from neardup_platform.records import Cause, Decision
from neardup_platform.scoring.match_kinds import codes_of
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.view import StoreView
from neardup_platform.stream.banks.bank_hashes import BankHashes
from neardup_platform.stream.banks.cluster_labels import ClusterLabels
from neardup_platform.stream.constraints import OverrideConstraints
from neardup_platform.wire.codec import decode_decision


@dataclass(frozen=True, slots=True)
class Redeciding:
    """What redeciding needs. Between two stream steps, store and corpus are consistent.

    Attributes:
        demands: what the overrides demand.
        labels: the active ones, by cluster; the pipeline puts them into its decisions.
    """

    store: StoreView
    pipeline: Pipeline
    overrides: Overrides
    demands: OverrideConstraints = field(init=False)
    labels: ClusterLabels = field(init=False)

    def __post_init__(self) -> None:
        demands = OverrideConstraints(self.overrides, self.store, self.pipeline.corpus, self.store)
        object.__setattr__(self, "demands", demands)
        hashes = BankHashes(self.store.hashes.all())
        labels = ClusterLabels(self.store.labels.all(), self.store, self.pipeline.corpus, hashes)
        object.__setattr__(self, "labels", labels)
        self.pipeline.labels = self.labels

    def known(self, image_id: str) -> store_pb.ImageRecord:
        """The record of an image.

        Raises:
            NotFound: the image is not decided.
        """
        record = self.store.images.find(image_id)
        if record is None:
            raise NotFound(f"image {image_id!r} has not been decided: it is unknown, or waits for its other embedding")
        return record

    def head_of(self, image_id: str) -> int | None:
        """Ordinal of the head of an image's cluster; None for an image that is not known."""
        record = self.store.images.find(image_id)
        return None if record is None else self.known(record.head).ordinal

    def constraints(self) -> Constraints:
        """What overrides demand of images that are new to this store, as after a rollback."""
        return self.demands if len(self.overrides) else unconstrained

    def known_group(self, image_id: str) -> list[str]:
        """The known images of a linked group: first its leader, or the known image nearest to it."""
        group = self.overrides.group(self.overrides.leader(image_id))
        records = self.store.images.find_many(group)
        return [member for member, record in zip(group, records, strict=True) if record is not None]

    def move(self, plan: Rearrangement, group: Sequence[str], constraint: Constraint, now_ms: int) -> None:
        """Decide the leader of a group again, and move the others into its cluster.

        Args:
            group: as `known_group` returns it.
            constraint: keeps the leader out of its present cluster.
        """
        decision = self.decide(group[0], constraint, now_ms)
        if not decision.founded:
            self.bring(plan, self._links(group), decision.head, now_ms, decision)
            return
        head_ordinal = self.known(decision.head).ordinal
        plan.depart(group)
        plan.place(replace(decision, sequence=plan.next_sequence))
        self._follow(plan, self._links(group[1:]), head_ordinal, now_ms)

    def found(self, plan: Rearrangement, images: Mapping[str, str], now_ms: int) -> None:
        """Take images out of their clusters, into one of their own.

        Args:
            images: ids, each with the override that moves it; the first becomes the head.
        """
        (head, by), *_ = images.items()
        decision = self.decide(head, Constraint(alone=True, override_id=by), now_ms)
        head_ordinal = self.known(head).ordinal
        plan.depart(list(images))
        plan.place(replace(decision, sequence=plan.next_sequence))
        self._follow(plan, {image_id: by for image_id, by in images.items() if image_id != head}, head_ordinal, now_ms)

    def bring(
        self, plan: Rearrangement, images: Mapping[str, str], head: str, now_ms: int, first: Decision | None = None
    ) -> None:
        """Move images into an existing cluster; those already in it stay as they are.

        Args:
            images: ids, each with the override that moves it.
            first: the decision of the first image, where it is already made.
        """
        apart = {image_id: by for image_id, by in images.items() if self.known(image_id).head != head}
        head_ordinal = self.known(head).ordinal
        plan.depart(list(apart))
        if first is not None and apart.pop(first.image_id, None) is not None:
            plan.place(replace(first, sequence=plan.next_sequence))
        self._follow(plan, apart, head_ordinal, now_ms)

    def bring_group(self, plan: Rearrangement, group: Sequence[str], now_ms: int) -> None:
        """Bring a group together in the cluster of its first image, which stays there."""
        self.bring(plan, self._links(group[1:]), self.known(group[0]).head, now_ms)

    def _links(self, images: Sequence[str]) -> dict[str, str]:
        """Images with the override that links each to another."""
        own = {image_id: self.overrides.own(image_id) for image_id in images}
        return {image_id: link.override_id if link else "" for image_id, link in own.items()}

    def _follow(self, plan: Rearrangement, images: Mapping[str, str], head_ordinal: int, now_ms: int) -> None:
        for image_id, by in images.items():
            decision = self.decide(image_id, Constraint(head_ordinal, override_id=by), now_ms)
            plan.place(replace(decision, sequence=plan.next_sequence))

    def decide(self, image_id: str, constraint: Constraint, now_ms: int) -> Decision:
        """Decide an image by its recorded candidates; the caller numbers the decision."""
        own = self.known(image_id).ordinal
        recorded = decode_decision(self.store.history.current(image_id))
        ruling = decide(
            self._evidence(recorded, own),
            self._thresholds(recorded),
            lambda head: self.pipeline.pair_score(own, head),
            self.pipeline.corpus,
            self.demands.complete(image_id, constraint),
        )
        decision = decided_again(recorded, ruling, Cause.OVERRIDE, now_ms)
        return replace(decision, labels=self.labels(image_id, own, ruling.head))

    def _thresholds(self, recorded: Decision) -> Thresholds:
        """Those recorded, with the present guard."""
        matching = self.pipeline.matching
        return Thresholds(recorded.threshold, recorded.head_threshold, matching.guard, matching.passed_over)

    def _evidence(self, recorded: Decision, own: int) -> Evidence:
        """The recorded candidates that are still there, in the recorded order, with their present clusters.

        Args:
            own: ordinal of the image, which leaves the cluster that it heads.
        """
        candidates = recorded.candidates
        records = self.store.images.find_many([candidate.image_id for candidate in candidates]) if candidates else []
        ordinals, heads = np.full(len(candidates), -1, np.int64), np.full(len(candidates), NO_HEAD, np.int64)
        of_head = {head: self.known(head).ordinal for head in {record.head for record in records if record is not None}}
        for row, record in enumerate(records):
            if record is not None:
                ordinals[row], heads[row] = record.ordinal, of_head[record.head]
        return Evidence(
            ordinals,
            np.array([candidate.overlap for candidate in candidates], np.uint8),
            np.array([candidate.score for candidate in candidates], np.float32),
            heads,
            np.array([candidate.overlap == self.pipeline.space.tables for candidate in candidates], np.bool_),
            codes_of([candidate.kind for candidate in candidates]),
            leaving=own,
        )
