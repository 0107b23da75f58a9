"""What a rearrangement has planned so far, and the small changes that all of its operations share."""

from neardup_platform.clusters.corpus_steps import Appended, CorpusStep, Died
from neardup_platform.records import Decision
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.draft import Draft
from neardup_platform.store.view import StoreView


class Plan:
    """Changes in memory over a store that does not change meanwhile.

    Args:
        now_ms: the clock, Unix milliseconds.
        command_id: of the command that asks for the changes, or empty.

    Attributes:
        draft: the records as they will be.
        state: its totals.
        decisions: made so far, in order of sequence.
        steps: how the corpus follows, in order.
        searched: images outside the records of clusters that the term index holds.
    """

    def __init__(self, store: StoreView, now_ms: int, command_id: str) -> None:
        self.store, self.now_ms, self.command_id = store, now_ms, command_id
        self.draft = Draft(store)
        self.state = self.draft.state
        self.decisions: list[Decision] = []
        self.steps: list[CorpusStep] = []
        self.searched: set[str] = set()

    @property
    def next_sequence(self) -> int:
        """The sequence of the next decision."""
        return self.state.sequence + 1

    def record(self, record: store_pb.ImageRecord, decision: Decision, *, listed_under: int) -> None:
        """Note a decision and bring the image's record up to date.

        Args:
            listed_under: the sequence under which the cluster lists the image; 0 for that of the decision.
        """
        record.head, record.sequence, record.score = decision.head, decision.sequence, decision.score
        record.event_time_ms, record.decided_ms = decision.event_time_ms, decision.decided_ms
        record.member_sequence, record.held_apart = listed_under, decision.guard is not None
        record.undistinctive = decision.undistinctive
        record.kind = decision.kind
        self.state.sequence += 1
        self.decisions.append(decision)

    def touch(self, head: str, cluster: store_pb.ClusterRecord) -> None:
        """Note that the latest decision changed this cluster."""
        self.unlist_recent(head, cluster)
        cluster.updated_sequence, cluster.updated_ms = self.state.sequence, self.now_ms
        if cluster.size > 1:
            self.draft.recent[layout.recent_key(head, cluster.updated_sequence)] = cluster.updated_sequence

    def unlist_recent(self, head: str, cluster: store_pb.ClusterRecord) -> None:
        """Take a cluster off the list of recent changes."""
        self.draft.recent[layout.recent_key(head, cluster.updated_sequence)] = None

    def redirect(self, old: str, decision: Decision) -> None:
        """Let a head that is gone lead to the head that a decision names."""
        self.state.redirects += 1
        self.draft.redirects[old] = store_pb.Redirect(
            head=decision.head,
            sequence=decision.sequence,
            at_ms=self.now_ms,
            cause=decision.cause,
            command_id=self.command_id,
        )

    def replace_vectors(self, vectors: store_pb.VectorRecord) -> int:
        """Give an image other vectors and the next ordinal, which is returned."""
        record = self.draft.image(vectors.image_id)
        record.earlier_ordinals.append(record.ordinal)
        self.draft.vectors[record.ordinal] = None
        self.steps.append(Died(record.ordinal))
        record.ordinal = self.state.ordinals
        self.state.ordinals += 1
        self.draft.vectors[record.ordinal] = vectors
        return record.ordinal

    def index_again(self, image_id: str) -> None:
        """Give an image that the term index does not hold the next ordinal, so that it is searched."""
        vectors = self.store.vectors.get(self.draft.image(image_id).ordinal)
        vectors.retired = False
        ordinal = self.replace_vectors(vectors)
        self.steps.append(Appended(ordinal, image_id, vectors.lsh, vectors.pair))
        self.searched.add(image_id)
