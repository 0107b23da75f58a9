"""A checked rearrangement, ready to be written: records, decisions, what the corpus does, and what to purge."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from neardup_platform.clusters.corpus_steps import CorpusStep
from neardup_platform.records import QUARANTINED, Cause, Decision, Kind
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.draft import Draft
from neardup_platform.store.layout import Table
from neardup_platform.store.purge import Span
from neardup_platform.store.writer import Batch
from neardup_platform.wire.codec import encode_decision

# Sorts after every number.
_ANY_NUMBER = b"\xff" * 8


@dataclass(frozen=True, slots=True)
class Change:
    """A rearrangement that keeps the invariant, to be written once.

    Attributes:
        decisions: made by it, in order of sequence; all are published.
        steps: how the corpus follows, in order.
        purge: spans of keys that held forgotten data.
    """

    decisions: Sequence[Decision]
    steps: Sequence[CorpusStep]
    purge: Sequence[Span]
    _draft: Draft
    _deleted_history: Sequence[bytes]

    def write(self, batch: Batch, state: store_pb.StoreState) -> None:
        """Put everything into a write."""
        self._draft.write(batch, state)
        count_outcomes(state, self.decisions)
        for key in self._deleted_history:
            batch.delete(Table.HISTORY, key)
        for decision in self.decisions:
            if decision.cause != Cause.FORGET:
                key = layout.sequence_key(decision.image_id, decision.sequence)
                batch.put(Table.HISTORY, key, encode_decision(decision))


def count_outcomes(state: store_pb.StoreState, decisions: Sequence[Decision]) -> None:
    """Count joins by kind of the match, images held apart by guard or quarantine, and undistinctive ones."""
    outcomes = Counter("joined_" + decision.kind.replace("-", "_") for decision in decisions if decision.kind)
    reasons = [decision.guard.reason for decision in decisions if decision.guard is not None]
    outcomes["quarantined"] = reasons.count(QUARANTINED)
    outcomes["held_apart"] = len(reasons) - outcomes["quarantined"]
    outcomes["undistinctive"] = sum(decision.undistinctive for decision in decisions)
    for name, count in outcomes.items():
        if count:
            state.counters[name] += count


def gone_decision(sequence: int, image_id: str, at_ms: int, command_id: str, cause: Cause) -> Decision:
    """Return the decision published for an image that is no longer known, so that consumers drop it too: no head."""
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
        cause=cause,
        override_id=command_id,
    )


def spans_of(image_id: str, ordinals: Collection[int]) -> list[Span]:
    """Return the spans of keys that may hold data of an image, except its entry among another cluster's members."""
    key, prefix = image_id.encode(), layout.id_prefix(image_id)
    single = [(Table.IMAGES, key), (Table.CLUSTERS, key)]
    single += [(Table.WAITING, layout.waiting_key(kind, image_id)) for kind in Kind]
    single += [(Table.VECTORS, layout.number_key(ordinal)) for ordinal in ordinals]
    ranges = [(Table.HISTORY, prefix), (Table.MEMBERS, prefix), (Table.OUTBOX, b"")]
    return [span(table, key) for table, key in single] + [span(table, key, _ANY_NUMBER) for table, key in ranges]


def span(table: Table, key: bytes, more: bytes = b"") -> Span:
    """Return the span from a key to the same key followed by `more`."""
    return table.value + key, table.value + key + more + b"\x00"
