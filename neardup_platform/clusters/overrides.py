"""Operators' overrides in memory. They take precedence over scores. Pure.

| action | effect on an image X |
|---|---|
| `link` | X belongs with Y, whichever cluster Y is in; an image has at most one link, and links form no cycle |
| `alone` | X founds a cluster and never joins one by itself; other images may join it |
| `forbid` | X is never in the same cluster as Y |

Images connected by links form a group. A group moves as one, and a `forbid` on one of its images applies to all of
them, and to every image linked with the other one.

An override may name an unknown image, and an image may be in another cluster than its override says, because a rollback
or a reprocessing brings back earlier clusters. Such an override is unmet. It is met when its image is decided again, or
when a correction moves an image of its group: the images linked with it then follow from wherever they are.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum

from neardup_platform.clusters.decision import FREE, Constraint
from neardup_platform.errors import Conflict, InvariantBroken
from neardup_platform.store import store_pb2 as store_pb

# All are in memory, and are searched when an image is moved.
MAX_OVERRIDES = 100_000


class Action(StrEnum):
    """What an override requires."""

    LINK = "link"
    ALONE = "alone"
    FORBID = "forbid"


class Overrides:
    """The active overrides.

    Args:
        stored: the overrides in the store.
    """

    def __init__(self, stored: Iterable[store_pb.Override] = ()) -> None:
        self._all: dict[str, store_pb.Override] = {}
        self._naming: dict[str, set[str]] = {}
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
        for image_id in _named(override):
            self._naming.setdefault(image_id, set()).add(override.override_id)

    def remove(self, override_id: str) -> None:
        """Remove an override."""
        for image_id in _named(self._all.pop(override_id)):
            self._naming[image_id].discard(override_id)
            if not self._naming[image_id]:
                del self._naming[image_id]

    def naming(self, image_id: str) -> list[store_pb.Override]:
        """Return the overrides that name an image, in order of id."""
        return [self._all[override_id] for override_id in sorted(self._naming.get(image_id, ()))]

    def own(self, image_id: str) -> store_pb.Override | None:
        """Return the `link` or `alone` of an image, or None."""
        for override in self.naming(image_id):
            if override.action != Action.FORBID and override.image_id == image_id:
                return override
        return None

    def group(self, image_id: str) -> list[str]:
        """Return the group of an image: itself first, then by number of links to it."""
        found = {image_id: None}
        queue = deque(found)
        while queue:
            for override in self.naming(queue.popleft()):
                fresh = [] if override.action != Action.LINK else sorted(set(_named(override)).difference(found))
                found |= dict.fromkeys(fresh)
                queue += fresh
        return list(found)

    def leader(self, image_id: str) -> str:
        """Return the image of the group that links to no other."""
        own = self.own(image_id)
        while own is not None and own.action == Action.LINK:
            image_id = own.other_id
            own = self.own(image_id)
        return image_id

    def forbidden(self, image_id: str) -> dict[str, str]:
        """Return the images that the group of an image must not be with, and the override for each."""
        return {
            linked: override.override_id
            for member in self.group(image_id)
            for override in self.naming(member)
            if override.action == Action.FORBID
            for linked in self.group(_other(override, member))
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
                return Constraint(head, override_id=self._link_towards(image_id, other).override_id)
        return Constraint(barred=self.barred(image_id, head_of))

    def barred(self, image_id: str, head_of: Callable[[str], int | None]) -> dict[int, str]:
        """Return the clusters that the group of an image must not join, and the override for each."""
        found = {head_of(other): override_id for other, override_id in self.forbidden(image_id).items()}
        return {head: override_id for head, override_id in found.items() if head is not None}

    def check(self, new: store_pb.Override, head_of: Callable[[str], str | None]) -> None:
        """Refuse an override that contradicts itself or an active one.

        Args:
            new: it names known images only.
            head_of: returns the id of the head of an image's cluster; None for an unknown image.

        Raises:
            Conflict: the text names the override that it contradicts.
        """
        if len(self) >= MAX_OVERRIDES:
            raise Conflict(f"there are {len(self):,} overrides, the maximum: remove some first")
        if new.image_id == new.other_id:
            raise Conflict(f"{new.action} of {new.image_id!r} with itself")
        if new.action == Action.FORBID:
            self._check_forbid(new)
            return
        own = self.own(new.image_id)
        if own is not None:
            raise Conflict(f"{_describe(own)} already: remove it first")
        if new.action == Action.LINK:
            self._check_link(new, head_of)

    def _check_forbid(self, new: store_pb.Override) -> None:
        for override in self.naming(new.image_id):
            if override.action == Action.FORBID and _other(override, new.image_id) == new.other_id:
                raise Conflict(f"{_describe(override)} already")
        if new.other_id in self.group(new.image_id):
            raise Conflict(f"{_describe(self._link_towards(new.image_id, new.other_id))}: remove it first")

    def _check_link(self, new: store_pb.Override, head_of: Callable[[str], str | None]) -> None:
        group = self.group(new.image_id)
        if new.other_id in group:
            raise Conflict(f"{_describe(self._link_towards(new.image_id, new.other_id))}: they are linked already")
        target, together = head_of(new.other_id), set(self.group(new.other_id))
        for other, override_id in self.forbidden(new.image_id).items():
            if other in together or head_of(other) == target:
                by = self._all[override_id]
                too = "" if other in _named(by) else f", nor with {other!r}, which is linked with it and"
                raise Conflict(f"{_describe(by)}{too or ', which'} is in the cluster of {target!r}: remove it first")

    def _link_towards(self, one: str, other: str) -> store_pb.Override:
        """Return a link that connects two images of a group. Only one image of a group has none."""
        own = self.own(one)
        if own is None or own.action != Action.LINK:
            own = self.own(other)
        if own is None:
            raise InvariantBroken(f"{one!r} and {other!r} are in one group and neither has a link")
        return own


def _named(override: store_pb.Override) -> tuple[str, ...]:
    return tuple(image_id for image_id in (override.image_id, override.other_id) if image_id)


def _other(override: store_pb.Override, image_id: str) -> str:
    return override.other_id if override.image_id == image_id else override.image_id


_WORDS = {
    Action.LINK: "{0!r} is linked to {1!r}",
    Action.ALONE: "{0!r} must be alone",
    Action.FORBID: "{0!r} must not be with {1!r}",
}


def _describe(override: store_pb.Override) -> str:
    words = _WORDS[Action(override.action)].format(override.image_id, override.other_id)
    return f"by override {override.override_id} {words}"
