"""Changes of clusters without a new image: an image leaves, moves, is forgotten, or gets other vectors.

Store → **rearrangement, in memory** → checked → one write, and steps for the corpus to follow. Nothing changes before
`Change.write`, and reading shows what is planned. Every image departs from the cluster that its record names and that
lists it, wherever the others that go with it are. The whole is checked (membership.py) before it can be written. A
cluster whose head departs is handed to another member (handover.py).
"""

from collections.abc import Collection, Sequence

from neardup_platform.clusters import membership
from neardup_platform.clusters.change import Change, gone_decision, span, spans_of
from neardup_platform.clusters.corpus_steps import Died, Left, Placed
from neardup_platform.clusters.handover import hand_over, merge
from neardup_platform.clusters.plan import Plan
from neardup_platform.errors import InvariantBroken
from neardup_platform.records import Cause, Decision
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table, listed_under
from neardup_platform.store.purge import Span, all_of
from neardup_platform.store.view import StoreView


class Rearrangement:
    """A plan of changes. An image departs before it is placed or forgotten.

    Args:
        store: it must not change meanwhile.
        now_ms: the clock, Unix milliseconds.
        command_id: of the command that asks for it, or empty.
    """

    def __init__(self, store: StoreView, now_ms: int, command_id: str = "") -> None:
        self._store = store
        self._now_ms = now_ms
        self._command_id = command_id
        self._plan = Plan(store, now_ms, command_id)
        self._draft, self._state = self._plan.draft, self._plan.state
        self._departed: set[str] = set()
        self._deleted_history: list[bytes] = []
        self._purge: list[Span] = []

    @property
    def next_sequence(self) -> int:
        """The sequence of the next decision."""
        return self._plan.next_sequence

    @property
    def clusters(self) -> int:
        """How many clusters there will be."""
        return self._state.clusters

    def image(self, image_id: str) -> store_pb.ImageRecord:
        """Return the record of an image as it will be.

        Raises:
            InvariantBroken: the image is unknown.
        """
        return self._draft.image(image_id)

    def complete(self) -> Change:
        """Check the plan and return what to write.

        Raises:
            InvariantBroken: it would break the invariant of clusters; the text says where.
        """
        if self._departed:
            raise InvariantBroken(f"image {min(self._departed)!r} would be in no cluster: nothing was changed")
        membership.check(self._draft)
        return Change(self._plan.decisions, self._plan.steps, self._purge, self._draft, self._deleted_history)

    def depart(self, leaving: Collection[str]) -> None:
        """Take images out of their clusters, to be placed or forgotten. What remains of a cluster has a head again.

        Raises:
            InvariantBroken: an image is not where its record says.
        """
        by_head: dict[str, list[str]] = {}
        for image_id in leaving:
            if image_id in self._departed:
                raise InvariantBroken(f"image {image_id!r} cannot leave its cluster twice")
            by_head.setdefault(self.image(image_id).head, []).append(image_id)
        for head, images in by_head.items():
            self._depart(head, images)

    def _depart(self, head: str, leaving: Sequence[str]) -> None:
        cluster = self._draft.cluster(head)
        if cluster.size < len(leaving):
            raise InvariantBroken(
                f"{len(leaving)} images cannot leave the cluster of {head!r}, which says that it has {cluster.size}: "
                "`neardup doctor` shows what is damaged"
            )
        for image_id in leaving:
            self._draft.unlist_member(image_id)
            self._departed.add(image_id)
            self._plan.steps.append(Left(self.image(image_id).ordinal))
            if image_id in cluster.representatives:
                cluster.representatives.remove(image_id)
                self._plan.searched.add(image_id)
        cluster.size -= len(leaving)
        cluster.updated_ms = self._now_ms
        if cluster.size <= 1:
            self._plan.unlist_recent(head, cluster)
        if not cluster.size:
            self._draft.clusters[head] = None
            self._state.clusters -= 1
        elif head in leaving:
            hand_over(self._plan, head, cluster)

    def place(self, decision: Decision) -> None:
        """Put a departed image into the cluster that its decision names, or into its own if it founds one."""
        if decision.image_id not in self._departed:
            raise InvariantBroken(f"image {decision.image_id!r} cannot be placed: it has not left its cluster")
        self._departed.remove(decision.image_id)
        plan, draft, record = self._plan, self._draft, self.image(decision.image_id)
        previous_head = record.head
        if decision.founded:
            self._found(decision)
        cluster = draft.cluster(decision.head)
        plan.record(record, decision, listed_under=0)
        draft.list_member(decision.head, decision.sequence, decision.image_id)
        cluster.size += 1
        represents = decision.image_id in plan.searched
        if represents:
            cluster.representatives.append(decision.image_id)
        plan.touch(decision.head, cluster)
        plan.steps.append(Placed(record.ordinal, self.image(decision.head).ordinal, represents))
        if draft.find_cluster(previous_head) is None and previous_head not in draft.redirects:
            plan.redirect(previous_head, decision)

    def merge(self, old: str, new: str) -> int:
        """Move all members of one head's cluster into another head's; returns how many. Nobody has departed."""
        return merge(self._plan, old, new)

    def _found(self, decision: Decision) -> None:
        if self._draft.find_cluster(decision.head) is not None:
            raise InvariantBroken(f"image {decision.head!r} cannot found a cluster: it heads one")
        self._draft.clusters[decision.head] = store_pb.ClusterRecord(created_ms=decision.decided_ms)
        self._state.clusters += 1
        self._draft.redirects[decision.head] = None
        if decision.image_id not in self._plan.searched:
            self._plan.index_again(decision.image_id)

    def restate(self, decision: Decision) -> None:
        """Give an image that stays in its cluster another decision. It keeps its place among the members."""
        record = self.image(decision.image_id)
        self._plan.record(record, decision, listed_under=listed_under(record))
        self._plan.touch(decision.head, self._draft.cluster(decision.head))

    def replace_vectors(self, vectors: store_pb.VectorRecord) -> int:
        """Give an image other vectors and the next ordinal, which is returned.

        `represent` then says whether the image is searched.
        """
        return self._plan.replace_vectors(vectors)

    def represent(self, image_id: str, *, represents: bool) -> None:
        """Make an image with other vectors a representative of its cluster, or not."""
        cluster = self._draft.cluster(self.image(image_id).head)
        if represents and image_id not in cluster.representatives:
            cluster.representatives.append(image_id)
        elif not represents and image_id in cluster.representatives:
            cluster.representatives.remove(image_id)

    def mark_searched(self, image_id: str, *, searched: bool) -> None:
        """Note whether the term index holds a departed image with other vectors."""
        (self._plan.searched.add if searched else self._plan.searched.discard)(image_id)

    def forget(self, image_id: str) -> None:
        """Remove a departed image with its history, and publish that it is gone."""
        self._departed.remove(image_id)
        record = self.image(image_id)
        self._draft.images[image_id] = None
        self._draft.vectors[record.ordinal] = None
        self._plan.steps.append(Died(record.ordinal))
        self._deleted_history += [
            layout.sequence_key(image_id, sequence) for sequence in self._store.history.sequences(image_id)
        ]
        self._state.images -= 1
        self._state.sequence += 1
        decision = gone_decision(self._state.sequence, image_id, self._now_ms, self._command_id, Cause.FORGET)
        self._plan.decisions.append(decision)
        self._purge += spans_of(image_id, [record.ordinal, *record.earlier_ordinals])
        self._purge += [span(Table.MEMBERS, layout.member_key(record))]
        if record.head == image_id:
            self._purge += [all_of(Table.RECENT)]

    def bar(self, image_id: str, forgotten: store_pb.Forgotten) -> None:
        """Note that an image was forgotten, so that its earlier embeddings are dropped."""
        self._draft.forgotten[image_id] = forgotten
        self._state.forgotten += 1
