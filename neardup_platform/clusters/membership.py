"""Checks a draft before it is written: invariant 1 of docs/how-it-works.md, for everything the draft touches. Pure.

Every image is in exactly one cluster. A head is a member of its own cluster. image → head agrees with head → members.
A size is the number of edges. Representatives are members. Totals agree. The cost is proportional to what changes: the
edges of a cluster are counted only if a handover read them all, or if they are few.
"""

from collections import Counter

from neardup_platform.errors import InvariantBroken
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.draft import Draft
from neardup_platform.store.layout import listed_under

# The edges of clusters up to this size are counted whenever the cluster changes.
COUNTED = 1_000
_NEXT = "nothing was changed; `neardup doctor` shows what is damaged"


def check(draft: Draft) -> None:
    """Refuse a draft that would break the invariant.

    Raises:
        InvariantBroken: the text names the first image or cluster that would be wrong.
    """
    _check_edges(draft)
    for head in {record.head for record in draft.images.values() if record is not None}:
        _check_head(draft, head)
    come, go = Counter(key[:-8] for key in draft.listed), Counter(key[:-8] for key in draft.unlisted)
    for head, cluster in list(draft.clusters.items()):
        prefix = layout.id_prefix(head)
        _check_size(draft, head, cluster, come.pop(prefix, 0) - go.pop(prefix, 0))
        if cluster is not None:
            _check_searched(draft, head, cluster)
            _check_recent(draft, head, cluster)
    for prefix in come.keys() | go.keys():
        raise _broken(f"members of {prefix[2:].decode()!r} would change without its cluster record")
    _check_totals(draft)


def _check_edges(draft: Draft) -> None:
    """Check that every image has exactly the edge that its record names, and that no other edge is added."""
    placed, gone = 0, set()
    for image_id, record in draft.images.items():
        if record is None:
            gone.add(image_id)
            continue
        key = layout.member_key(record)
        if draft.listed.get(key) == image_id:
            placed += 1
        elif draft.member_at(key) != image_id:
            raise _broken(f"image {image_id!r} would not be among the members of its head {record.head!r}")
    if placed != len(draft.listed):
        image_id = next(i for key, i in draft.listed.items() if _edge_of(draft, i) != key)
        raise _broken(f"image {image_id!r} would be listed in a cluster that it is not in")
    known = {image_id for image_id in gone if draft.store.images.find(image_id) is not None}
    if left := known.difference(draft.unlisted.values()):
        raise _broken(f"image {min(left)!r} would be deleted and still listed in a cluster")


def _edge_of(draft: Draft, image_id: str) -> bytes | None:
    record = draft.find_image(image_id)
    return None if record is None else layout.member_key(record)


def _check_head(draft: Draft, head: str) -> None:
    record = draft.store.images.find(head) if head not in draft.images else draft.images[head]
    if record is None or record.head != head or draft.find_cluster(head) is None:
        raise _broken(f"images would be in the cluster of {head!r}, which would head no cluster")
    if draft.member_at(layout.sequence_key(head, listed_under(record))) != head:
        raise _broken(f"{head!r} would not be a member of its own cluster")
    redirect = draft.redirects.get(head)
    if redirect is not None:
        raise _broken(f"{head!r} would head a cluster and redirect to another, {redirect.head!r}")


def _check_size(draft: Draft, head: str, cluster: store_pb.ClusterRecord | None, change: int) -> None:
    before = draft.store.clusters.find(head)
    size, expected = _size(cluster), _size(before) + change
    if size != expected:
        raise _broken(f"the cluster of {head!r} would have {expected} members and say {size}")
    if cluster is None:
        if (left := next(draft.members(head), None)) is not None:
            raise _broken(f"image {left[1]!r} would be left in the cluster of {head!r}, which would be deleted")
        return
    counted = draft.counted.get(head)
    if counted is None and size <= COUNTED:
        counted = sum(1 for _ in zip(draft.members(head), range(size + 1), strict=False))
    if counted is not None and counted != size:
        raise _broken(f"the cluster of {head!r} would say that it has {size} members and have {counted}")


def _check_searched(draft: Draft, head: str, cluster: store_pb.ClusterRecord) -> None:
    searched = list(cluster.representatives)
    if head not in searched or len(set(searched)) != len(searched):
        raise _broken(f"the cluster of {head!r} would not have its head as a representative, or would have one twice")
    for image_id in searched:
        record = draft.images[image_id] if image_id in draft.images else draft.store.images.find(image_id)
        if record is None or record.head != head:
            raise _broken(f"the cluster of {head!r} would be represented by {image_id!r}, which is not a member")


def _check_recent(draft: Draft, head: str, cluster: store_pb.ClusterRecord) -> None:
    key = layout.recent_key(head, cluster.updated_sequence)
    listed = draft.recent[key] if key in draft.recent else draft.store.clusters.recent_at(key)
    if listed != (cluster.updated_sequence if cluster.size > 1 else None):
        raise _broken(f"the cluster of {head!r} would be missing among the recent changes, or wrongly listed")


def _check_totals(draft: Draft) -> None:
    """Check the totals, except the digest, which follows from the edges (draft.py)."""
    images = -sum(record is None and draft.store.images.find(i) is not None for i, record in draft.images.items())
    clusters = sum(
        (record is not None) - (draft.store.clusters.find(head) is not None) for head, record in draft.clusters.items()
    )
    found = (draft.state.images - draft.before.images, draft.state.clusters - draft.before.clusters)
    if found != (images, clusters):
        raise _broken(
            f"images and clusters would change by {images} and {clusters}, their totals by {found[0]} and {found[1]}"
        )


def _size(cluster: store_pb.ClusterRecord | None) -> int:
    return 0 if cluster is None else cluster.size


def _broken(what: str) -> InvariantBroken:
    return InvariantBroken(f"{what}: {_NEXT}")
