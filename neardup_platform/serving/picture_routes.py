"""The call that shows a picture, for the explorer."""

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter
from starlette.responses import Response

from neardup_platform.errors import NotFound
from neardup_platform.serving.ids import Id
from neardup_platform.serving.rocksdb_follower import StoreFollower
from neardup_platform.serving.s3_pictures import PictureStore

# S3 may be slow; it must not take the threads that other calls need.
_AT_ONCE = 8


class PictureRoutes:
    """Pictures by image id; `s3_pictures.py` decides which uris are followed at all."""

    def __init__(self, follower: StoreFollower, pictures: PictureStore) -> None:
        self._follower = follower
        self._pictures = pictures
        self._at_once = CapacityLimiter(_AT_ONCE)

    def router(self) -> APIRouter:
        """The route; include it before routes whose ids may contain slashes."""
        router = APIRouter(prefix="/v1", tags=["read"])
        router.add_api_route(
            "/images/{image_id:path}/picture",
            self.picture,
            summary="The picture of an image",
            response_class=Response,
            responses={200: {"content": {"image/*": {}}}},
        )
        return router

    async def picture(self, image_id: Id) -> Response:
        """The stored picture, if browsers can show its format."""
        data, media_type = await to_thread.run_sync(self._fetch, image_id, limiter=self._at_once)
        return Response(data, headers={"Cache-Control": "private, max-age=300"}, media_type=media_type)

    def _fetch(self, image_id: str) -> tuple[bytes, str]:
        with self._follower.reading() as store:
            record = store.images.find(image_id)
        if record is None:
            raise NotFound(f"image {image_id!r} has not been decided")
        return self._pictures.fetch(record.source_uri)
