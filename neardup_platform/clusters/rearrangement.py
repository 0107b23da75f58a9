"""Changes of clusters that no new image brings about: an image leaves, moves, is forgotten or gets other vectors.

Store → **rearrangement, in memory** → checked → one write, and steps by which the corpus follows. Nothing is changed
before `Change.write`; reading sees what is planned. Every image departs from the cluster that its record names and that
lists it, wherever others that go with it are; the whole is checked (membership.py) before there is anything to write.

A cluster whose head leaves is handed to another: its oldest remaining representative, else its oldest member, which
then gets a new ordinal, because only new ordinals enter the term index. All members get the new head in the same write,
and keep their places in the order of joining; a redirect leads from the old head to the new one. An id that heads a
cluster has no redirect, and a redirect is only ever made to such an id, so redirects form no circle.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from neardup_platform.clusters import membership
from neardup_platform.clusters.corpus_steps import Added, CorpusStep, Died, Left, Placed, Renamed
from neardup_platform.errors import InvariantBroken
from neardup_platform.records import Cause, Decision, Kind
from neardup_platform.store import layout
from neardup_platform.store.draft import Draft
from neardup_platform.store.layout import Table
from neardup_platform.store.purge import Span, all_of
from neardup_platform.store.view import StoreView, listed_under
from neardup_platform.store.writer import Batch
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import decode_decision, encode_decision

# Records of members read at once when a cluster is handed over.
_CHUNK = 4_096


@dataclass(frozen=True, slots=True)
class Change:
    """A rearrangement that keeps the invariant, to be written once.

    Attributes:
        decisions: made by it, in order of sequence; all are to be published.
        steps: by which the corpus follows, in order.
        purge: spans of keys that held what was forgotten.
    """

    decisions: Sequence[Decision]
    steps: Sequence[CorpusStep]
    purge: Sequence[Span]
    _draft: Draft
    _history: Sequence[bytes]

    def write(self, batch: Batch, state: pb.StoreState) -> None:
        """Put everything into a write."""
        self._draft.write(batch, state)
        for key in self._history:
            batch.delete(Table.HISTORY, key)
        for decision in self.decisions:
            if decision.cause != Cause.FORGET:
                key = layout.sequence_key(decision.image_id, decision.sequence)
                batch.put(Table.HISTORY, key, encode_decision(decision))


class Rearrangement:
    """What is to be changed; an image departs before it is placed.

    Args:
        store: standing still.
        now_ms: the clock, Unix milliseconds.
        command_id: of the command that asks for it, or empty.
    """

    def __init__(self, store: StoreView, now_ms: int, command_id: str = "") -> None:
        self._store = store
        self._now_ms = now_ms
        self._command_id = command_id
        self._draft = Draft(store)
        self._state = self._draft.state
        self._history: list[bytes] = []
        self._searched: set[str] = set()
        self._departed: set[str] = set()
        self._decisions: list[Decision] = []
        self._steps: list[CorpusStep] = []
        self._purge: list[Span] = []

    @property
    def next_sequence(self) -> int:
        """Of the next decision."""
        return self._state.sequence + 1

    def image(self, image_id: str) -> pb.ImageRecord:
        """The record of an image as it will be.

        Raises:
            InvariantBroken: it is not known.
        """
        return self._draft.image(image_id)

    def complete(self) -> Change:
        """What there is to write.

        Raises:
            InvariantBroken: it would break what must hold of the clusters; the text names what.
        """
        if self._departed:
            raise InvariantBroken(f"image {min(self._departed)!r} would be in no cluster: nothing was changed")
        membership.check(self._draft)
        return Change(self._decisions, self._steps, self._purge, self._draft, self._history)

    def depart(self, leaving: Collection[str]) -> None:
        """Take images out of the clusters they are in, to be placed or forgotten; what is left has a head again.

        Raises:
            InvariantBroken: one is not where its record says.
        """
        by_head: dict[str, list[str]] = {}
        for image_id in leaving:
            if image_id in self._departed:
                raise InvariantBroken(f"image {image_id!r} is to leave its cluster and has left it")
            by_head.setdefault(self.image(image_id).head, []).append(image_id)
        for head, images in by_head.items():
            self._depart(head, images)

    def _depart(self, head: str, leaving: Sequence[str]) -> None:
        cluster = self._draft.cluster(head)
        if cluster.size < len(leaving):
            raise InvariantBroken(
                f"{len(leaving)} images are to leave the cluster of {head!r}, which says that it has {cluster.size}: "
                "`neardup doctor` shows what is damaged"
            )
        for image_id in leaving:
            self._draft.unlist_member(image_id)
            self._departed.add(image_id)
            self._steps.append(Left(self.image(image_id).ordinal))
            if image_id in cluster.representatives:
                cluster.representatives.remove(image_id)
                self._searched.add(image_id)
        cluster.size -= len(leaving)
        cluster.updated_ms = self._now_ms
        if cluster.size <= 1:
            self._unlist_recent(head, cluster)
        if not cluster.size:
            self._draft.clusters[head] = None
            self._state.clusters -= 1
        elif head in leaving:
            self._hand_over(head, cluster)

    def place(self, decision: Decision) -> None:
        """Put a departed image into the cluster its decision names, its own where it founds one."""
        if decision.image_id not in self._departed:
            raise InvariantBroken(f"image {decision.image_id!r} is to be placed and has not left its cluster")
        self._departed.remove(decision.image_id)
        draft, record = self._draft, self.image(decision.image_id)
        was = record.head
        if decision.founded:
            if draft.find_cluster(decision.head) is not None:
                raise InvariantBroken(f"image {decision.head!r} is to found a cluster and heads one")
            draft.clusters[decision.head] = pb.ClusterRecord(created_ms=decision.decided_ms)
            self._state.clusters += 1
            draft.redirects[decision.head] = None
            if decision.image_id not in self._searched:
                self._renew(decision.image_id)
        cluster = draft.cluster(decision.head)
        self._restate(record, decision)
        record.member_sequence = 0
        draft.list_member(decision.head, decision.sequence, decision.image_id)
        cluster.size += 1
        represents = decision.image_id in self._searched
        if represents:
            cluster.representatives.append(decision.image_id)
        self._touch(decision.head, cluster)
        self._steps.append(Placed(record.ordinal, self.image(decision.head).ordinal, represents))
        if draft.find_cluster(was) is None and was not in draft.redirects:
            self._redirect(was, decision)

    def restate(self, decision: Decision) -> None:
        """Give an image that stays in its cluster another decision; it keeps its place among the members."""
        record = self.image(decision.image_id)
        listed = listed_under(record)
        self._restate(record, decision)
        record.member_sequence = listed
        self._touch(decision.head, self._draft.cluster(decision.head))

    def replace_vectors(self, vectors: pb.VectorRecord) -> int:
        """Give an image other vectors and the next ordinal, which is returned; `represent` says if it is searched."""
        record = self.image(vectors.image_id)
        record.earlier_ordinals.append(record.ordinal)
        self._draft.vectors[record.ordinal] = None
        self._steps.append(Died(record.ordinal))
        record.ordinal = self._state.ordinals
        self._state.ordinals += 1
        self._draft.vectors[record.ordinal] = vectors
        return record.ordinal

    def represent(self, image_id: str, *, represents: bool) -> None:
        """Let an image that has other vectors be one of those by which its cluster is found, or not."""
        cluster = self._draft.cluster(self.image(image_id).head)
        if represents and image_id not in cluster.representatives:
            cluster.representatives.append(image_id)
        elif not represents and image_id in cluster.representatives:
            cluster.representatives.remove(image_id)

    def mark_searched(self, image_id: str, *, searched: bool) -> None:
        """Note of a departed image with other vectors whether the term index holds it."""
        (self._searched.add if searched else self._searched.discard)(image_id)

    def forget(self, image_id: str) -> None:
        """Remove a departed image, and publish that it is gone. Of its history nothing is kept."""
        self._departed.remove(image_id)
        record = self.image(image_id)
        self._draft.images[image_id] = None
        self._draft.vectors[record.ordinal] = None
        self._steps.append(Died(record.ordinal))
        self._history += [layout.sequence_key(image_id, sequence) for sequence in self._store.sequences(image_id)]
        self._state.images -= 1
        self._state.sequence += 1
        self._decisions.append(_farewell(self._state.sequence, image_id, self._now_ms, self._command_id))
        self._purge += spans_of(image_id, [record.ordinal, *record.earlier_ordinals])
        self._purge += [_span(Table.MEMBERS, layout.sequence_key(record.head, listed_under(record)))]
        if record.head == image_id:
            self._purge += [all_of(Table.RECENT)]

    def bar(self, image_id: str, forgotten: pb.Forgotten) -> None:
        """Note of an image that it was forgotten, so that its embeddings made before are dropped."""
        self._draft.forgotten[image_id] = forgotten
        self._state.forgotten += 1

    def _hand_over(self, old: str, cluster: pb.ClusterRecord) -> None:
        draft = self._draft
        remaining = list(draft.members(old))
        if len(remaining) != cluster.size:
            raise InvariantBroken(
                f"the cluster of {old!r} is to be handed over, says that {cluster.size} members are left and has "
                f"{len(remaining)}: `neardup doctor` shows what is damaged"
            )
        if cluster.representatives:
            new = cluster.representatives[0]
        else:
            new = remaining[0][1]
            self._renew(new)
            cluster.representatives.append(new)
        for image_id, sequence in self._records_of(remaining):
            record = self.image(image_id)
            if (record.head, listed_under(record)) != (old, sequence):
                raise InvariantBroken(
                    f"the cluster of {old!r} lists image {image_id!r}, whose record says that it is in that of "
                    f"{record.head!r}: `neardup doctor` shows what is damaged"
                )
            key = layout.sequence_key(old, sequence)
            if draft.listed.pop(key, None) is None:
                draft.unlisted[key] = image_id
            record.head = new
            draft.list_member(new, sequence, image_id)
        if draft.find_cluster(new) is not None:
            raise InvariantBroken(f"the cluster of {old!r} is to be handed to {new!r}, which heads another")
        draft.clusters[old], draft.clusters[new] = None, cluster
        draft.counted[new] = len(remaining)
        draft.redirects[new] = None
        self._unlist_recent(old, cluster)
        record = self.image(new)
        recorded = decode_decision(self._store.decision(new))
        decision = replace(
            recorded,
            sequence=self.next_sequence,
            head=new,
            score=0.0,
            head_score=1.0,
            bridges=(),
            decided_ms=self._now_ms,
            cause=Cause.HANDOVER,
            override_id=self._command_id,
            replaced_head=old,
        )
        listed = listed_under(record)
        self._restate(record, decision)
        record.member_sequence = listed
        self._touch(new, cluster)
        old_ordinal = self.image(old).ordinal
        self._steps += [Renamed(old_ordinal, record.ordinal), Placed(record.ordinal, record.ordinal, represents=True)]
        self._redirect(old, decision)

    def _records_of(self, members: list[tuple[int, str]]) -> Iterator[tuple[str, int]]:
        """Every member with its sequence, its record read beforehand with those of many others."""
        images, rest = self._draft.images, iter(members)
        while part := list(islice(rest, _CHUNK)):
            unread = [image_id for _, image_id in part if image_id not in images]
            images |= dict(zip(unread, self._store.images(unread) if unread else [], strict=True))
            for sequence, image_id in part:
                yield image_id, sequence

    def _renew(self, image_id: str) -> None:
        """Give an image that the term index does not hold an ordinal at the end, so that it is searched."""
        vectors = self._store.vector(self.image(image_id).ordinal)
        vectors.retired = False
        ordinal = self.replace_vectors(vectors)
        self._steps.append(Added(ordinal, image_id, vectors.lsh, vectors.pair))
        self._searched.add(image_id)

    def _restate(self, record: pb.ImageRecord, decision: Decision) -> None:
        record.head, record.sequence, record.score = decision.head, decision.sequence, decision.score
        record.event_time_ms, record.decided_ms = decision.event_time_ms, decision.decided_ms
        self._state.sequence += 1
        self._decisions.append(decision)

    def _touch(self, head: str, cluster: pb.ClusterRecord) -> None:
        """Note that the latest decision changed this cluster."""
        self._unlist_recent(head, cluster)
        cluster.updated_sequence, cluster.updated_ms = self._state.sequence, self._now_ms
        if cluster.size > 1:
            self._draft.recent[layout.recent_key(head, cluster.updated_sequence)] = cluster.updated_sequence

    def _unlist_recent(self, head: str, cluster: pb.ClusterRecord) -> None:
        self._draft.recent[layout.recent_key(head, cluster.updated_sequence)] = None

    def _redirect(self, old: str, decision: Decision) -> None:
        self._state.redirects += 1
        self._draft.redirects[old] = pb.Redirect(
            head=decision.head,
            sequence=decision.sequence,
            at_ms=self._now_ms,
            cause=decision.cause,
            command_id=self._command_id,
        )


def _farewell(sequence: int, image_id: str, at_ms: int, command_id: str) -> Decision:
    """What is published of a forgotten image, so that whoever mirrors the clusters forgets it too."""
    return Decision(
        sequence=sequence,
        image_id=image_id,
        head="",
        score=0.0,
        head_score=0.0,
        candidates=(),
        candidates_found=0,
        bridges=(),
        threshold=0.0,
        head_threshold=0.0,
        terms_version="",
        classifier_version="",
        event_time_ms=at_ms,
        decided_ms=at_ms,
        cause=Cause.FORGET,
        override_id=command_id,
    )


def spans_of(image_id: str, ordinals: Collection[int]) -> list[Span]:
    """Where the bytes of an image may lie: all but its place among the members of another's cluster."""
    key, prefix = image_id.encode(), layout.id_prefix(image_id)
    single = [(Table.IMAGES, key), (Table.CLUSTERS, key)]
    single += [(Table.WAITING, layout.waiting_key(kind, image_id)) for kind in Kind]
    single += [(Table.VECTORS, layout.number_key(ordinal)) for ordinal in ordinals]
    ranges = [(Table.HISTORY, prefix), (Table.MEMBERS, prefix), (Table.OUTBOX, b"")]
    return [_span(table, key) for table, key in single] + [_span(table, key, _ANY_NUMBER) for table, key in ranges]


# Sorts after every number.
_ANY_NUMBER = b"\xff" * 8


def _span(table: Table, key: bytes, more: bytes = b"") -> Span:
    return table.value + key, table.value + key + more + b"\x00"
