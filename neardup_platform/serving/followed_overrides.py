"""The merges and quarantines of clusters, according to the worker's store.

They are read again when a command was handled since. Which clusters they apply to is looked up for each answer, because
clusters change without a command, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from neardup_platform.clusters.override_terms import Action, named
from neardup_platform.serving.named_images import named_inside
from neardup_platform.store.store_pb2 import Override
from neardup_platform.store.view import StoreView

# Quarantines of one cluster in an answer.
MAX_SHOWN = 100

ByImage = dict[str, list[Override]]


@dataclass(frozen=True, slots=True)
class _Read:
    """The overrides as of one command, by the images that they name, oldest first.

    Attributes:
        of: the store, and the number of commands handled.
    """

    of: tuple[str, int] = ("", 0)
    merges: ByImage = field(default_factory=dict)
    quarantines: ByImage = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Standing:
    """What applies to some clusters, by head.

    Attributes:
        merged: images of a merged cluster that count as its heads.
        quarantines: those of a cluster, each once.
    """

    merged: Mapping[str, Sequence[str]]
    quarantines: Mapping[str, Sequence[Override]]


class FollowedOverrides:
    """Reads merges and quarantines; may be used by several threads."""

    def __init__(self) -> None:
        self._read = _Read()

    def of_clusters(self, store: StoreView, sizes: Mapping[str, int]) -> Standing:
        """Return what applies to clusters.

        Args:
            sizes: number of members by head.
        """
        read = self._current(store)
        merged: dict[str, list[str]] = {}
        for head, image_id in named_inside(store, sizes, read.merges):
            merged.setdefault(head, []).append(image_id)
        quarantines: dict[str, dict[str, Override]] = {}
        for head, image_id in named_inside(store, sizes, read.quarantines):
            quarantines.setdefault(head, {}).update({each.override_id: each for each in read.quarantines[image_id]})
        return Standing(merged, {head: list(islice(by.values(), MAX_SHOWN)) for head, by in quarantines.items()})

    def quarantined(self, store: StoreView) -> list[str]:
        """Return the images whose clusters are in quarantine."""
        return list(self._current(store).quarantines)

    def _current(self, store: StoreView) -> _Read:
        state = store.state()
        read = self._read
        if read.of != (state.store_id, state.commands):
            read = _Read((state.store_id, state.commands))
            kinds = {Action.MERGE: read.merges, Action.QUARANTINE: read.quarantines}
            for override in store.overrides.all():
                of_kind = kinds.get(Action(override.action), {})
                for image_id in named(override):
                    of_kind.setdefault(image_id, []).append(override)
            self._read = read
        return read
