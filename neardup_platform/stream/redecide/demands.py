"""What overrides demand of stored images that are decided again, with the others where they are by then."""

import numpy as np

from neardup_platform.clusters.decision import Constraint
from neardup_platform.clusters.overrides import Overrides
from neardup_platform.corpus import Corpus
from neardup_platform.decide import NO_HEAD, Clusters
from neardup_platform.store.view import StoreView
from neardup_platform.stream.constraints import OverrideConstraints


class Demands:
    """The demands of overrides.

    Args:
        overrides: the active ones, in the worker's loop; in another thread, a copy of its own.
    """

    def __init__(self, overrides: Overrides, store: StoreView, corpus: Corpus) -> None:
        self._overrides, self._store = overrides, store
        self._of_clusters = OverrideConstraints(overrides, store, corpus, store)

    def hold(self, image_id: str) -> bool:
        """Whether an image stays where it is, because overrides put it with others."""
        return len(self._overrides.group(image_id)) > 1

    def of(self, image_id: str, clusters: Clusters) -> Constraint:
        """The constraint on an image."""

        def head_of(other: str) -> int | None:
            record = self._store.images.find(other)
            head = NO_HEAD if record is None else int(clusters.heads_of(np.array([record.ordinal]))[0])
            return None if head == NO_HEAD else head

        return self._of_clusters.complete(image_id, self._overrides.constraint(image_id, head_of))
