"""The calls that read: image → head, head → members, and why."""

import threading
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query

from neardup_platform.errors import InvariantBroken, ServerUnavailable
from neardup_platform.serving.answers.banks import Label
from neardup_platform.serving.answers.changes import override_of
from neardup_platform.serving.answers.clusters import Cluster, Members
from neardup_platform.serving.answers.explanations import Explanation, History, explanation
from neardup_platform.serving.answers.images import Heads, Image, ImageIds, image_answer, past_answer
from neardup_platform.serving.cursors import decode_cursor, encode_cursor
from neardup_platform.serving.explained_pairs import Behind, structures, vectors_behind
from neardup_platform.serving.followed_labels import FollowedLabels
from neardup_platform.serving.followed_overrides import FollowedOverrides
from neardup_platform.serving.ids import Id
from neardup_platform.serving.json_route import JsonRoute
from neardup_platform.serving.rocksdb_follower import StoreFollower
from neardup_platform.serving.s3_pictures import PictureStore
from neardup_platform.serving.search_corpus import SearchCorpus
from neardup_platform.serving.stored_clusters import cluster_of, members_of
from neardup_platform.serving.stored_images import decision_at, known_image
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import listed_under
from neardup_platform.store.view import StoreView
from neardup_platform.wire.codec import decode_decision

Banks = Annotated[
    str | None,
    Query(max_length=2_048, description="names with commas between them: only labels of these banks"),
]


