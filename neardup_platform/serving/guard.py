"""The outermost layer of a web server on this machine: who may ask, from which page, and with what kind of body.

It knows nothing of the routes behind it, so every HTTP door of the platform stands behind the same one; what differs
between doors is in `Rules`. It decides by the request's head alone: nothing of a body is read for a request that is
refused, and every refusal is a problem document.

Loopback alone does not keep web pages out. A page may make its own name resolve to 127.0.0.1 (DNS rebinding) and then
carries that name as Host; or send requests to 127.0.0.1, which carry its Origin, or `Sec-Fetch-Site: cross-site`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from neardup_platform.serving.authority import Authority, parse_authority, parse_origin, same_origin
from neardup_platform.serving.problems import problem
from neardup_platform.serving.tokens import is_loopback

# Nothing is ever loaded from, sent to or framed by another host.
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
# The longest id, percent-encoded, with room for what is asked about it.
_MAX_TARGET = 8_192
_WITH_BODY = ("POST", "PUT", "PATCH")
_MAX_HEADER_BYTES = 32_768
# A refused request with a longer body is cut off; the rest of a shorter one is read past.
_READ_PAST_BYTES = 65_536
_ONCE = ("host", "origin", "authorization", "content-type", "content-length", "sec-fetch-site", "sec-fetch-mode")


class Refused(Exception):
    """A request that goes no further; `detail` says what to do."""

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
        path: as it was sent, percent-encoded; decoded where the guard does not route by raw paths.
        client: the address that the connection comes from, which may be a proxy's; empty where it has none.
    """

    method: str
    path: str
    headers: Headers
    query: str = ""
    client: str = ""

    @property
    def media_type(self) -> str:
        """Of the body, without parameters, in lower case; empty where none is given."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


def _anyone(_: Request) -> None:
    """Let everyone in."""


def _no_pages(_: str) -> bool:
    return False


@dataclass(frozen=True)
class Rules:
    """What one door asks for.

    Attributes:
        host: the address listened on. On loopback only loopback names are accepted as Host.
        names: further names of this server, which a proxy passes on as Host or people see as Origin.
        check: raises `Refused` for a request without the right credentials; called before anything of a body is read.
        is_page: whether links of other sites may lead to a path. It must answer GET without changing anything.
        media_types: of the bodies that a method and a path take; all others are refused.
        headers: added to every answer that does not have them.
    """

    host: str
    names: Iterable[str] = ()
    check: Callable[[Request], None] = _anyone
    is_page: Callable[[str], bool] = _no_pages
    media_types: Callable[[str, str], tuple[str, ...]] = lambda _method, _path: ("application/json",)
    headers: Mapping[str, str] = field(default_factory=lambda: STRICT_HEADERS)


class Guard:
    """Wraps an ASGI application of HTTP and WebSockets.

    Paths are routed as they were sent, percent-encoded, so that an image id with an encoded slash stays one
    piece and can never be mistaken for another call; route parameters decode themselves.
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
            # In place: what wraps this guard looks into the same scope.
            scope["path"] = scope["raw_path"].decode("latin-1")
        try:
            self.admit(request_of(scope))
        except Refused as refused:
            await self._refuse(refused, scope, receive, send)
            return
        await self._app(scope, receive, self._with_headers(send))

    def admit(self, request: Request) -> None:
        """Let a request pass.

        Raises:
            Refused: 431 or 414, there is too much of it; 400, a header that decides is there twice; 421, the Host is
                another server's; 403, another site's page asks; 415, the body is of a kind that is not taken; or what
                `Rules.check` raises.
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
                raise Refused(400, f"the header {name} is there more than once: send it once")
        if not request.path.startswith("/") and request.path != "*":
            raise Refused(400, f"{request.path[:100]!r} is no path: it starts with a slash")
        host = self._host(request)
        self._from_here(request, host)
        self._rules.check(request)
        self._media_type(request)

    def _host(self, request: Request) -> Authority:
        text = request.headers.get("host", "")
        host = parse_authority(text)
        if host is None:
            raise Refused(400, f"Host {text[:100]!r} is not a name or an address with an optional port")
        ours = is_loopback(host.host) or host.host in self._names
        if not ours and is_loopback(self._rules.host):
            raise Refused(421, f"Host {text[:100]!r} is not this server's: ask http://127.0.0.1 or http://localhost")
        return host

    def _from_here(self, request: Request, host: Authority) -> None:
        origin = request.headers.get("origin")
        if origin is not None:
            asking = parse_origin(origin)
            named = asking is not None and asking[1].host in self._names
            if not named and not same_origin(origin, host):
                raise Refused(403, f"Origin {origin[:100]!r} is another site: its pages may not ask this server")
            return
        site = request.headers.get("sec-fetch-site", "none")
        if site in ("none", "same-origin"):
            return
        follows_link = request.method == "GET" and request.headers.get("sec-fetch-mode") == "navigate"
        if not (follows_link and self._rules.is_page(request.path)):
            raise Refused(403, f"a page of another site asks ({site[:20]!r}): open {request.path[:100]!r} itself")

    def _media_type(self, request: Request) -> None:
        if request.method not in _WITH_BODY:
            return
        taken = self._rules.media_types(request.method, request.path)
        if request.media_type not in taken:
            raise Refused(
                415, f"Content-Type {request.media_type[:100]!r} is not taken here: send {' or '.join(taken)}"
            )

    async def _refuse(self, refused: Refused, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            # Before it is accepted, a WebSocket that is closed is answered with status 403.
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
    """`Connection: close` where so much of a refused body may follow that it is not worth reading past it."""
    length = headers.get("content-length", "")
    short = length.isdecimal() and len(length) < 10 and int(length) <= _READ_PAST_BYTES
    bodiless = not length and "transfer-encoding" not in headers
    return {} if short or bodiless else {"Connection": "close"}
