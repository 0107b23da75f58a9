"""Decides images again that were decided before: by the candidates recorded then, under what overrides demand now.

Decision in force, present heads of its candidates → decision rule → **rearrangement**. Nothing is searched or compared
but the heads, so an override acts at once and whatever it does can be explained by what was recorded.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from neardup_platform.clusters.decision import Constraint, choose_cluster
from neardup_platform.clusters.overrides import Overrides
from neardup_platform.clusters.rearrangement import Rearrangement
from neardup_platform.clusters.rocksdb_view import StoreView
from neardup_platform.errors import NotFound
from neardup_platform.messages import neardup_pb2 as pb
from neardup_platform.messages.codec import decode_decision, encode_decision
from neardup_platform.messages.kafka_topics import DECISIONS
from neardup_platform.pipeline import Added, Constrain, Pipeline, unconstrained
from neardup_platform.records import Candidate, Cause, Decision
from neardup_platform.stream.deciding import constraining


@dataclass(frozen=True, slots=True)
class DecidingAgain:
    """What it takes; between two steps of the stream store and corpus are of one moment."""

    store: StoreView
    pipeline: Pipeline
    overrides: Overrides

    def known(self, image_id: str) -> pb.ImageRecord:
        """The record of an image.

        Raises:
            NotFound: it was not decided.
        """
        record = self.store.image(image_id)
        if record is None:
            raise NotFound(f"image {image_id!r} has not been decided: it is unknown, or waits for its other half")
        return record

    def head_of(self, image_id: str) -> int | None:
        """Ordinal of the head of an image's cluster; None for an image that is not known."""
        record = self.store.image(image_id)
        return None if record is None else self.known(record.head).ordinal

    def constrain(self, under_way: Iterable[Added]) -> Constrain:
        """What overrides demand of images that are new to this store, as after a rollback.

        Args:
            under_way: images that are decided together and are not in the store yet.
        """
        if not self.overrides:
            return unconstrained
        return constraining(
            self.pipeline,
            self.store,
            self.overrides,
            {
                image.image_id: int(ordinal)
                for added in under_way
                for image, ordinal in zip(added.images, added.ordinals, strict=True)
                if self.overrides.naming(image.image_id)
            },
        )

    def move(self, plan: Rearrangement, leader: str, constraint: Constraint, now_ms: int) -> None:
        """Decide an image that is linked to no other anew, and let those linked with it follow into its cluster."""
        decision = self.decide(leader, constraint, now_ms)
        group = self.overrides.group(leader)
        head_ordinal = self.known(decision.head).ordinal
        plan.depart(self.known(leader).head, group)
        plan.place(replace(decision, sequence=plan.next_sequence))
        for image_id in group[1:]:
            link = self.overrides.own(image_id)
            follows = Constraint(head_ordinal, override_id=link.override_id if link else "")
            decision = self.decide(image_id, follows, now_ms)
            plan.place(replace(decision, sequence=plan.next_sequence))

    def decide(self, image_id: str, constraint: Constraint, now_ms: int) -> Decision:
        """A decision by what was recorded of an image; its sequence is yet to be given."""
        own = self.known(image_id).ordinal
        recorded = decode_decision(self.store.decision(image_id))
        candidates, matches = [], []
        records = self.store.images([c.image_id for c in recorded.candidates]) if recorded.candidates else []
        for candidate, record in zip(recorded.candidates, records, strict=True):
            if record is None:
                continue
            candidates.append(Candidate(candidate.image_id, candidate.overlap, candidate.score, record.head))
            if candidate.score >= recorded.threshold and record.head != image_id:
                matches.append((candidate.score, record.ordinal, self.known(record.head).ordinal))
        verdict = choose_cluster(
            matches, lambda head: self.pipeline.pair_score(own, head), recorded.head_threshold, constraint
        )
        name = self.pipeline.corpus.id_of
        return replace(
            recorded,
            sequence=0,
            head=image_id if verdict.head is None else name(verdict.head),
            score=verdict.score,
            head_score=verdict.head_score,
            candidates=tuple(candidates),
            bridges=tuple(name(head) for head in verdict.bridges),
            decided_ms=now_ms,
            cause=Cause.OVERRIDE,
            override_id=verdict.override_id,
            replaced_head="",
        )


def published(plan: Rearrangement) -> list[tuple[str, bytes, bytes]]:
    """Topic, key and value of what is to be said of a rearrangement."""
    return [(DECISIONS, decision.image_id.encode(), encode_decision(decision)) for decision in plan.decisions]
