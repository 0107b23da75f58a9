"""The outermost layer of a web server: checks credentials, Host, Origin and the media type of the body.

It is independent of the routes behind it, so every HTTP server of the platform uses it; what differs is in `Rules`. It
decides on the head of the request alone: the body of a refused request is not read, and every refusal is a problem
document.

Listening on loopback does not keep web pages out. A page may make its own name resolve to 127.0.0.1 (DNS rebinding),
and its requests then carry that name as Host; or it may send requests to 127.0.0.1, which carry its Origin, or
`Sec-Fetch-Site: cross-site`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from neardup_platform.serving.authority import Authority, parse_authority, parse_origin, same_origin
from neardup_platform.serving.problems import problem
from neardup_platform.serving.tokens import is_loopback

# Nothing is loaded from, sent to or framed by another host.
STRICT_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_MAX_HEADERS = 100
# The longest id, percent-encoded, with room for the rest of the path and the query.
_MAX_TARGET = 8_192
_WITH_BODY = ("POST", "PUT", "PATCH")
_MAX_HEADER_BYTES = 32_768
# The connection of a refused request with a longer body is closed; a shorter body is read and discarded.
_READ_PAST_BYTES = 65_536
_ONCE = ("host", "origin", "authorization", "content-type", "content-length", "sec-fetch-site", "sec-fetch-mode")


class Refused(Exception):
    """A refused request; `detail` says what to do."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


