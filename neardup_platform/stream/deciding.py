"""Images decided outside of the stream's own steps, by the same pipeline, with overrides in force."""

from collections.abc import Sequence

from neardup_platform.clusters.overrides import Overrides
from neardup_platform.pipeline import Constrain, Decided, Pipeline, unconstrained
from neardup_platform.records import JoinedImage
from neardup_platform.store.view import StoreView


def decide(
    pipeline: Pipeline,
    store: StoreView,
    images: Sequence[JoinedImage],
    first_sequence: int,
    decided_ms: int,
    overrides: Overrides,
) -> list[Decided]:
    """As `Pipeline.decide`, and as overrides want it.

    Args:
        store: what was decided before is committed in it.
    """
    ordinals: dict[str, int] = {}
    constrain = constraining(pipeline, store, overrides, ordinals) if len(overrides) else unconstrained
    batches = []
    for part in pipeline.cut(images):
        added = pipeline.add(part)
        ordinals |= zip([image.image_id for image in part], added.ordinals.tolist(), strict=True)
        batches.append(pipeline.settle(added, pipeline.compare(added), first_sequence, decided_ms, constrain))
        first_sequence += len(part)
    return batches


def constraining(pipeline: Pipeline, store: StoreView, overrides: Overrides, uncommitted: dict[str, int]) -> Constrain:
    """What overrides demand of images that are to be decided.

    Args:
        uncommitted: ordinals of images that the corpus has and the store has not.
    """

    def head_of(image_id: str) -> int | None:
        ordinal = uncommitted.get(image_id)
        if ordinal is None:
            record = store.image(image_id)
            ordinal = None if record is None else record.ordinal
        head = -1 if ordinal is None else pipeline.corpus.head_of(ordinal)
        return None if head < 0 else head

    return lambda image_id: overrides.constraint(image_id, head_of)
