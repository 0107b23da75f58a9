"""What the record of an override says about the images that it names. Pure.

| action | `image_id` | `other_id` | more |
|---|---|---|---|
| `link` | an image | the image it belongs with | |
| `alone` | an image | | |
| `forbid` | an image | the image it is kept apart from | |
| `merge` | the head whose cluster was dissolved | the head whose cluster it went into | `first_ids` |
| `split` | the head of the images that left | an image they left | `image_ids`: the others that left; `first_ids` |
| `quarantine` | an image of the cluster | | |

`first_ids` are the first decided images of the clusters of a merge, or of the images that a split left behind. When all
images are decided again, a cluster begins with its first image, which may not be its head.
"""

from collections.abc import Callable
from enum import StrEnum

from neardup_platform.counted import counted
from neardup_platform.store import store_pb2 as store_pb


class Action(StrEnum):
    """What an override requires."""

    LINK = "link"
    ALONE = "alone"
    FORBID = "forbid"
    MERGE = "merge"
    SPLIT = "split"
    QUARANTINE = "quarantine"


def named(override: store_pb.Override) -> tuple[str, ...]:
    """Return every image that an override names."""
    singles = (image_id for image_id in (override.image_id, override.other_id) if image_id)
    return (*singles, *override.image_ids, *override.first_ids)


def together(override: store_pb.Override) -> tuple[str, ...]:
    """Return the images that an override keeps in one cluster; none for one that keeps no images together."""
    match override.action:
        case Action.LINK | Action.MERGE:
            return named(override)
        case Action.SPLIT:
            return (override.image_id, *override.image_ids)
    return ()


def kept_from(override: store_pb.Override, image_id: str) -> tuple[str, ...]:
    """Return the images that an override keeps one of its images apart from; of each group, one is enough."""
    match override.action:
        case Action.FORBID:
            return (override.other_id if override.image_id == image_id else override.image_id,)
        case Action.SPLIT if image_id in together(override):
            return (override.other_id, *override.first_ids)
        case Action.SPLIT:
            return (override.image_id,)
    return ()


def belongs_with(override: store_pb.Override, image_id: str) -> str:
    """Return the image that an override puts one of its images with; empty for the image that others belong with."""
    match override.action:
        case Action.LINK if override.image_id == image_id:
            return override.other_id
        case Action.MERGE if override.other_id != image_id:
            return override.other_id
        case Action.SPLIT if image_id in override.image_ids:
            return override.image_id
    return ""


def is_met(override: store_pb.Override, head_of: Callable[[str], str | None]) -> bool:
    """Return whether images are where an override requires; an unknown image will be decided by it.

    Args:
        head_of: returns the id of the head of an image's cluster; None for an unknown image.
    """
    if override.action == Action.ALONE:
        return head_of(override.image_id) in (None, override.image_id)
    one_cluster = (override.image_id,) if override.action == Action.FORBID else together(override)
    inside = {head for image_id in one_cluster if (head := head_of(image_id)) is not None}
    outside = {head_of(image_id) for image_id in kept_from(override, override.image_id)}
    return len(inside) <= 1 and not inside & outside


def without(override: store_pb.Override, image_id: str, heir: str) -> store_pb.Override | None:
    """Return an override that no longer names a forgotten image; None where nothing is left of it.

    Args:
        heir: the head of the cluster that the image was in; empty if it was the only member.
    """
    left = store_pb.Override()
    left.CopyFrom(override)
    for ids in (left.image_ids, left.first_ids):
        if image_id in ids:
            ids.remove(image_id)
    match override.action:
        case Action.QUARANTINE:
            left.image_id = heir
        case Action.MERGE:
            _rename_merged(left, image_id, heir)
        case Action.SPLIT:
            _rename_split(left, image_id, heir)
        case _:
            return None
    complete = left.image_id and (left.other_id or override.action == Action.QUARANTINE)
    return left if complete and left.image_id != left.other_id else None


def _rename_merged(left: store_pb.Override, image_id: str, heir: str) -> None:
    if left.image_id == image_id:
        left.image_id = left.first_ids.pop(0) if left.first_ids else ""
    if left.other_id == image_id:
        left.other_id = heir
    if left.other_id in left.first_ids:
        left.first_ids.remove(left.other_id)
    if left.image_id == left.other_id:
        left.image_id = left.first_ids.pop(0) if left.first_ids else ""


def _rename_split(left: store_pb.Override, image_id: str, heir: str) -> None:
    if left.image_id == image_id:
        left.image_id = heir if heir in left.image_ids else next(iter(left.image_ids), "")
        if left.image_id:
            left.image_ids.remove(left.image_id)
    if left.other_id == image_id:
        left.other_id = left.first_ids.pop(0) if left.first_ids else heir


_WORDS = {
    Action.LINK: "{0!r} is linked to {1!r}",
    Action.ALONE: "{0!r} founds a cluster and joins none",
    Action.FORBID: "{0!r} must not be with {1!r}",
    Action.MERGE: "the cluster of {0!r} is merged into that of {1!r}",
    Action.SPLIT: "{0!r}{2} must not be with {1!r}",
    Action.QUARANTINE: "the cluster of {0!r} is in quarantine",
}


def describe(override: store_pb.Override) -> str:
    """Return what an override requires, in words that name it."""
    others = len(override.image_ids)
    more = f" and {counted(others, 'image')} split off with it" if others else ""
    words = _WORDS[Action(override.action)].format(override.image_id, override.other_id, more)
    return f"by override {override.override_id} {words}"
