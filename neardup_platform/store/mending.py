"""How the clusters of a store are put right: what a survey found wrong, as changes to be written at once.

An image that gets another head has a decision of the cause `repair`, which is kept in its history and published as any
other. Nothing else of it changes. The store gets a new id, so that term index and vector files are made again from it.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from uuid import uuid4

from neardup_platform.errors import InvariantBroken
from neardup_platform.records import Cause, Decision
from neardup_platform.store import layout
from neardup_platform.store.layout import Table
from neardup_platform.store.survey import Survey
from neardup_platform.store.view import StoreView, listed_under
from neardup_platform.store.writer import Batch
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import decode_decision, encode_decision


class Mending:
    """What there is to write.

    Args:
        store: the one that was surveyed, unchanged.
        now_ms: the clock, Unix milliseconds.

    Attributes:
        decisions: made by it, in order of sequence; all are to be published.
    """

    def __init__(self, store: StoreView, survey: Survey, now_ms: int) -> None:
        self._store, self._survey, self._now_ms = store, survey, now_ms
        self._sequence = max(store.state().sequence, survey.sequence)
        self.decisions: list[Decision] = []
        self._images: dict[str, pb.ImageRecord] = {}
        self._edges: dict[bytes, str] = {}
        self._come: dict[str, list[str]] = {}
        self._vectors: dict[int, pb.VectorRecord] = {}
        for image_id in survey.moved:
            self._move(image_id)
        for image_id in survey.unlisted:
            self._list(image_id)
        suspect = {*survey.suspect, *survey.moved.values()}
        self._clusters = {head: self._cluster(head) for head in sorted(suspect) if self._is_head(head)}

    def write(self, batch: Batch, state: pb.StoreState) -> None:
        """Put everything into a write."""
        survey = self._survey
        for table, keys in (
            (Table.MEMBERS, survey.stray),
            (Table.CLUSTERS, [head.encode() for head in survey.empty]),
            (Table.RECENT, [*survey.recent, *self._outdated()]),
            (Table.REDIRECTS, [*survey.redirecting, *map(layout.hash_key, self._clusters)]),
        ):
            for key in keys:
                batch.delete(table, key)
        for key, image_id in self._edges.items():
            batch.put(Table.MEMBERS, key, image_id.encode())
        for image_id, record in self._images.items():
            batch.put(Table.IMAGES, image_id.encode(), record.SerializeToString())
        for head, cluster in self._clusters.items():
            batch.put(Table.CLUSTERS, head.encode(), cluster.SerializeToString())
            if cluster.size > 1:
                key = layout.recent_key(head, cluster.updated_sequence)
                batch.put(Table.RECENT, key, layout.number_key(cluster.updated_sequence))
        for ordinal, vectors in self._vectors.items():
            batch.put(Table.VECTORS, layout.number_key(ordinal), vectors.SerializeToString())
        for decision in self.decisions:
            key = layout.sequence_key(decision.image_id, decision.sequence)
            batch.put(Table.HISTORY, key, encode_decision(decision))
        for old, new in survey.redirects.items():
            redirect = pb.Redirect(head=new, sequence=self._sequence, at_ms=self._now_ms, cause=Cause.REPAIR)
            batch.put(Table.REDIRECTS, layout.hash_key(old), redirect.SerializeToString())
        state.images, state.clusters, state.digest = survey.images, survey.clusters, survey.digest
        state.ordinals = max(state.ordinals, survey.ordinals)
        state.sequence = self._sequence
        state.redirects += len(survey.redirects)
        state.store_id = uuid4().hex

    def _is_head(self, image_id: str) -> bool:
        record = self._store.image(image_id)
        return record is not None and self._survey.head_of(image_id, record) == image_id

    def _record(self, image_id: str) -> pb.ImageRecord:
        if image_id not in self._images:
            found = self._store.image(image_id)
            if found is None:
                raise InvariantBroken(f"image {image_id!r} was found and is gone: the store did not stand still")
            self._images[image_id] = found
        return self._images[image_id]

    def _move(self, image_id: str) -> None:
        record, head = self._record(image_id), self._survey.moved[image_id]
        listed = listed_under(record)
        self._sequence += 1
        decision = replace(
            self._recorded(image_id, record),
            sequence=self._sequence,
            head=head,
            score=0.0,
            head_score=1.0 if head == image_id else 0.0,
            bridges=(),
            decided_ms=self._now_ms,
            cause=Cause.REPAIR,
            override_id="",
            replaced_head="",
        )
        self.decisions.append(decision)
        record.head, record.sequence, record.member_sequence = head, decision.sequence, listed
        record.score, record.decided_ms = 0.0, self._now_ms

    def _recorded(self, image_id: str, record: pb.ImageRecord) -> Decision:
        try:
            return decode_decision(self._store.decision(image_id))
        except InvariantBroken:
            return Decision(record.sequence, image_id, "", 0, 0, (), 0, (), 0, 0, "", "", record.event_time_ms, 0)

    def _list(self, image_id: str) -> None:
        """Under the sequence that its record names, or at the end where another image has that place by right."""
        record = self._record(image_id)
        key = layout.sequence_key(record.head, listed_under(record))
        there = self._store.member_at(key)
        other = None if there is None else self._store.image(there)
        taken = there is not None and self._survey.is_right(record.head, listed_under(record), there, other)
        if taken or key in self._edges:
            self._sequence += 1
            record.member_sequence = self._sequence
            key = layout.sequence_key(record.head, self._sequence)
        self._edges[key] = image_id
        self._come.setdefault(record.head, []).append(image_id)

    def _cluster(self, head: str) -> pb.ClusterRecord:
        """The record of a cluster, made again from its members; it is found by those that the term index holds."""
        found = self._store.find_cluster(head) or pb.ClusterRecord(created_ms=self._record(head).decided_ms)
        come = {image_id: self._images[image_id] for image_id in self._come.get(head, ())}
        searched, members = dict.fromkeys(found.representatives), dict.fromkeys(come)
        for image_id, record in chain(self._listed(head), come.items()):
            members[image_id] = None
            vectors = self._store.find_vector(record.ordinal)
            if vectors is None:
                continue
            if not vectors.retired:
                searched[image_id] = None
            elif image_id in searched or image_id == head:
                vectors.retired = False
                self._vectors[record.ordinal] = vectors
        searched = searched if head in searched else {head: None, **searched}
        latest = max((record.sequence for record in come.values()), default=0)
        return pb.ClusterRecord(
            size=len(members),
            created_ms=found.created_ms,
            updated_ms=self._now_ms,
            updated_sequence=max(found.updated_sequence, latest) or self._record(head).sequence,
            representatives=[image_id for image_id in searched if image_id in members],
        )

    def _listed(self, head: str) -> Iterator[tuple[str, pb.ImageRecord]]:
        """The members that the store lists by right."""
        for sequence, image_id in self._store.all_members(head):
            record = self._store.image(image_id)
            if record is not None and self._survey.is_right(head, sequence, image_id, record):
                yield image_id, record

    def _outdated(self) -> list[bytes]:
        """Keys of the list of recent changes of clusters that are made again."""
        found = ((head, self._store.find_cluster(head)) for head in self._clusters)
        return [layout.recent_key(head, cluster.updated_sequence) for head, cluster in found if cluster is not None]
