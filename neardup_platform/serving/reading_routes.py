"""The calls that read: image → head, head → members, and why."""

from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import unquote

from fastapi import APIRouter, Path, Query
from pydantic import AfterValidator

from neardup_platform.errors import InvariantBroken, NotFound
from neardup_platform.serving import answers
from neardup_platform.serving.cursors import decode_cursor, encode_cursor
from neardup_platform.serving.rocksdb_follower import StoreFollower
from neardup_platform.serving.s3_pictures import PictureStore
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import listed_under
from neardup_platform.store.view import StoreView
from neardup_platform.wire.codec import decode_decision
from neardup_platform.wire.validation import MAX_ID_BYTES

# Members shown of each recent cluster.
SHOWN_MEMBERS = 8


def decode_id(raw: str) -> str:
    """An id from its percent-encoded piece of a path.

    Raises:
        ValueError: not UTF-8, or longer than any id.
    """
    try:
        decoded = unquote(raw, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("an id is percent-encoded UTF-8") from None
    if not 0 < len(decoded.encode()) <= MAX_ID_BYTES:
        raise ValueError(f"an id has 1 to {MAX_ID_BYTES} bytes")
    return decoded


Id = Annotated[
    str,
    Path(description='percent-encoded; "/" may stay as it is', examples=["cat.jpg"]),
    AfterValidator(decode_id),
]


class ReadingRoutes:
    """Answers from the secondary; every answer is of one moment."""

    def __init__(self, follower: StoreFollower, pictures: PictureStore) -> None:
        self._follower = follower
        self._pictures = pictures

    def router(self) -> APIRouter:
        """The routes, the longer patterns first because ids may hold slashes."""
        router = APIRouter(prefix="/v1", tags=["read"])
        add = router.add_api_route
        add("/images/{image_id:path}/explanation", self.explanation, summary="Why an image is where it is")
        add("/images/{image_id:path}/history", self.history, summary="What happened to an image, and when")
        add("/images/{image_id:path}", self.image, summary="The cluster of an image")
        add("/clusters/{head:path}/members", self.members, summary="Members of a cluster, a page at a time")
        add("/clusters/{head:path}", self.cluster, summary="A cluster")
        add("/recent-clusters", self.recent_clusters, summary="Clusters that changed last")
        return router

    def image(self, image_id: Id) -> answers.Image:
        """Head, score and decision of one image."""
        record = self._follower.read(lambda store: self._image(store, image_id))
        return answers.image_answer(image_id, record, self._pictures.path(image_id, record))

    def cluster(self, head: Id) -> answers.Cluster:
        """Size and times of one cluster, and the members it is found by; by a head of before as well."""

        def found(store: StoreView) -> tuple[str, store_pb.ClusterRecord]:
            now = store.redirects.resolve(head)
            return now, _cluster(store, now)

        now, record = self._follower.read(found)
        return answers.Cluster(
            head=now,
            redirected_from=None if now == head else head,
            size=record.size,
            created_ms=record.created_ms,
            updated_ms=record.updated_ms,
            representatives=list(record.representatives),
        )

    def members(
        self,
        head: Id,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
        cursor: Annotated[str | None, Query(max_length=64)] = None,
    ) -> answers.Members:
        """A page of members, oldest first; its cost does not depend on the cluster's size."""
        after = None if cursor is None else decode_cursor(head, cursor)
        return self._follower.read(lambda store: self._page(store, head, limit, after))

    def recent_clusters(self, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> answers.RecentClusters:
        """Clusters of two or more, the one that changed last first, with their first members."""

        def newest(store: StoreView) -> list[answers.RecentCluster]:
            return [self._recent(store, head) for head in store.clusters.recent(limit)]

        return answers.RecentClusters(clusters=self._follower.read(newest))

    def explanation(self, image_id: Id) -> answers.Explanation:
        """The decision in force and everything it rests on."""

        def in_force(store: StoreView) -> answers.Explanation:
            record = known_image(store, image_id)
            told = self._explain(store, store.history.current(image_id))
            if record.head == told.head:
                return told
            return told.model_copy(update={"summary": f"{told.summary} {record.head} heads that cluster now."})

        return self._follower.read(in_force)

    def history(self, image_id: Id) -> answers.History:
        """Every decision made about an image, oldest first."""

        def past(store: StoreView) -> list[answers.Explanation]:
            self._image(store, image_id)
            return [self._explain(store, data) for data in store.history.all(image_id)]

        return answers.History(image_id=image_id, decisions=self._follower.read(past))

    def _image(self, store: StoreView, image_id: str) -> store_pb.ImageRecord:
        """The record of an image that its cluster knows of, too."""
        record = known_image(store, image_id)
        if store.members.page(record.head, 1, listed_under(record) - 1).image_ids != (image_id,):
            raise InvariantBroken(f"image {image_id!r} is not among the members of its head {record.head!r}")
        return record

    def _page(self, store: StoreView, asked: str, limit: int, after: int | None) -> answers.Members:
        """Members keep their places when a cluster is handed over, and with them cursors their meaning."""
        head = store.redirects.resolve(asked)
        page = store.members.page(head, limit, after)
        return answers.Members(
            head=head,
            redirected_from=None if head == asked else asked,
            size=_cluster(store, head).size,
            members=self._members(store, head, list(page.image_ids)),
            next_cursor=None if page.cursor is None else encode_cursor(asked, page.cursor),
        )

    def _recent(self, store: StoreView, head: str) -> answers.RecentCluster:
        record = _cluster(store, head)
        return answers.RecentCluster(
            head=head,
            size=record.size,
            created_ms=record.created_ms,
            updated_ms=record.updated_ms,
            members=self._members(store, head, list(store.members.page(head, SHOWN_MEMBERS).image_ids)),
        )

    def _members(self, store: StoreView, head: str, image_ids: list[str]) -> list[answers.Member]:
        members = []
        for image_id, record in zip(image_ids, store.images.find_many(image_ids) if image_ids else [], strict=True):
            if record is None or record.head != head:
                raise InvariantBroken(f"{image_id!r} is listed in the cluster of {head!r} but not in it")
            members.append(
                answers.Member(
                    image_id=image_id,
                    score=record.score,
                    decided_ms=record.decided_ms,
                    picture=self._pictures.path(image_id, record),
                )
            )
        return members

    def _explain(self, store: StoreView, data: bytes) -> answers.Explanation:
        decision = decode_decision(data)
        ids = [candidate.image_id for candidate in decision.candidates]
        return answers.explanation(decision, self._pictures.paths(store, ids))


def known_image(store: StoreView, image_id: str) -> store_pb.ImageRecord:
    """The record of an image.

    Raises:
        NotFound: it was not decided, or was forgotten; then by whom, and where a cluster that it headed went.
    """
    record = store.images.find(image_id)
    if record is not None:
        return record
    forgotten = store.images.forgotten(image_id)
    if forgotten is None:
        raise NotFound(f"image {image_id!r} has not been decided: it is unknown, or waits for its other half")
    when = datetime.fromtimestamp(forgotten.at_ms / 1_000, UTC)
    head = store.redirects.resolve(image_id)
    raise NotFound(
        f"image {image_id!r} was forgotten at {when:%Y-%m-%d %H:%M:%SZ} by {forgotten.issued_by} "
        f"(command {forgotten.command_id}){f'; its cluster is that of {head!r} now' if head != image_id else ''}"
    )


def _cluster(store: StoreView, head: str) -> store_pb.ClusterRecord:
    """The record of a cluster, whose head knows that it is one."""
    try:
        return store.clusters.get(head)
    except NotFound:
        image = store.images.find(head)
        if image is not None and image.head == head:
            raise InvariantBroken(f"image {head!r} is a head but its cluster has no record") from None
        raise
