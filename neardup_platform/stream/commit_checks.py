"""Checks, before a commit of new images is written, what it relies on: a few keys for each image."""

from collections.abc import Sequence

from neardup_platform.errors import InvariantBroken
from neardup_platform.pipeline import Decided
from neardup_platform.records import Decision
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.view import StoreView


def check_decided(store: StoreView, state: store_pb.StoreState, decided: Sequence[Decided]) -> None:
    """Refuse new images that are known already, or that join what is not a cluster.

    Args:
        state: totals before the write.

    Raises:
        InvariantBroken: the text names the image.
    """
    decisions = [decision for batch in decided for decision in batch.decisions]
    if not decisions:
        return
    ordinals = [ordinal for batch in decided for ordinal in batch.ordinals.tolist()]
    if ordinals != list(range(state.ordinals, state.ordinals + len(ordinals))):
        raise InvariantBroken(
            f"image {decisions[0].image_id!r} has ordinal {ordinals[0]}, the store gives {state.ordinals} next: "
            "memory and store differ"
        )
    _check_new(store, decisions)
    _check_heads(store, decisions)


def _check_new(store: StoreView, decisions: Sequence[Decision]) -> None:
    ids = [decision.image_id for decision in decisions]
    seen: set[str] = set()
    for image_id, record in zip(ids, store.images.find_many(ids), strict=True):
        if record is not None or image_id in seen:
            raise InvariantBroken(f"image {image_id!r} was decided as a new image and is known")
        seen.add(image_id)


def _check_heads(store: StoreView, decisions: Sequence[Decision]) -> None:
    """A head is founded before it is joined, or is a stored image that heads itself and has a cluster."""
    founded: set[str] = set()
    joined: dict[str, str] = {}
    for decision in decisions:
        if decision.founded:
            founded.add(decision.head)
        elif decision.head not in founded:
            joined.setdefault(decision.head, decision.image_id)
    heads = list(joined)
    records = store.images.find_many(heads) if heads else []
    for head, record in zip(heads, records, strict=True):
        if record is None or record.head != head or store.clusters.find(head) is None:
            raise _no_cluster(joined[head], head)
    for head in founded:
        if store.clusters.find(head) is not None:
            raise InvariantBroken(f"image {head!r} founded a cluster and heads one already: run `neardup doctor`")


def _no_cluster(image_id: str, head: str) -> InvariantBroken:
    return InvariantBroken(
        f"image {image_id!r} joined the cluster of {head!r}, which heads none: stop the worker (`neardup pause`), then "
        "`neardup doctor` shows what is damaged and `neardup doctor --repair` repairs it"
    )
