"""Turns the findings of a survey into changes that repair the cluster tables in one write.

An image that gets another head has a decision with cause `repair`, which is kept in its history and published like any
other. Nothing else about the image changes. The store gets a new id, so that the term index and the vector files are
rebuilt from it.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from uuid import uuid4

from neardup_platform.errors import InvariantBroken
from neardup_platform.records import Cause, Decision
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table, listed_under
from neardup_platform.store.survey import Survey
from neardup_platform.store.view import StoreView
from neardup_platform.store.writer import Batch
from neardup_platform.wire.codec import decode_decision, encode_decision


class RepairPlan:
    """The changes to write.

    Args:
        store: the surveyed store, unchanged since.
        now_ms: the clock, Unix milliseconds.

    Attributes:
        decisions: made by the repair, in order of sequence; all are published.
    """

    def __init__(self, store: StoreView, survey: Survey, now_ms: int) -> None:
        self._store, self._survey, self._now_ms = store, survey, now_ms
        self._sequence = max(store.state().sequence, survey.sequence)
        self.decisions: list[Decision] = []
        self._images: dict[str, store_pb.ImageRecord] = {}
        self._edges: dict[bytes, str] = {}
        self._added: dict[str, list[str]] = {}
        self._vectors: dict[int, store_pb.VectorRecord] = {}
        for image_id in survey.moved:
            self._move(image_id)
        for image_id in survey.unlisted:
            self._list(image_id)
        suspect = {*survey.suspect, *survey.moved.values()}
        self._clusters = {head: self._cluster(head) for head in sorted(suspect) if self._is_head(head)}

    def write(self, batch: Batch, state: store_pb.StoreState) -> None:
        """Put everything into a write."""
        survey = self._survey
        for table, keys in (
            (Table.MEMBERS, survey.stray),
            (Table.CLUSTERS, [head.encode() for head in survey.empty]),
            (Table.RECENT, [*survey.recent, *self._outdated_recent()]),
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
            redirect = store_pb.Redirect(head=new, sequence=self._sequence, at_ms=self._now_ms, cause=Cause.REPAIR)
            batch.put(Table.REDIRECTS, layout.hash_key(old), redirect.SerializeToString())
        state.images, state.clusters, state.digest = survey.images, survey.clusters, survey.digest
        state.ordinals = max(state.ordinals, survey.ordinals)
        state.sequence = self._sequence
        state.redirects += len(survey.redirects)
        state.store_id = uuid4().hex
        state.ClearField("shared")

    def _is_head(self, image_id: str) -> bool:
        record = self._store.images.find(image_id)
        return record is not None and self._survey.head_of(image_id, record) == image_id

    def _record(self, image_id: str) -> store_pb.ImageRecord:
        if image_id not in self._images:
            found = self._store.images.find(image_id)
            if found is None:
                raise InvariantBroken(f"image {image_id!r} was found and is gone: the store changed meanwhile")
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
            guard=None,
        )
        self.decisions.append(decision)
        record.head, record.sequence, record.member_sequence = head, decision.sequence, listed
        record.score, record.decided_ms, record.held_apart, record.kind = 0.0, self._now_ms, False, ""

    def _recorded(self, image_id: str, record: store_pb.ImageRecord) -> Decision:
        try:
            return decode_decision(self._store.history.current(image_id))
        except InvariantBroken:
            return Decision(record.sequence, image_id, "", 0, 0, (), 0, (), 0, 0, "", "", record.event_time_ms, 0)

    def _list(self, image_id: str) -> None:
        """List an image under the sequence in its record, or last if that place rightly belongs to another image."""
        record = self._record(image_id)
        key = layout.sequence_key(record.head, listed_under(record))
        there = self._store.members.at(key)
        other = None if there is None else self._store.images.find(there)
        taken = there is not None and self._survey.is_correct(record.head, listed_under(record), there, other)
        if taken or key in self._edges:
            self._sequence += 1
            record.member_sequence = self._sequence
            key = layout.sequence_key(record.head, self._sequence)
        self._edges[key] = image_id
        self._added.setdefault(record.head, []).append(image_id)

    def _cluster(self, head: str) -> store_pb.ClusterRecord:
        """Rebuild the record of a cluster from its members. Those in the term index represent it."""
        found = self._store.clusters.find(head) or store_pb.ClusterRecord(created_ms=self._record(head).decided_ms)
        added = {image_id: self._images[image_id] for image_id in self._added.get(head, ())}
        searched, members = dict.fromkeys(found.representatives), dict.fromkeys(added)
        for image_id, record in chain(self._listed(head), added.items()):
            members[image_id] = None
            vectors = self._store.vectors.find(record.ordinal)
            if vectors is None:
                continue
            if not vectors.retired:
                searched[image_id] = None
            elif image_id in searched or image_id == head:
                vectors.retired = False
                self._vectors[record.ordinal] = vectors
        searched = searched if head in searched else {head: None, **searched}
        latest = max((record.sequence for record in added.values()), default=0)
        return store_pb.ClusterRecord(
            size=len(members),
            created_ms=found.created_ms,
            updated_ms=self._now_ms,
            updated_sequence=max(found.updated_sequence, latest) or self._record(head).sequence,
            representatives=[image_id for image_id in searched if image_id in members],
        )

    def _listed(self, head: str) -> Iterator[tuple[str, store_pb.ImageRecord]]:
        """Yield the correctly listed members."""
        for sequence, image_id in self._store.members.all(head):
            record = self._store.images.find(image_id)
            if record is not None and self._survey.is_correct(head, sequence, image_id, record):
                yield image_id, record

    def _outdated_recent(self) -> list[bytes]:
        """Return the keys in RECENT of clusters whose record is rebuilt."""
        found = ((head, self._store.clusters.find(head)) for head in self._clusters)
        return [layout.recent_key(head, cluster.updated_sequence) for head, cluster in found if cluster is not None]
