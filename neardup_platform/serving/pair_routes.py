"""Two images compared over HTTP: ids, pictures or vectors; `limits.py` bounds the size of the body."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Request
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from neardup_platform.errors import BadMessage, BadPicture, InvalidRequest
from neardup_platform.images.decoding.cancellation import Cancellation
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.serving.answers.pairs import PairAnswer, PairImage, PairSide, PairSides
from neardup_platform.serving.connected import ClientDisconnected, while_connected
from neardup_platform.serving.example_pairs import ExamplePairs
from neardup_platform.serving.ids import checked_length
from neardup_platform.serving.picture_decoding import PictureDecoding
from neardup_platform.serving.request_bodies import CLIENT_CLOSED, TOO_COSTLY, form_of, is_multipart, json_of
from neardup_platform.terms.rate_limiter import SearchLimiter

A, B = "a", "b"
T = TypeVar("T")
# What a request gives for one side of a pair.
_Side = UploadFile | PairSide

_PART = {
    "anyOf": [
        {"type": "string", "format": "binary", "title": "a picture"},
        {"type": "string", "title": "the id of an image of the store"},
    ]
}
_JSON = PairSides.model_json_schema(ref_template="#/components/schemas/{model}")
# The OpenAPI document has it among its components.
_JSON.pop("$defs")
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {"type": "object", "required": [A, B], "properties": {A: _PART, B: _PART}}
            },
            "application/json": {"schema": _JSON},
        },
    }
}


class PairRoutes:
    """Compares one pair at a time, in turns with the searches, whose queue and rate limit it shares.

    The pictures of a pair are decoded and embedded one after the other, so that a request never holds the turn of one
    while it waits for the other.
    """

    def __init__(
        self,
        pairs: ExamplePairs,
        limiter: SearchLimiter,
        decoding: PictureDecoding,
        turn: CapacityLimiter,
        max_picture_bytes: int,
    ) -> None:
        self._pairs = pairs
        self._limiter = limiter
        self._decoding = decoding
        self._turn = turn
        self._max_picture_bytes = max_picture_bytes

    def router(self) -> APIRouter:
        """The route."""
        router = APIRouter(prefix="/v1", tags=["search"])
        router.add_api_route(
            "/pairs",
            self.compare,
            methods=["POST"],
            summary="Compare two images",
            response_model=PairAnswer,
            responses=TOO_COSTLY,
            openapi_extra=_BODY,
        )
        return router

    async def compare(self, request: Request) -> PairAnswer | Response:
        """The score of two images, what it is made of, and where the pictures agree; changes nothing.

        Each side is the id of an image, a picture (in a multipart form), or both vectors of an image (in JSON).
        """
        try:
            return await self._compared(request)
        except (ClientDisconnect, ClientDisconnected):
            return Response(status_code=CLIENT_CLOSED)

    async def _compared(self, request: Request) -> PairAnswer:
        with self._limiter.queued() as begin:
            if not is_multipart(request):
                sides = await json_of(request, PairSides)
                return await self._answer(sides.a, sides.b, begin, Cancellation())
            form = await form_of(request, examples=2)
            try:
                a, b = self._side(form, A), self._side(form, B)
                return await while_connected(request, lambda cancellation: self._answer(a, b, begin, cancellation))
            finally:
                await form.close()

    def _side(self, form: FormData, name: str) -> _Side:
        """What a form gives for one side.

        Raises:
            HTTPException: 400, it gives none, several or no id; 413, the picture is too large.
        """
        parts = form.getlist(name)
        if len(parts) != 1 or len(form.multi_items()) != 2:
            raise HTTPException(400, f"the multipart body has {len(parts)} fields named {name!r}: one a and one b")
        part = parts[0]
        if isinstance(part, UploadFile):
            if (part.size or 0) > self._max_picture_bytes:
                raise HTTPException(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    f"picture {name} has {part.size:,} bytes, {self._max_picture_bytes:,} allowed "
                    "(api.max_upload_bytes): send less",
                )
            return part
        try:
            return PairSide(image_id=checked_length(part))
        except ValueError as error:
            raise HTTPException(400, f"field {name!r}: {error}") from error

    async def _answer(self, a: _Side, b: _Side, begin: Callable[[], None], cancellation: Cancellation) -> PairAnswer:
        vectors = [await self._vectors(name, side, cancellation) for name, side in ((A, a), (B, b))]

        def answer() -> PairAnswer:
            begin()
            return PairAnswer.of(self._pairs.compare(*vectors), a=self._image(a), b=self._image(b))

        return await self._in_turn(answer)

    async def _vectors(self, name: str, side: _Side, cancellation: Cancellation) -> ImageVectors:
        with _naming(name):
            if isinstance(side, PairSide):
                return await self._in_turn(lambda: self._given(side))
            async with self._decoding.decoded(side.file, self._pairs.enough_px, cancellation) as pixels:
                return await self._in_turn(lambda: self._pairs.of_picture(pixels))

    def _given(self, side: PairSide) -> ImageVectors:
        if side.lsh is not None and side.pair is not None:
            return self._pairs.of_vectors(side.lsh, side.pair)
        return self._pairs.of_image(side.image_id or "")

    def _image(self, side: _Side) -> PairImage:
        image_id = side.image_id if isinstance(side, PairSide) else None
        return PairImage(image_id=image_id, picture=image_id and self._pairs.picture(image_id))

    async def _in_turn(self, work: Callable[[], T]) -> T:
        return await to_thread.run_sync(work, limiter=self._turn)


@contextmanager
def _naming(side: str) -> Iterator[None]:
    """Names the side of the pair in errors about its picture or vectors."""
    try:
        yield
    except BadPicture as error:
        raise type(error)(f"picture {side}: {error}") from error
    except BadMessage as error:
        raise InvalidRequest(f"{side}: {error}") from error
