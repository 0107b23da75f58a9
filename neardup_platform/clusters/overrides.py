"""Operators' overrides in memory. They take precedence over scores. Pure.

| action | effect |
|---|---|
| `link` | X belongs with Y, whichever cluster Y is in; an image has at most one link, and links form no cycle |
| `alone` | X founds a cluster and never joins one by itself; other images may join it |
| `forbid` | X is never in the same cluster as Y |
| `merge` | the clusters of X and Y are one: X is linked to Y, and an image that agrees with either may join |
| `split` | the listed images have a cluster of their own, which the first decided founds, and are never with Y |
| `quarantine` | new images do not join the cluster of X by their matches |

Images connected by links form a group. A group moves as one, and a `forbid` on one of its images applies to all of
them, and to every image linked with the other one.

An override may name an unknown image, and an image may be in another cluster than its override says, because a rollback
or a reprocessing brings back earlier clusters. Such an override is unmet. It is met when its image is decided again, or
when a correction moves an image of its group: the images linked with it then follow from wherever they are. A merge or
a split is about whole clusters, so the worker applies it again when it opens such a store (deferred_overrides.py).

Which overrides contradict each other is in override_conflicts.py.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from neardup_platform.clusters.decision import FREE, Constraint
from neardup_platform.clusters.override_terms import Action, belongs_with, kept_from, named, together, without
from neardup_platform.errors import InvariantBroken
from neardup_platform.store import store_pb2 as store_pb


class Overrides:
    """The active overrides.

    Args:
        stored: the overrides in the store.

    Attributes:
        changes: how often one was added or removed.
    """

    def __init__(self, stored: Iterable[store_pb.Override] = ()) -> None:
        self._all: dict[str, store_pb.Override] = {}
        self._naming: dict[str, set[str]] = {}
        self.changes = 0
        for override in stored:
            self.put(override)

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[store_pb.Override]:
        return iter(self._all.values())

    def get(self, override_id: str) -> store_pb.Override | None:
        """Return an override by id, or None."""
        return self._all.get(override_id)

    def put(self, override: store_pb.Override) -> None:
        """Add an override."""
        self._all[override.override_id] = override
        self.changes += 1
        for image_id in named(override):
            self._naming.setdefault(image_id, set()).add(override.override_id)

    def remove(self, override_id: str) -> None:
        """Remove an override."""
        self.changes += 1
        for image_id in set(named(self._all.pop(override_id))):
            self._naming[image_id].discard(override_id)
            if not self._naming[image_id]:
                del self._naming[image_id]

    def naming(self, image_id: str) -> list[store_pb.Override]:
        """Return the overrides that name an image, in order of id."""
        return [self._all[override_id] for override_id in sorted(self._naming.get(image_id, ()))]

    def own(self, image_id: str) -> store_pb.Override | None:
        """Return the override that puts an image with another one, or sets it apart; None if there is none.

        A link between two images of a split takes the place of the split.
        """
        mine = [
            override
            for override in self.naming(image_id)
            if belongs_with(override, image_id) or (override.action == Action.ALONE)
        ]
        return min(mine, key=lambda override: override.action == Action.SPLIT, default=None)

    def group(self, image_id: str) -> list[str]:
        """Return the group of an image: itself first, then by number of links to it."""
        found = {image_id: None}
        queue = deque(found)
        while queue:
            one = queue.popleft()
            for override in self.naming(one):
                near = together(override)
                fresh = sorted(set(near).difference(found)) if one in near else []
                found |= dict.fromkeys(fresh)
                queue += fresh
        return list(found)

    def leader(self, image_id: str) -> str:
        """Return the image of the group that links to no other."""
        own = self.own(image_id)
        while own is not None and own.action != Action.ALONE:
            image_id = belongs_with(own, image_id)
            own = self.own(image_id)
        return image_id

    def link_towards(self, one: str, other: str) -> store_pb.Override:
        """Return an override that connects two images of a group. Only one image of a group has none."""
        for image_id in (one, other):
            own = self.own(image_id)
            if own is not None and own.action != Action.ALONE:
                return own
        raise InvariantBroken(f"{one!r} and {other!r} are in one group and neither has a link")

    def forbidden(self, image_id: str) -> dict[str, str]:
        """Return the images that the group of an image must not be with, and the override for each."""
        if image_id not in self._naming:
            return {}
        return {
            linked: override.override_id
            for member in self.group(image_id)
            for override in self.naming(member)
            for other in kept_from(override, member)
            for linked in self.group(other)
        }

    def constraint(self, image_id: str, head_of: Callable[[str], int | None]) -> Constraint:
        """Return the constraint on the decision about an image.

        Args:
            head_of: returns the ordinal of the head of an image's cluster; None for an unknown image.
        """
        if image_id not in self._naming:
            return FREE
        own = self.own(image_id)
        if own is not None and own.action == Action.ALONE:
            return Constraint(alone=True, override_id=own.override_id)
        for other in self.group(image_id)[1:]:
            if (head := head_of(other)) is not None:
                return Constraint(head, override_id=self.link_towards(image_id, other).override_id)
        if split := self.split(image_id):
            return Constraint(alone=True, override_id=split)
        return Constraint(barred=self.barred(image_id, head_of))

    def split(self, image_id: str) -> str:
        """Return the id of the override that split the group of an image off a cluster; empty if none did."""
        found = [
            override.override_id
            for member in self.group(image_id)
            for override in self.naming(member)
            if override.action == Action.SPLIT and member in together(override)
        ]
        return next(iter(found), "")

    def barred(self, image_id: str, head_of: Callable[[str], int | None]) -> dict[int, str]:
        """Return the clusters that the group of an image must not join, and the override for each."""
        found = {head_of(other): override_id for other, override_id in self.forbidden(image_id).items()}
        return {head: override_id for head, override_id in found.items() if head is not None}

    def forgetting(self, image_id: str, heir: str) -> dict[str, store_pb.Override | None]:
        """Return what becomes of the overrides that name an image once it is forgotten; None for those that end.

        Args:
            heir: the head of the cluster that the image was in; empty if it was the only member.
        """
        # A merge into an image that stays linked to another might form a cycle.
        own = self.own(heir) if heir else None
        ends = own is None or (own.action in (Action.LINK, Action.MERGE) and own.other_id == image_id)
        target = heir if ends else ""
        return {
            override.override_id: without(override, image_id, target if override.action == Action.MERGE else heir)
            for override in self.naming(image_id)
        }
