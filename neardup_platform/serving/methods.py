"""HEAD, OPTIONS and the header `Allow`, derived from the routes."""

from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ROUTED = ("GET", "POST", "PUT", "PATCH", "DELETE")


class Methods:
    """Wraps an application: HEAD is GET without the body, OPTIONS and 405 list the allowed methods."""

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] == "OPTIONS":
            allowed = self.allowed(scope)
            if allowed:
                await Response(status_code=204, headers={"Allow": ", ".join(allowed)})(scope, receive, send)
                return
        if scope["method"] == "HEAD" and "GET" in self.allowed(scope):
            # A copy, because the server omits the body if its own scope says HEAD.
            got = {**scope, "method": "GET"}
            await self._app(got, receive, _without_body(send))
            scope["route"] = got.get("route")
            return
        await self._app(scope, receive, self._allowing(scope, send))

    def allowed(self, scope: Scope) -> list[str]:
        """Every method that the path of a request supports; empty if there is no such path."""
        routed = [method for method in _ROUTED if self._is_routed({**scope, "method": method})]
        return [*routed, *(["HEAD"] if "GET" in routed else []), "OPTIONS"] if routed else []

    def _is_routed(self, scope: Scope) -> bool:
        return any(route.matches(scope)[0] is Match.FULL for route in self._routes)

    def _allowing(self, scope: Scope, send: Send) -> Send:
        async def send_with_allow(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 405:
                MutableHeaders(scope=message)["Allow"] = ", ".join(self.allowed(scope))
            await send(message)

        return send_with_allow


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_head
