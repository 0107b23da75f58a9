"""What overrides would move, told before any is sent: read from the API, nothing changed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from neardup_platform.client import Client
from neardup_platform.errors import BadCommand
from neardup_platform.operations.plans import heads_of, images_named
from neardup_platform.settings import Settings
from neardup_platform.wire.command_arguments import (
    AloneArguments,
    ForbidArguments,
    MergeArguments,
    MoveArguments,
    OverrideArguments,
    QuarantineArguments,
    RemoveArguments,
    SplitArguments,
)

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class OverridesPlan:
    """What overrides would change, each judged by the clusters as they are now.

    Attributes:
        images: the cluster of each image that is named.
        moves: for each override, how many images would move, without those that are linked with them.
        founds: for each, the change in the number of clusters.
        clusters: now.
    """

    images: Mapping[str, str]
    moves: Sequence[int]
    founds: Sequence[int]
    clusters: int

    def flat(self) -> dict[str, Any]:
        """The plan by name, as the command line prints it."""
        return {
            "dry_run": True,
            "overrides": len(self.moves),
            "images": dict(self.images),
            "moves": list(self.moves),
            "moved": sum(self.moves),
            "clusters_before": self.clusters,
            "clusters": self.clusters + sum(self.founds),
        }


def plan_overrides(settings: Settings, corrections: Sequence[OverrideArguments]) -> OverridesPlan:
    """What overrides would move. The worker checks more: which of them contradict each other or an active one.

    Raises:
        NotFound: images have not been decided, or were forgotten.
        BadCommand: a merge names one cluster twice, or a split lists images of other clusters or a whole one.
        ServerUnavailable: the API does not answer.
    """
    heads = heads_of(settings, images_named(corrections))
    with Client.from_settings(settings) as api:
        sizes = {head: api.cluster(head).size for head in _heads_counted(corrections, heads)}
        clusters = api.status().clusters
    changes = [_change(each, heads, sizes) for each in corrections]
    return OverridesPlan(heads, [moved for moved, _ in changes], [founded for _, founded in changes], clusters)


def _heads_counted(corrections: Iterable[OverrideArguments], heads: Mapping[str, str]) -> set[str]:
    """The clusters whose size matters."""
    counted = [each for each in corrections if not isinstance(each, RemoveArguments | QuarantineArguments)]
    return {heads[image_id] for image_id in images_named(counted)}


def _change(each: OverrideArguments, heads: Mapping[str, str], sizes: Mapping[str, int]) -> tuple[int, int]:
    """How many images an override would move, and how many clusters there would be more."""
    match each:
        case MergeArguments():
            one, other = heads[each.image_id], heads[each.other_id]
            if one == other:
                raise BadCommand(f"{each.image_id!r} and {each.other_id!r} are in one cluster already, that of {one!r}")
            return min(sizes[one], sizes[other]), -1
        case SplitArguments():
            return _split(each, heads, sizes)
        case MoveArguments():
            one, other = heads[each.image_id], heads[each.other_id]
            return int(one != other), -int(one != other and sizes[one] == 1)
        case AloneArguments():
            alone = sizes[heads[each.image_id]] == 1
            return int(not alone), int(not alone)
        case ForbidArguments():
            # The one that leaves may join another cluster; whether it does, only the worker knows.
            return int(heads[each.image_id] == heads[each.other_id]), 0
    return 0, 0


def _split(each: SplitArguments, heads: Mapping[str, str], sizes: Mapping[str, int]) -> tuple[int, int]:
    head = heads[each.image_id]
    elsewhere = [image_id for image_id in each.image_ids if heads[image_id] != head]
    if elsewhere:
        names = ", ".join(repr(image_id[:128]) for image_id in elsewhere[:_SHOWN])
        raise BadCommand(f"{len(elsewhere)} of the listed images are not in the cluster of {head!r}: {names}")
    if len(each.image_ids) == sizes[head]:
        raise BadCommand(f"the list is the whole cluster of {head!r}, so there is nothing to split")
    return len(each.image_ids), 1
