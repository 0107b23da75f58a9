"""Hands a cluster whose head has left to another member, or to the head of a cluster that it is merged into.

The new head is the oldest remaining representative. Without one it is the oldest member, which then gets a new ordinal,
because only new ordinals enter the term index. All members get the new head in the same write and keep their places in
the order of joining. A redirect leads from the old head to the new one. An id that heads a cluster has no redirect, and
a redirect is only ever made to such an id, so redirects form no circle.

A merge keeps the representatives of both clusters, so that what either of them attracted is still found.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from neardup_platform.clusters.corpus_steps import Placed, Renamed
from neardup_platform.clusters.plan import Plan
from neardup_platform.errors import InvariantBroken
from neardup_platform.records import Cause
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import listed_under
from neardup_platform.wire.codec import decode_decision

# Records of members read at once.
_CHUNK = 4_096


def hand_over(plan: Plan, old: str, cluster: store_pb.ClusterRecord) -> None:
    """Give the members that are left in the cluster of `old` another head.

    Raises:
        InvariantBroken: records and members of the cluster contradict each other.
    """
    draft = plan.draft
    remaining = _members(plan, old, cluster)
    new = _new_head(plan, cluster, oldest=remaining[0][1])
    members = _move_members(plan, old, new, remaining)
    if draft.find_cluster(new) is not None:
        raise InvariantBroken(f"the cluster of {old!r} cannot be handed to {new!r}, which heads another cluster")
    draft.clusters[old], draft.clusters[new] = None, cluster
    draft.counted[new] = len(remaining)
    draft.redirects[new] = None
    plan.unlist_recent(old, cluster)
    record = draft.image(new)
    plan.steps += [
        Renamed(draft.image(old).ordinal, record.ordinal, members),
        Placed(record.ordinal, record.ordinal, represents=True),
    ]
    _head_of_both(plan, old, new, cluster)


def merge(plan: Plan, old: str, new: str) -> int:
    """Move all members of the cluster of `old` into that of `new`, which stays its head; returns how many.

    Raises:
        InvariantBroken: records and members of the cluster contradict each other.
    """
    draft = plan.draft
    dissolved, cluster = draft.cluster(old), draft.cluster(new)
    moving = _members(plan, old, dissolved)
    members = _move_members(plan, old, new, moving)
    draft.clusters[old] = None
    plan.state.clusters -= 1
    plan.unlist_recent(old, dissolved)
    cluster.size += dissolved.size
    cluster.representatives.extend(dissolved.representatives)
    plan.steps.append(Renamed(draft.image(old).ordinal, draft.image(new).ordinal, members))
    _head_of_both(plan, old, new, cluster)
    return len(moving)


def _head_of_both(plan: Plan, old: str, new: str, cluster: store_pb.ClusterRecord) -> None:
    """Record and publish that the cluster of `old` is that of `new` now, and redirect readers."""
    record = plan.draft.image(new)
    decision = replace(
        decode_decision(plan.store.history.current(new)),
        sequence=plan.next_sequence,
        head=new,
        score=0.0,
        head_score=1.0,
        bridges=(),
        decided_ms=plan.now_ms,
        cause=Cause.HANDOVER,
        override_id=plan.command_id,
        replaced_head=old,
        guard=None,
    )
    plan.record(record, decision, listed_under=listed_under(record))
    plan.touch(new, cluster)
    plan.redirect(old, decision)


def _members(plan: Plan, head: str, cluster: store_pb.ClusterRecord) -> list[tuple[int, str]]:
    """Return the members of a cluster, each with its sequence."""
    found = list(plan.draft.members(head))
    if len(found) != cluster.size:
        raise InvariantBroken(
            f"the cluster of {head!r} cannot be handed over: it says that {cluster.size} members are left and has "
            f"{len(found)}: `neardup doctor` shows what is damaged"
        )
    return found


def _new_head(plan: Plan, cluster: store_pb.ClusterRecord, oldest: str) -> str:
    if not cluster.representatives:
        plan.index_again(oldest)
        cluster.representatives.append(oldest)
    return cluster.representatives[0]


def _move_members(plan: Plan, old: str, new: str, remaining: list[tuple[int, str]]) -> list[int]:
    """Give members another head; returns their ordinals."""
    draft, ordinals = plan.draft, []
    for image_id, sequence in _read_ahead(plan, remaining):
        record = draft.image(image_id)
        if (record.head, listed_under(record)) != (old, sequence):
            raise InvariantBroken(
                f"the cluster of {old!r} lists image {image_id!r}, whose record says that it is in that of "
                f"{record.head!r}: `neardup doctor` shows what is damaged"
            )
        key = layout.sequence_key(old, sequence)
        if draft.listed.pop(key, None) is None:
            draft.unlisted[key] = image_id
        record.head = new
        draft.list_member(new, sequence, image_id)
        ordinals.append(record.ordinal)
    return ordinals


def _read_ahead(plan: Plan, members: list[tuple[int, str]]) -> Iterator[tuple[str, int]]:
    """Yield every member with its sequence, after reading its record together with many others."""
    images, rest = plan.draft.images, iter(members)
    while part := list(islice(rest, _CHUNK)):
        unread = [image_id for _, image_id in part if image_id not in images]
        images |= dict(zip(unread, plan.store.images.find_many(unread) if unread else [], strict=True))
        for sequence, image_id in part:
            yield image_id, sequence