class ReadingRoutes:
    """Reads from the secondary; every answer is of one moment."""

    def __init__(
        self,
        follower: StoreFollower,
        pictures: PictureStore,
        corpus: SearchCorpus,
        labels: FollowedLabels,
        overrides: FollowedOverrides,
    ) -> None:
        self._follower = follower
        self._pictures = pictures
        self._corpus = corpus
        self._labels = labels
        self._overrides = overrides
        # Pictures are laid over each other by one thread at a time, so that questions leave the worker its processors.
        self._aligning = threading.Lock()

    def router(self) -> APIRouter:
        """The routes; longer patterns come first because ids may contain slashes."""
        router = APIRouter(prefix="/v1", tags=["read"], route_class=JsonRoute)
        add = router.add_api_route
        add("/images/{image_id:path}/explanation", self.explanation, summary="Why an image is where it is")
        add("/images/{image_id:path}/history", self.history, summary="What happened to an image, and when")
        add("/images/{image_id:path}", self.image, summary="The cluster of an image")
        add("/images:lookup", self.lookup, methods=["POST"], summary="The clusters of up to 1,000 images")
        add("/clusters/{head:path}/members", self.members, summary="Members of a cluster, page by page")
        add("/clusters/{head:path}", self.cluster, summary="A cluster")
        return router

    def image(
        self,
        image_id: Id,
        at: Annotated[
            int | None, Query(ge=0, lt=1 << 53, description="Unix milliseconds: as it was then, not as it is now")
        ] = None,
        banks: Banks = None,
    ) -> Image:
        """Head, score, decision and labels of one image, now or at an earlier time."""
        chosen = None if banks is None else banks.split(",")

        def answer(store: StoreView) -> Image:
            record = self._image(store, image_id)
            picture = self._pictures.path(image_id, record)
            if at is not None:
                return past_answer(*decision_at(store, image_id, at), record, picture, chosen)
            return image_answer(image_id, record, picture, self._labels.of_cluster(store, record.head, chosen))

        return self._follower.read(answer)

    def lookup(self, asked: ImageIds) -> Heads:
        """The heads of many images. Unknown ids are listed; they are not an error."""
        image_ids = list(dict.fromkeys(asked.ids))
        records = self._follower.read(lambda store: store.images.find_many(image_ids))
        known = [(image_id, record) for image_id, record in zip(image_ids, records, strict=True) if record is not None]
        heads = {image_id: record.head for image_id, record in known}
        return Heads(heads=heads, unknown=[image_id for image_id in image_ids if image_id not in heads])

    def cluster(self, head: Id) -> Cluster:
        """Size, times, representatives, labels and quarantines of a cluster. A former head redirects to the present."""

        def found(store: StoreView) -> Cluster:
            now = store.redirects.resolve(head)
            record = cluster_of(store, now)
            return Cluster.of(
                record,
                head=now,
                redirected_from=None if now == head else head,
                representatives=list(record.representatives),
                labels=self._labels.of_cluster(store, now),
                quarantines=[override_of(each) for each in self._quarantines(store, now, record)],
            )

        return self._follower.read(found)

    def _quarantines(self, store: StoreView, head: str, cluster: store_pb.ClusterRecord) -> Sequence[store_pb.Override]:
        return self._overrides.of_clusters(store, {head: cluster.size}).quarantines.get(head, ())

    def members(
        self,
        head: Id,
        limit: Annotated[int, Query(ge=1, le=1_000, description="members on the page")] = 100,
        cursor: Annotated[str | None, Query(max_length=64, description="`next_cursor` of the previous page")] = None,
    ) -> Members:
        """A page of members, oldest first; its cost does not depend on the cluster's size."""
        after = None if cursor is None else decode_cursor(head, cursor)
        return self._follower.read(lambda store: self._page(store, head, limit, after))

    def explanation(self, image_id: Id) -> Explanation:
        """The current decision and everything it is based on."""

        def current(store: StoreView) -> tuple[Explanation, Behind]:
            record, data = known_image(store, image_id), store.history.current(image_id)
            explained = self._explain(store, data)
            if record.head != explained.head:
                summary = f"{explained.summary} {record.head} heads that cluster now."
                explained = explained.model_copy(update={"summary": summary})
            now = {
                "cluster_labels": [Label.of(each) for each in self._labels.of_cluster(store, record.head)],
                "quarantined": bool(self._quarantines(store, record.head, cluster_of(store, record.head))),
            }
            explained = explained.model_copy(update=now)
            return explained, vectors_behind(store, decode_decision(data), record)

        explained, behind = self._follower.read(current)
        with self._aligning:
            return explained.model_copy(update={"structures": structures(behind, self._sketch())})

    def _sketch(self) -> slice | str:
        """Which entries of a pair vector are the sketch, or why that is unknown."""
        try:
            return self._corpus.scorer.sketch
        except ServerUnavailable as error:
            return str(error)

    def history(self, image_id: Id) -> History:
        """Every decision made about an image, oldest first."""

        def past(store: StoreView) -> list[Explanation]:
            self._image(store, image_id)
            return [self._explain(store, data) for data in store.history.all(image_id)]

        return History(image_id=image_id, decisions=self._follower.read(past))

    def _image(self, store: StoreView, image_id: str) -> store_pb.ImageRecord:
        """The record of an image, which its cluster lists as a member."""
        record = known_image(store, image_id)
        if store.members.page(record.head, 1, listed_under(record) - 1).image_ids != (image_id,):
            raise InvariantBroken(f"image {image_id!r} is not among the members of its head {record.head!r}")
        return record

    def _page(self, store: StoreView, asked: str, limit: int, after: int | None) -> Members:
        """A page of members. A handover keeps the members' order, so cursors stay valid."""
        head = store.redirects.resolve(asked)
        page = store.members.page(head, limit, after)
        return Members(
            head=head,
            redirected_from=None if head == asked else asked,
            size=cluster_of(store, head).size,
            members=members_of(store, self._pictures, head, list(page.image_ids)),
            next_cursor=None if page.cursor is None else encode_cursor(asked, page.cursor),
        )

    def _explain(self, store: StoreView, data: bytes) -> Explanation:
        decision = decode_decision(data)
        ids = [candidate.image_id for candidate in decision.candidates]
        return explanation(decision, self._pictures.paths(store, ids))
