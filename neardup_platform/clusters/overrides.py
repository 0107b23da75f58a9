"""What operators have laid down about images, held in memory: it goes before whatever the scores say. Pure.

| action | of an image X |
|---|---|
| `link` | X belongs with Y, wherever Y's cluster is; an image has one link at most, and links form no circle |
| `alone` | X founds a cluster and joins none by itself; others may join it |
| `forbid` | X is never in one cluster with Y |

Images that are linked, however far, are a group: it moves as one, and what is forbidden to one is so to all of it, and
from all that are linked with the other.

Overrides may name images that are not known, and images may be elsewhere than they say: a rollback or a reprocessing
brings back clusters from before them. Such an override is unmet. It is met again when its image is decided, or when a
correction moves one of its group: those linked with it then come along from wherever they are.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum

from neardup_platform.clusters.decision import FREE, Constraint
from neardup_platform.errors import Conflict, InvariantBroken
from neardup_platform.wire import neardup_pb2 as pb

# Held in memory, and looked through when an image is moved.
MOST = 100_000


class Action(StrEnum):
    """What an override demands."""

    LINK = "link"
    ALONE = "alone"
    FORBID = "forbid"


class Overrides:
    """The overrides in force.

    Args:
        stored: as the store has them.
    """

    def __init__(self, stored: Iterable[pb.Override] = ()) -> None:
        self._all: dict[str, pb.Override] = {}
        self._naming: dict[str, set[str]] = {}
        for override in stored:
            self.put(override)

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[pb.Override]:
        return iter(self._all.values())

    def get(self, override_id: str) -> pb.Override | None:
        """One of them."""
        return self._all.get(override_id)

    def put(self, override: pb.Override) -> None:
        """Let an override hold from now on."""
        self._all[override.override_id] = override
        for image_id in _named(override):
            self._naming.setdefault(image_id, set()).add(override.override_id)

    def remove(self, override_id: str) -> None:
        """Let an override hold no longer."""
        for image_id in _named(self._all.pop(override_id)):
            self._naming[image_id].discard(override_id)
            if not self._naming[image_id]:
                del self._naming[image_id]

    def naming(self, image_id: str) -> list[pb.Override]:
        """Those that name an image, by id."""
        return [self._all[override_id] for override_id in sorted(self._naming.get(image_id, ()))]

    def own(self, image_id: str) -> pb.Override | None:
        """The `link` or `alone` that says where an image is to be."""
        for override in self.naming(image_id):
            if override.action != Action.FORBID and override.image_id == image_id:
                return override
        return None

    def group(self, image_id: str) -> list[str]:
        """The images linked with one, however far; that one first, the nearer before the farther."""
        found = {image_id: None}
        queue = deque(found)
        while queue:
            for override in self.naming(queue.popleft()):
                fresh = [] if override.action != Action.LINK else sorted(set(_named(override)).difference(found))
                found |= dict.fromkeys(fresh)
                queue += fresh
        return list(found)

    def leader(self, image_id: str) -> str:
        """The one of its group that is linked to no other."""
        own = self.own(image_id)
        while own is not None and own.action == Action.LINK:
            image_id = own.other_id
            own = self.own(image_id)
        return image_id

    def forbidden(self, image_id: str) -> dict[str, str]:
        """The images that none of its group may be with, each with the override that says so."""
        return {
            linked: override.override_id
            for member in self.group(image_id)
            for override in self.naming(member)
            if override.action == Action.FORBID
            for linked in self.group(_other(override, member))
        }

    def constraint(self, image_id: str, head_of: Callable[[str], int | None]) -> Constraint:
        """What is demanded of an image that is to be decided.

        Args:
            head_of: ordinal of the head of an image's cluster; None for an image that is not known.
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
        """The clusters that none of an image's group may join, each with the override that says so."""
        found = {head_of(other): override_id for other, override_id in self.forbidden(image_id).items()}
        return {head: override_id for head, override_id in found.items() if head is not None}

    def check(self, new: pb.Override, head_of: Callable[[str], str | None]) -> None:
        """Refuse an override that contradicts itself or one in force.

        Args:
            new: of images that are known.
            head_of: id of the head of an image's cluster; None for an image that is not known.

        Raises:
            Conflict: it names the override it contradicts.
        """
        if len(self) >= MOST:
            raise Conflict(f"there are {len(self):,} overrides, as many as may be: remove some first")
        if new.image_id == new.other_id:
            raise Conflict(f"{new.action} of {new.image_id!r} with itself")
        if new.action == Action.FORBID:
            self._check_forbid(new)
            return
        own = self.own(new.image_id)
        if own is not None:
            raise Conflict(f"{_said(own)} already: remove it first")
        if new.action == Action.LINK:
            self._check_link(new, head_of)

    def _check_forbid(self, new: pb.Override) -> None:
        for override in self.naming(new.image_id):
            if override.action == Action.FORBID and _other(override, new.image_id) == new.other_id:
                raise Conflict(f"{_said(override)} already")
        if new.other_id in self.group(new.image_id):
            raise Conflict(f"{_said(self._link_towards(new.image_id, new.other_id))}: remove it first")

    def _check_link(self, new: pb.Override, head_of: Callable[[str], str | None]) -> None:
        group = self.group(new.image_id)
        if new.other_id in group:
            raise Conflict(f"{_said(self._link_towards(new.image_id, new.other_id))}: they are linked already")
        target, together = head_of(new.other_id), set(self.group(new.other_id))
        for other, override_id in self.forbidden(new.image_id).items():
            if other in together or head_of(other) == target:
                by = self._all[override_id]
                too = "" if other in _named(by) else f", nor with {other!r}, which is linked with it and"
                raise Conflict(f"{_said(by)}{too or ', which'} is in the cluster of {target!r}: remove it first")

    def _link_towards(self, one: str, other: str) -> pb.Override:
        """A link by which two images of a group hang together; only one of a group has none."""
        own = self.own(one)
        if own is None or own.action != Action.LINK:
            own = self.own(other)
        if own is None:
            raise InvariantBroken(f"{one!r} and {other!r} are linked by no override of theirs")
        return own


def _named(override: pb.Override) -> tuple[str, ...]:
    return tuple(image_id for image_id in (override.image_id, override.other_id) if image_id)


def _other(override: pb.Override, image_id: str) -> str:
    return override.other_id if override.image_id == image_id else override.image_id


_WORDS = {
    Action.LINK: "{0!r} is linked to {1!r}",
    Action.ALONE: "{0!r} is to be alone",
    Action.FORBID: "{0!r} must not be with {1!r}",
}


def _said(override: pb.Override) -> str:
    words = _WORDS[Action(override.action)].format(override.image_id, override.other_id)
    return f"by override {override.override_id} {words}"
