"""The outermost layer of every request: which Host may ask, how paths are read, and headers for browsers.

Loopback alone does not keep web pages out: a page whose name is made to resolve to 127.0.0.1 (DNS rebinding)
could read the API from a user's browser. Such requests carry the page's name as Host, and are refused.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from neardup_platform.serving.problems import problem

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
# Nothing is ever loaded from, sent to or framed by another host.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Guard:
    """Wraps an application.

    Paths are routed as they were sent, percent-encoded, so that an image id with an encoded slash stays one
    piece and can never be mistaken for another call; route parameters decode themselves.

    Args:
        app: what is guarded.
        host: the address listened on; on loopback only loopback names are accepted as Host.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app = app
        self._any_host = host not in _LOOPBACK

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        raw_path = scope.get("raw_path")
        if raw_path:
            scope = {**scope, "path": raw_path.decode("latin-1")}
        host = Headers(scope=scope).get("host", "")
        if self._any_host or host_name(host) in _LOOPBACK:
            await self._app(scope, receive, send_with_headers)
            return
        detail = f"Host {host[:100]!r} is not this server's: ask http://127.0.0.1 or http://localhost"
        await problem(421, detail, scope["path"])(scope, receive, send_with_headers)


def host_name(host: str) -> str:
    """The name or address in a Host header, without port or brackets, in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()
