"""Clusters as the store has them, for answers."""

from neardup_platform.errors import InvariantBroken, NotFound
from neardup_platform.serving.answers.clusters import ListedCluster, Member
from neardup_platform.serving.s3_pictures import PictureStore
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.view import StoreView


def cluster_of(store: StoreView, head: str) -> store_pb.ClusterRecord:
    """The record of a cluster.

    Raises:
        NotFound: there is no such cluster.
        InvariantBroken: the image is a head but the cluster has no record.
    """
    try:
        return store.clusters.get(head)
    except NotFound:
        image = store.images.find(head)
        if image is not None and image.head == head:
            raise InvariantBroken(f"image {head!r} is a head but its cluster has no record") from None
        raise


def listed_cluster(
    store: StoreView, pictures: PictureStore, head: str, record: store_pb.ClusterRecord, shown: int
) -> ListedCluster:
    """A cluster with its first members, `shown` at most."""
    image_ids = list(store.members.page(head, shown).image_ids) if shown else []
    return ListedCluster.of(record, head=head, members=members_of(store, pictures, head, image_ids))


def members_of(store: StoreView, pictures: PictureStore, head: str, image_ids: list[str]) -> list[Member]:
    """Members of a cluster, by the ids that it lists.

    Raises:
        InvariantBroken: the record of one says otherwise.
    """
    members = []
    for image_id, record in zip(image_ids, store.images.find_many(image_ids) if image_ids else [], strict=True):
        if record is None or record.head != head:
            raise InvariantBroken(f"{image_id!r} is listed in the cluster of {head!r} but not in it")
        members.append(Member.of(record, image_id=image_id, picture=pictures.path(image_id, record)))
    return members
