"""Search by example over HTTP: a picture, two vectors, or an image of the store; `limits.py` bounds the body."""

from collections.abc import Callable
from time import perf_counter
from typing import Any, BinaryIO

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from neardup_platform.images.decoding.cancellation import Cancellation
from neardup_platform.serving.answers.searches import FoundImage, SearchAnswer, SearchExample
from neardup_platform.serving.connected import ClientDisconnected, while_connected
from neardup_platform.serving.example_search import ExampleSearch, Found
from neardup_platform.serving.followed_labels import FollowedLabels
from neardup_platform.serving.picture_decoding import PictureDecoding
from neardup_platform.serving.request_bodies import CLIENT_CLOSED, TOO_COSTLY, form_of, is_multipart, json_of
from neardup_platform.serving.rocksdb_follower import StoreFollower
from neardup_platform.serving.s3_pictures import PictureStore
from neardup_platform.terms.rate_limiter import SearchLimiter

FIELD = "picture"

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "properties": {FIELD: {"type": "string", "format": "binary"}},
                }
            },
            "application/json": {"schema": SearchExample.model_json_schema()},
        },
    }
}


class SearchRoutes:
    """Runs one search at a time, in turns, so that any number of large pictures cannot exhaust memory or threads.

    A search passes the rate limiter before its body is read: a refused search holds nothing, and the bound on waiting
    searches bounds the pictures held for them.
    """

    def __init__(
        self,
        search: ExampleSearch,
        limiter: SearchLimiter,
        follower: StoreFollower,
        pictures: PictureStore,
        labels: FollowedLabels,
        decoding: PictureDecoding,
        turn: CapacityLimiter,
    ) -> None:
        self._search = search
        self._limiter = limiter
        self._follower = follower
        self._pictures = pictures
        self._labels = labels
        self._decoding = decoding
        self._turn = turn

    def router(self) -> APIRouter:
        """The route."""
        router = APIRouter(prefix="/v1", tags=["search"])
        router.add_api_route(
            "/search",
            self.search,
            methods=["POST"],
            summary="Search by example",
            response_model=SearchAnswer,
            responses=TOO_COSTLY,
            openapi_extra=_BODY,
        )
        return router

    async def search(self, request: Request) -> SearchAnswer | Response:
        """Matches of a picture, of two vectors, or of a stored image among all others; changes nothing."""
        try:
            return await self._found(request)
        except (ClientDisconnect, ClientDisconnected):
            return Response(status_code=CLIENT_CLOSED)

    async def _found(self, request: Request) -> SearchAnswer:
        with self._limiter.queued() as begin:
            if not is_multipart(request):
                example = await json_of(request, SearchExample)
                return await self._in_turn(begin, lambda: self._of(example))
            form = await form_of(request, examples=1)
            try:
                upload = form.get(FIELD)
                if not isinstance(upload, UploadFile):
                    raise HTTPException(400, f"the multipart body has no file in a field named {FIELD!r}")
                return await while_connected(
                    request, lambda cancellation: self._by_picture(upload.file, begin, cancellation)
                )
            finally:
                await form.close()

    def _of(self, example: SearchExample) -> Found:
        if example.image_id is not None:
            return self._search.by_id(example.image_id)
        return self._search.by_vectors(example.lsh or (), example.pair or ())

    async def _by_picture(self, file: BinaryIO, begin: Callable[[], None], cancellation: Cancellation) -> SearchAnswer:
        begun = perf_counter()
        async with self._decoding.decoded(file, self._search.enough_px, cancellation) as pixels:
            decode_ms = 1_000 * (perf_counter() - begun)
            return await self._in_turn(begin, lambda: self._search.by_picture(pixels, decode_ms))

    async def _in_turn(self, begin: Callable[[], None], search: Callable[[], Found]) -> SearchAnswer:
        def answer() -> SearchAnswer:
            begin()
            return self._answer(search())

        return await to_thread.run_sync(answer, limiter=self._turn)

    def _answer(self, found: Found) -> SearchAnswer:
        with self._follower.reading() as store:
            pictures = self._pictures.paths(store, [match.image_id for match in found.matches])
            labels = [] if found.cluster is None else self._labels.of_cluster(store, found.cluster)
        matches = [
            FoundImage.of(match, picture=picture) for match, picture in zip(found.matches, pictures, strict=True)
        ]
        return SearchAnswer.of(
            found,
            seen_before=bool(matches),
            matches=matches,
            labels=labels,
            threshold=found.thresholds.match,
            head_threshold=found.thresholds.head,
        )
