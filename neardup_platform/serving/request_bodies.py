"""The bodies of calls with examples: JSON or a multipart form; `limits.py` bounds their size."""

from typing import Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser

from neardup_platform.serving.calls import MULTIPART
from neardup_platform.serving.problem_types import TYPES
from neardup_platform.serving.problems import MEDIA_TYPE

Body = TypeVar("Body", bound=BaseModel)

# The status that proxies log for a closed connection; nobody receives it.
CLIENT_CLOSED = 499
# For the OpenAPI document: what only calls with pictures answer.
TOO_COSTLY: dict[int | str, dict[str, Any]] = {
    422: {
        "description": TYPES[422].text.replace("`", ""),
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}


def is_multipart(request: Request) -> bool:
    """Whether the body is a multipart form."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == MULTIPART


async def form_of(request: Request, examples: int) -> FormData:
    """Read a multipart form; close it after use.

    Args:
        request: of which nothing was read.
        examples: files, and other fields, that it may have.

    Raises:
        HTTPException: 400, it is damaged or has more.
    """
    try:
        return await MultiPartParser(request.headers, request.stream(), max_files=examples, max_fields=examples).parse()
    except (MultiPartException, KeyError, ValueError) as error:
        # Charsets such as idna raise their own errors, all of them ValueErrors.
        raise HTTPException(400, f"the multipart body is damaged: {error}") from error


async def json_of(request: Request, model: type[Body]) -> Body:
    """Read a JSON body.

    Raises:
        RequestValidationError: it is not of this form; the text leaves out the input, which may be megabytes.
    """
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_input=False, include_context=False)) from error
