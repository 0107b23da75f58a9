"""What overrides demand of images that are about to be decided, with the clusters of the others as they are now."""

from collections.abc import Mapping

from neardup_platform.clusters.decision import Constraint
from neardup_platform.clusters.overrides import Overrides
from neardup_platform.corpus import Corpus
from neardup_platform.decide import Constraints, unconstrained
from neardup_platform.store.view import StoreView


def constraints_of(overrides: Overrides, store: StoreView, corpus: Corpus) -> Constraints:
    """Returns the demands of overrides, for `Pipeline.decide`.

    Args:
        overrides: the active ones.
        store: holds every image decided in an earlier step.
        corpus: says which clusters images are in, those of the present step included.
    """

    def constraint(image_id: str, in_flight: Mapping[str, int], /) -> Constraint:
        def head_of(other: str) -> int | None:
            ordinal = in_flight.get(other)
            if ordinal is None:
                record = store.images.find(other)
                ordinal = None if record is None else record.ordinal
            head = -1 if ordinal is None else corpus.head_of(ordinal)
            return None if head < 0 else head

        return overrides.constraint(image_id, head_of)

    return constraint if len(overrides) else unconstrained
