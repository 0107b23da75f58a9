"""Every error as a problem document (RFC 9457, `application/problem+json`)."""

import logging
import math
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.responses import Response

from neardup_platform.errors import (
    Conflict,
    InvariantBroken,
    NeardupError,
    NotFound,
    PermanentError,
    RateExceeded,
    TooCostly,
)
from neardup_platform.serving.answers.problem import InvalidPart, Problem
from neardup_platform.serving.problem_types import type_of

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2


def problem(
    status: int,
    detail: str,
    instance: str,
    errors: list[InvalidPart] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """A problem document.

    Args:
        status: HTTP status, which also gives the title.
        detail: what is wrong with this request and what to do.
        instance: path of the request.
        errors: the parts of the request at fault.
        headers: further headers.
    """
    body = problem_document(status, detail, instance, errors)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers = {"Retry-After": str(RETRY_AFTER_S), **(headers or {})}
    return Response(body, status, headers, MEDIA_TYPE)


def problem_document(
    status: int, detail: str, instance: str | None = None, errors: list[InvalidPart] | None = None
) -> str:
    """The text of a problem document."""
    return Problem(
        type=type_of(status),
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=instance,
        errors=errors,
    ).model_dump_json(exclude_none=True)


def install(app: FastAPI) -> None:
    """Make every error of an application a problem document."""
    app.add_exception_handler(NeardupError, _ours)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _unexpected)


# The first match counts: a TooCostly is a PermanentError, too.
_STATUS: tuple[tuple[type[NeardupError], int], ...] = (
    (NotFound, HTTPStatus.NOT_FOUND),
    (Conflict, HTTPStatus.CONFLICT),
    (RateExceeded, HTTPStatus.TOO_MANY_REQUESTS),
    (TooCostly, HTTPStatus.UNPROCESSABLE_ENTITY),
    (PermanentError, HTTPStatus.BAD_REQUEST),
    (InvariantBroken, HTTPStatus.INTERNAL_SERVER_ERROR),
)


def status_of(error: NeardupError) -> int:
    """The HTTP status of one of our errors."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), HTTPStatus.SERVICE_UNAVAILABLE)


def invalid_parts(errors: list[ErrorDetails]) -> list[InvalidPart]:
    """Pydantic's errors without the offending input, which may be megabytes."""
    return [
        InvalidPart(where=".".join(str(step) for step in error["loc"])[:200], message=error["msg"][:300])
        for error in errors[:10]
    ]


def _ours(request: Request, error: Exception) -> Response:
    status = status_of(error) if isinstance(error, NeardupError) else 500
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("%s: %s", request.url.path, error)
    headers = {"Retry-After": str(math.ceil(error.retry_s))} if isinstance(error, RateExceeded) else None
    return problem(status, str(error), request.url.path, headers=headers)


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 -- the handler is registered for this type only
    detail = error.detail
    if detail == HTTPStatus(error.status_code).phrase:
        detail = f"{request.method} {request.url.path[:200]} is not in this API: see /docs"
    return problem(error.status_code, detail, request.url.path, headers=dict(error.headers or {}))


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 -- the handler is registered for this type only
    parts = invalid_parts(list(error.errors()))
    detail = "; ".join(f"{part.where}: {part.message}" for part in parts)
    return problem(HTTPStatus.BAD_REQUEST, detail, request.url.path, parts)


def _unexpected(request: Request, _error: Exception) -> Response:
    detail = "internal error of this server; its log has the details"
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail, request.url.path)
