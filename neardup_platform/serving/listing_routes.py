"""The calls that list clusters: page by page in an order, or those that changed last with their first members.

    query ─▶ list (followed_list.py) ─▶ heads, in order ─▶ their records, of one moment ─▶ **page**

The list may be some hundred milliseconds older than the records. Clusters that no longer have two members are left out,
so a page may have fewer than `limit`; the cursor says whether there are more.
"""

from typing import Annotated

from fastapi import APIRouter, Query

from neardup_platform.errors import InvalidRequest
from neardup_platform.serving.answers.clusters import Clusters, ListedCluster, RecentClusters
from neardup_platform.serving.cluster_order import LEAST_SIZE, Listed
from neardup_platform.serving.cursors import decode_list_cursor, encode_list_cursor
from neardup_platform.serving.followed_labels import FollowedLabels
from neardup_platform.serving.followed_list import FollowedList
from neardup_platform.serving.followed_overrides import FollowedOverrides
from neardup_platform.serving.json_route import JsonRoute
from neardup_platform.serving.list_query import SHOWN_MEMBERS, ListQuery
from neardup_platform.serving.rocksdb_follower import StoreFollower
from neardup_platform.serving.s3_pictures import PictureStore
from neardup_platform.serving.stored_clusters import cluster_of, listed_cluster
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.view import StoreView

# Images that a filter names and whose clusters are looked up for a page: some forty milliseconds.
MOST_NAMED = 10_000
_NAMED_AT_ONCE = 1_024


class ListingRoutes:
    """Lists clusters of two or more images."""

    def __init__(
        self,
        follower: StoreFollower,
        clusters: FollowedList,
        pictures: PictureStore,
        labels: FollowedLabels,
        overrides: FollowedOverrides,
    ) -> None:
        self._follower, self._list, self._pictures = follower, clusters, pictures
        self._labels, self._overrides = labels, overrides

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(prefix="/v1", tags=["read"], route_class=JsonRoute)
        router.add_api_route("/clusters", self.clusters, summary="Clusters, the largest or the latest first")
        router.add_api_route("/recent-clusters", self.recent_clusters, summary="Clusters that changed last")
        return router

    def clusters(self, asked: Annotated[ListQuery, Query()]) -> Clusters:
        """A page of the clusters of two or more images; its cost does not depend on how many there are.

        A page may have fewer clusters than `limit`: continue until `next_cursor` is null.
        """
        selection, name = asked.selection, asked.name
        after = None if asked.cursor is None else decode_list_cursor(name, asked.cursor)
        inside, outside = self._chosen(asked.bank, asked.quarantined)
        found = self._list.page(selection, asked.limit + 1, after, inside, outside)
        rows, more = found[: asked.limit], len(found) > asked.limit
        return Clusters(
            clusters=self._answers(rows, asked.members),
            next_cursor=encode_list_cursor(name, selection.place_of(rows[-1])) if more else None,
        )

    def recent_clusters(
        self, limit: Annotated[int, Query(ge=1, le=100, description="clusters to return")] = 20
    ) -> RecentClusters:
        """Clusters of two or more images, the one that changed last first, with their first members."""

        def newest(store: StoreView) -> list[ListedCluster]:
            return [self._answer(store, head, cluster_of(store, head)) for head in store.clusters.recent(limit)]

        return RecentClusters(clusters=self._follower.read(newest))

    def _answers(self, rows: list[Listed], shown: int) -> list[ListedCluster]:
        """What the store knows now about clusters of the list, without those that are gone."""

        def found(store: StoreView) -> tuple[list[ListedCluster], list[Listed]]:
            records = store.clusters.find_many([row.head for row in rows]) if rows else []
            answers, gone = [], []
            for row, record in zip(rows, records, strict=True):
                if record is None or record.size < LEAST_SIZE:
                    gone.append(row)
                else:
                    answers.append(self._answer(store, row.head, record, shown))
            return answers, gone

        answers, gone = self._follower.read(found)
        self._list.drop(gone)
        return answers

    def _answer(
        self, store: StoreView, head: str, record: store_pb.ClusterRecord, shown: int = SHOWN_MEMBERS
    ) -> ListedCluster:
        return listed_cluster(store, self._pictures, head, record, shown)

    def _chosen(self, bank: str | None, quarantined: bool | None) -> tuple[set[str] | None, set[str]]:
        """The heads that labels and quarantines choose, None for all, and those that they exclude."""
        inside: set[str] | None = None
        outside: set[str] = set()
        if bank is not None:
            labelled = self._follower.read(lambda store: self._labels.images_of(store, bank))
            inside = self._heads(labelled, f"bank {bank!r} has {{:,}} labels: read them at /v1/banks/{bank}")
        if quarantined is not None:
            named = self._follower.read(self._overrides.quarantined)
            heads = self._heads(named, "{:,} images are named by quarantines: read them at /v1/overrides")
            if not quarantined:
                outside = heads
            else:
                inside = heads if inside is None else inside & heads
        return inside, outside

    def _heads(self, image_ids: list[str], too_many: str) -> set[str]:
        """The heads of images.

        Raises:
            InvalidRequest: there are too many to look up for a page.
        """
        if len(image_ids) > MOST_NAMED:
            raise InvalidRequest(f"{too_many.format(len(image_ids))}; a list filters by at most {MOST_NAMED:,}")
        heads: set[str] = set()
        for at in range(0, len(image_ids), _NAMED_AT_ONCE):
            part = image_ids[at : at + _NAMED_AT_ONCE]
            records = self._follower.read(lambda store, part=part: store.images.find_many(part))  # type: ignore[misc]
            heads |= {record.head for record in records if record is not None}
        return heads