@dataclass(frozen=True)
class Request:
    """The head of a request, as the rules see it.

    Attributes:
        method: in upper case; `WEBSOCKET` for the opening of a WebSocket.
        path: as sent, percent-encoded; decoded if the guard does not route by raw paths.
        client: the address of the peer, which may be a proxy; empty if it has none.
    """

    method: str
    path: str
    headers: Headers
    query: str = ""
    client: str = ""

    @property
    def media_type(self) -> str:
        """Media type of the body in lower case, without parameters; empty if none is given."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


def _anyone(_: Request) -> None:
    """Admit every request."""


def _no_pages(_: str) -> bool:
    return False


@dataclass(frozen=True)
class Rules:
    """What one server requires.

    Attributes:
        host: the address it listens on. On loopback only loopback names are accepted as Host.
        names: further names of this server, which a proxy passes on as Host or browsers send as Origin.
        check: raises `Refused` for a request without the right credentials; called before the body is read.
        is_page: whether links of other sites may lead to a path. GET must not change anything there.
        media_types: returns the media types that a method and a path accept as a body; all others are refused.
        headers: added to every response that lacks them.
    """

    host: str
    names: Iterable[str] = ()
    check: Callable[[Request], None] = _anyone
    is_page: Callable[[str], bool] = _no_pages
    media_types: Callable[[str, str], tuple[str, ...]] = lambda _method, _path: ("application/json",)
    headers: Mapping[str, str] = field(default_factory=lambda: STRICT_HEADERS)


class Guard:
    """Wraps an ASGI application of HTTP and WebSockets.

    Paths are routed as sent, percent-encoded, so that an image id with an encoded slash stays one segment and cannot be
    mistaken for another call; route parameters are decoded later.
    """

    def __init__(self, app: ASGIApp, rules: Rules, *, raw_paths: bool = True) -> None:
        self._app = app
        self._rules = rules
        self._names = frozenset(
            authority.host for authority in map(parse_authority, rules.names) if authority is not None
        )
        self._raw_paths = raw_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        if self._raw_paths and scope.get("raw_path"):
            # In place, because what wraps this guard reads the same scope.
            scope["path"] = scope["raw_path"].decode("latin-1")
        try:
            self.admit(request_of(scope))
        except Refused as refused:
            await self._refuse(refused, scope, receive, send)
            return
        await self._app(scope, receive, self._with_headers(send))

    def admit(self, request: Request) -> None:
        """Admit a request.

        Raises:
            Refused: 431 or 414, it is too large; 400, a decisive header occurs twice; 421, the Host is another
                server's; 403, it comes from another site's page; 415, the media type of the body is not accepted; or
                whatever `Rules.check` raises.
        """
        size = sum(len(name) + len(value) for name, value in request.headers.raw)
        if len(request.headers) > _MAX_HEADERS or size > _MAX_HEADER_BYTES:
            raise Refused(
                431,
                f"the request has {len(request.headers)} headers of {size:,} bytes: send at most {_MAX_HEADERS} "
                f"of {_MAX_HEADER_BYTES:,}",
            )
        if len(request.path) + len(request.query) > _MAX_TARGET:
            raise Refused(414, f"path and query are longer than {_MAX_TARGET:,} characters: ask for less at once")
        for name in _ONCE:
            if len(request.headers.getlist(name)) > 1:
                raise Refused(400, f"the header {name} occurs more than once: send it once")
        if not request.path.startswith("/") and request.path != "*":
            raise Refused(400, f"{request.path[:100]!r} is not a path: a path starts with a slash")
        host = self._host(request)
        self._check_origin(request, host)
        self._rules.check(request)
        self._media_type(request)

    def _host(self, request: Request) -> Authority:
        text = request.headers.get("host", "")
        host = parse_authority(text)
        if host is None:
            raise Refused(400, f"Host {text[:100]!r} is not a name or an address with an optional port")
        ours = is_loopback(host.host) or host.host in self._names
        if not ours and is_loopback(self._rules.host):
            raise Refused(421, f"Host {text[:100]!r} is not this server's: use http://127.0.0.1 or http://localhost")
        return host

    def _check_origin(self, request: Request, host: Authority) -> None:
        origin = request.headers.get("origin")
        if origin is not None:
            asking = parse_origin(origin)
            named = asking is not None and asking[1].host in self._names
            if not named and not same_origin(origin, host):
                raise Refused(403, f"Origin {origin[:100]!r} is another site: its pages may not call this server")
            return
        site = request.headers.get("sec-fetch-site", "none")
        if site in ("none", "same-origin"):
            return
        follows_link = request.method == "GET" and request.headers.get("sec-fetch-mode") == "navigate"
        if not (follows_link and self._rules.is_page(request.path)):
            raise Refused(
                403,
                f"the request comes from a page of another site ({site[:20]!r}): open {request.path[:100]!r} directly",
            )

    def _media_type(self, request: Request) -> None:
        if request.method not in _WITH_BODY:
            return
        accepted = self._rules.media_types(request.method, request.path)
        if request.media_type not in accepted:
            raise Refused(
                415, f"Content-Type {request.media_type[:100]!r} is not accepted here: send {' or '.join(accepted)}"
            )

    async def _refuse(self, refused: Refused, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            # Closing a WebSocket before it is accepted answers with status 403.
            await send({"type": "websocket.close", "code": 1008, "reason": refused.detail[:100]})
            return
        headers = {**refused.headers, **closing(Headers(scope=scope))}
        answer = problem(HTTPStatus(refused.status), refused.detail, scope["path"], headers=headers)
        await answer(scope, receive, self._with_headers(send))

    def _with_headers(self, send: Send) -> Send:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._rules.headers.items():
                    headers.setdefault(name, value)
            await send(message)

        return send_with_headers


def request_of(scope: Scope) -> Request:
    """The head of a request from its ASGI scope."""
    method = "WEBSOCKET" if scope["type"] == "websocket" else scope["method"].upper()
    query, client = scope.get("query_string", b"").decode("latin-1"), scope.get("client")
    return Request(method, scope["path"], Headers(scope=scope), query, client[0] if client else "")


def closing(headers: Headers) -> dict[str, str]:
    """`Connection: close` if the rest of a refused body may be too long to read and discard."""
    length = headers.get("content-length", "")
    short = length.isdecimal() and len(length) < 10 and int(length) <= _READ_PAST_BYTES
    bodiless = not length and "transfer-encoding" not in headers
    return {} if short or bodiless else {"Connection": "close"}
