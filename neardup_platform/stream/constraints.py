"""What overrides demand of images that are about to be decided, with the clusters of the others as they are now.

An image that no override names costs one look-up. Where clusters are merged or in quarantine, each cluster that it
matches is compared with theirs, in one step over an array.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from neardup_platform.clusters.decision import Constraint
from neardup_platform.clusters.override_terms import Action, named
from neardup_platform.clusters.overrides import Overrides
from neardup_platform.corpus import Corpus
from neardup_platform.decide import Constraints, unconstrained
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.view import StoreView

OrdinalOf = Callable[[str], int | None]
_NOBODY: Mapping[str, int] = {}


class OverrideConstraints:
    """The demands of overrides, for `Pipeline.decide`.

    Args:
        overrides: the active ones; followed when they change.
        store: holds every image decided in an earlier step.
        corpus: says which clusters images are in, those of the present step included.
        past: its history tells which images were decided before a quarantine.
    """

    def __init__(self, overrides: Overrides, store: StoreView, corpus: Corpus, past: StoreView) -> None:
        self._overrides, self._store, self._corpus, self._past = overrides, store, corpus, past
        self._changes = overrides.changes
        self._merged, self._isolated = self._of(Action.MERGE), self._of(Action.QUARANTINE)

    def __call__(self, image_id: str, in_flight: Mapping[str, int], /) -> Constraint:
        """See `Constraints`."""

        def head_of(other: str) -> int | None:
            ordinal = self._ordinal_of(other, in_flight)
            head = -1 if ordinal is None else self._corpus.head_of(ordinal)
            return None if head < 0 else head

        return self.complete(image_id, self._overrides.constraint(image_id, head_of), in_flight)

    def complete(self, image_id: str, constraint: Constraint, in_flight: Mapping[str, int] = _NOBODY) -> Constraint:
        """Returns a constraint on an image together with what merges and quarantines demand of it."""
        if self._changes != self._overrides.changes:
            self._changes = self._overrides.changes
            self._merged, self._isolated = self._of(Action.MERGE), self._of(Action.QUARANTINE)
        if not (self._merged or self._isolated):
            return constraint

        def ordinal_of(other: str) -> int | None:
            return self._ordinal_of(other, in_flight)

        def merged_heads(head: int) -> Sequence[int]:
            return [ordinal for ordinal, _ in self._merged.inside(head, ordinal_of) if ordinal != head]

        def quarantine(head: int) -> str:
            found = self._isolated.inside(head, ordinal_of)
            return next((by.override_id for _, by in found if self._came_after(image_id, by)), "")

        return replace(constraint, merged_heads=merged_heads, quarantine=quarantine)

    def _of(self, action: Action) -> "_Standing":
        return _Standing([override for override in self._overrides if override.action == action], self._corpus)

    def _ordinal_of(self, image_id: str, in_flight: Mapping[str, int]) -> int | None:
        ordinal = in_flight.get(image_id)
        if ordinal is None:
            record = self._store.images.find(image_id)
            ordinal = None if record is None else record.ordinal
        return ordinal

    def _came_after(self, image_id: str, by: store_pb.Override) -> bool:
        decided = self._past.history.sequences(image_id)
        return not decided or min(decided) > by.sequence


class _Standing:
    """The images that overrides name, and the clusters they are in now."""

    def __init__(self, overrides: Sequence[store_pb.Override], corpus: Corpus) -> None:
        self._corpus = corpus
        self._images = [(image_id, override) for override in overrides for image_id in dict.fromkeys(named(override))]
        # An ordinal is never given to another image; that of an image without a cluster is looked up again.
        self._ordinals = np.zeros(len(self._images), np.int64)
        self._heads = np.full(len(self._images), -1, np.int64)

    def __len__(self) -> int:
        return len(self._images)

    def inside(self, head: int, ordinal_of: OrdinalOf) -> list[tuple[int, store_pb.Override]]:
        """Returns the ordinals of those in the cluster of a head, each with the override that names it."""
        if not self._images:
            return []
        known = self._heads >= 0
        self._heads[known] = self._corpus.heads_of(self._ordinals[known])
        for n in np.flatnonzero(self._heads < 0).tolist():
            ordinal = ordinal_of(self._images[n][0])
            if ordinal is not None:
                self._ordinals[n], self._heads[n] = ordinal, self._corpus.head_of(ordinal)
        found = np.flatnonzero(self._heads == head).tolist()
        return [(int(self._ordinals[n]), self._images[n][1]) for n in found]


def constraints_of(
    overrides: Overrides, store: StoreView, corpus: Corpus, past: StoreView | None = None
) -> Constraints:
    """Returns the demands of overrides, for `Pipeline.decide`.

    Args:
        overrides: the active ones.
        store: holds every image decided in an earlier step.
        corpus: says which clusters images are in, those of the present step included.
        past: the store whose images are decided again, if that is another one.
    """
    return OverrideConstraints(overrides, store, corpus, past or store) if len(overrides) else unconstrained
