"""Refuses an override that contradicts itself or an active one; the refusal names the active one. Pure."""

from collections.abc import Callable, Collection

from neardup_platform.clusters.override_terms import Action, belongs_with, describe, kept_from, named, together
from neardup_platform.clusters.overrides import Overrides
from neardup_platform.errors import Conflict
from neardup_platform.store import store_pb2 as store_pb

# All are in memory, and are searched when an image is moved.
MAX_OVERRIDES = 100_000
_SHOWN = 3

HeadOf = Callable[[str], str | None]


def check(overrides: Overrides, new: store_pb.Override, head_of: HeadOf, members: Collection[str] = ()) -> None:
    """Refuse an override that cannot be met together with the active ones.

    Args:
        overrides: the active ones.
        new: it names known images only.
        head_of: returns the id of the head of an image's cluster; None for an unknown image.
        members: of a merge, every image of the cluster that is dissolved.

    Raises:
        Conflict: the text names the override that it contradicts.
    """
    if len(overrides) >= MAX_OVERRIDES:
        raise Conflict(f"there are {len(overrides):,} overrides, the maximum: remove some first")
    if new.image_id == new.other_id:
        raise Conflict(f"{new.action} of {new.image_id!r} with itself")
    match new.action:
        case Action.FORBID:
            _check_forbid(overrides, new)
        case Action.MERGE:
            _check_merge(overrides, new, head_of, members)
        case Action.SPLIT:
            _check_split(overrides, new)
        case Action.QUARANTINE:
            _check_quarantine(overrides, new, head_of)
        case _:
            _check_own(overrides, new, head_of)


def _check_forbid(overrides: Overrides, new: store_pb.Override) -> None:
    for override in overrides.naming(new.image_id):
        if override.action == Action.FORBID and kept_from(override, new.image_id) == (new.other_id,):
            raise Conflict(f"{describe(override)} already")
    if new.other_id in overrides.group(new.image_id):
        raise Conflict(f"{_chain(overrides, new.image_id, new.other_id)}: remove it first")


def _check_own(overrides: Overrides, new: store_pb.Override, head_of: HeadOf) -> None:
    """Check a `link` or an `alone`: its image has neither yet, and heads no cluster that was merged or split off."""
    own = overrides.own(new.image_id)
    if own is not None:
        raise Conflict(f"{describe(own)} already: remove it first")
    for override in overrides.naming(new.image_id):
        if override.action in (Action.MERGE, Action.SPLIT) and new.image_id in together(override):
            raise Conflict(f"{describe(override)}: remove it first")
    if new.action == Action.LINK:
        if new.other_id in overrides.group(new.image_id):
            raise Conflict(f"{_chain(overrides, new.image_id, new.other_id)}: they are linked already")
        _check_apart(overrides, [new.image_id], new.other_id, head_of)


def _check_merge(overrides: Overrides, new: store_pb.Override, head_of: HeadOf, members: Collection[str]) -> None:
    if new.other_id in overrides.group(new.image_id):
        raise Conflict(f"{_chain(overrides, new.image_id, new.other_id)}: they are one cluster already")
    if head_of(new.image_id) == head_of(new.other_id):
        raise Conflict(f"{new.image_id!r} and {new.other_id!r} are in one cluster already")
    for image_id in (new.image_id, *new.first_ids):
        own = overrides.own(image_id)
        if own is not None:
            raise Conflict(f"{describe(own)}: remove it first")
    _check_apart(overrides, members, new.other_id, head_of)


def _check_split(overrides: Overrides, new: store_pb.Override) -> None:
    listed = set(together(new))
    for image_id in together(new):
        if not overrides.naming(image_id):
            continue
        own = overrides.own(image_id)
        if own is not None and (own.action == Action.ALONE or belongs_with(own, image_id) not in listed):
            raise Conflict(f"{describe(own)}: list both or neither, or remove it first")
        outside = sorted(set(overrides.group(image_id)) - listed)
        if outside:
            raise Conflict(f"{_chain(overrides, outside[0], image_id)}: list both or neither, or remove it first")
        among = listed.intersection(overrides.forbidden(image_id))
        if among:
            by = overrides.get(overrides.forbidden(image_id)[min(among)])
            raise Conflict(f"{'' if by is None else describe(by)}: list only one of them, or remove it first")
        for override in overrides.naming(image_id):
            if override.action == Action.SPLIT:
                raise Conflict(f"{describe(override)} already: remove it first")


def _check_quarantine(overrides: Overrides, new: store_pb.Override, head_of: HeadOf) -> None:
    head = head_of(new.image_id)
    for override in overrides:
        if override.action == Action.QUARANTINE and head_of(override.image_id) == head:
            raise Conflict(f"{describe(override)} already")


def _check_apart(overrides: Overrides, moving: Collection[str], other_id: str, head_of: HeadOf) -> None:
    """Refuse to bring images, with those linked with them, to one that they are kept apart from."""
    target, there = head_of(other_id), set(overrides.group(other_id))
    for image_id in moving:
        for other, override_id in overrides.forbidden(image_id).items():
            by = overrides.get(override_id)
            if by is None or not (other in there or head_of(other) == target):
                continue
            too = "" if other in named(by) else f", nor with {other!r}, which is linked with it and"
            raise Conflict(f"{describe(by)}{too or ', which'} is in the cluster of {target!r}: remove it first")


def _chain(overrides: Overrides, one: str, other: str) -> str:
    """Return the overrides that connect two images of a group, in words: all that lead from each to a common image."""
    ways = [_way(overrides, image_id) for image_id in (one, other)]
    shared = set(ways[0]) & set(ways[1])
    links = list(dict.fromkeys(step for way in ways for step in way if step not in shared)) or list(shared)
    found = [override for override_id in links if (override := overrides.get(override_id)) is not None]
    more = f" (and {len(found) - _SHOWN} more)" if len(found) > _SHOWN else ""
    return ", ".join(describe(override) for override in found[:_SHOWN]) + more


def _way(overrides: Overrides, image_id: str) -> list[str]:
    """Return the ids of the overrides that lead from an image to the leader of its group."""
    way = []
    own = overrides.own(image_id)
    while own is not None and own.action != Action.ALONE:
        way.append(own.override_id)
        image_id = belongs_with(own, image_id)
        own = overrides.own(image_id)
    return way
