"""The OpenAPI document, completed with what FastAPI does not know: problem documents, tokens, refusals."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI

from neardup_platform.serving.answers.pairs import PairSide
from neardup_platform.serving.answers.problem import Problem
from neardup_platform.serving.calls import required_scope
from neardup_platform.serving.problem_types import TYPES
from neardup_platform.serving.problems import MEDIA_TYPE
from neardup_platform.serving.tokens import Scope

SCHEME = "token"
_CONTENT = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
# Of every call that needs a token, and of those with a body.
_GUARDED = (401, 403, 421, 429)
_WITH_BODY = (408, 413, 415)
_TOKEN = {
    "type": "http",
    "scheme": "bearer",
    "description": (
        "Created by `neardup token create NAME --scope …`, or `api.token`, which has the scope admin. Beyond loopback "
        "every call needs a token, except reading with `api.public_read`. On loopback no call needs one until the "
        "first token exists, and then only calls that change something. "
        f"Scopes: {', '.join(Scope)}; admin includes the others."
    ),
}


def documented(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """OpenAPI with tokens, and with problem documents in place of FastAPI's validation errors."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        document = make()
        components = document["components"]
        for name in ("HTTPValidationError", "ValidationError"):
            components["schemas"].pop(name, None)
        for model in (Problem, PairSide):
            schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
            components["schemas"] |= schema.pop("$defs", {}) | {model.__name__: schema}
        components["securitySchemes"] = {SCHEME: _TOKEN}
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                _complete(operation, required_scope(method.upper(), path))
        return document

    return openapi


def _complete(operation: dict[str, Any], scope: Scope | None) -> None:
    # FastAPI's own form; a 422 for another reason is a problem document.
    if "HTTPValidationError" in str(operation["responses"].get("422")):
        del operation["responses"]["422"]
    # The empty alternative: on loopback, or with `api.public_read`, a token may not be needed.
    operation["security"] = [] if scope is None else [{}, {SCHEME: [scope.value]}]
    statuses = (*(_GUARDED if scope else (421,)), *(_WITH_BODY if "requestBody" in operation else ()))
    for status in statuses:
        problem = {"description": TYPES[status].text.replace("`", ""), "content": _CONTENT}
        operation["responses"].setdefault(str(status), problem)
