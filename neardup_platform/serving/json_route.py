"""Routes whose answers become JSON in the thread that made them.

FastAPI would validate an answer once more, in another turn of the pool of threads, and then make its JSON on the loop,
which serves every connection. Our answers are models already. A response of the function itself passes through.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.responses import Response


class JsonRoute(APIRoute):
    """A route to a synchronous function that returns a model, which sets no status or headers by a parameter."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, _in_json(endpoint), **options)


def _in_json(endpoint: Callable[..., Any]) -> Callable[..., Response]:
    # An included router makes its routes again, of what is in JSON by then.
    @wraps(endpoint)
    def answer(*args: Any, **named: Any) -> Response:
        found: BaseModel | Response = endpoint(*args, **named)
        return (
            found if isinstance(found, Response) else Response(found.model_dump_json(), media_type="application/json")
        )

    return answer
