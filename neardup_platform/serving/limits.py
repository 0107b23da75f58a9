"""Limits on requests: how many are in flight, per client and in total, and how large and slow their bodies may be.

Stands between guard and application. A body is counted while it is read; the application receives an error if it is too
large, arrives too slowly, or yields its place to another.
"""

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from neardup_platform.serving.guard import Request, closing, request_of
from neardup_platform.serving.problems import problem

# Never refused because of other requests, so that a probe tells whether the process is alive.
PROBES = ("/healthz", "/readyz")
# A body may take `read_timeout_s`, plus a second for every so many bytes that have arrived.
MIN_BYTES_PER_S = 16_384
# When all places are taken, a body this far behind yields its place.
_YIELDS_AFTER_S = 1.0
# Bodies read at the same time; at a usual rate a connection holds its place for less than a second.
_BODIES_AT_ONCE = 64
# Total of all requests in flight: pictures that wait for their search are kept in temporary files.
_HELD_BYTES = 512 << 20
_CLOSE = {"Connection": "close"}


@dataclass(frozen=True)
class Bounds:
    """The bounds of one server.

    Attributes:
        max_body: returns the largest body of a request in bytes, and the setting that says so.
    """

    max_body: Callable[[Request], tuple[int, str]]
    max_requests: int
    max_requests_per_client: int
    read_timeout_s: float
    bodies_at_once: int = _BODIES_AT_ONCE
    held_bytes: int = _HELD_BYTES


class Limits:
    """Wraps an ASGI application."""

    def __init__(self, app: ASGIApp, bounds: Bounds) -> None:
        self._app = app
        self._bounds = bounds
        self._in_flight: Counter[str] = Counter()
        self._reading: set[_Body] = set()
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_noting_start(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            request, client = request_of(scope), client_of(scope)
            max_bytes, setting = self._bounds.max_body(request)
            too_large(declared_bytes(request.headers), max_bytes, setting)
            with self._slot(request, client):
                body = _Body(self, receive, client, max_bytes, setting)
                try:
                    if has_body(request.headers):
                        # Before the application does any work for it.
                        body.begin()
                    await self._app(scope, body.receive, send_noting_start)
                finally:
                    self._reading.discard(body)
                    self._held -= body.received
        except _Refusal as refusal:
            # Most applications handle what their `receive` raises.
            if started:
                raise
            headers = {**(refusal.headers or {}), **closing(Headers(scope=scope))}
            answer = problem(refusal.status_code, refusal.detail, scope["path"], headers=headers)
            await answer(scope, receive, send)

    @contextmanager
    def _slot(self, request: Request, client: str) -> Iterator[None]:
        if request.path in PROBES:
            yield
            return
        if self._in_flight[client] >= self._bounds.max_requests_per_client:
            raise _Refusal(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"{self._in_flight[client]} requests of {client} are in flight (api.max_requests_per_client): "
                "wait for their responses",
                {"Retry-After": "1"},
            )
        if self._in_flight.total() >= self._bounds.max_requests:
            raise _Refusal(503, f"{self._in_flight.total()} requests are in flight (api.max_requests): try again later")
        self._in_flight[client] += 1
        try:
            yield
        finally:
            self._in_flight[client] -= 1
            if not self._in_flight[client]:
                del self._in_flight[client]

    def begin_reading(self, body: "_Body") -> None:
        """Give a body a place; when all are taken, the place of the body that is furthest behind.

        Raises:
            HTTPException: 503, all places are taken by bodies that arrive at a usual rate.
        """
        mine = [other for other in self._reading if other.client == body.client]
        rivals = None
        if len(mine) >= max(1, self._bounds.bodies_at_once // 2):
            rivals = mine
        elif len(self._reading) >= self._bounds.bodies_at_once:
            rivals = list(self._reading)
        if rivals is not None:
            slowest = min(rivals, key=lambda rival: rival.deadline)
            if not slowest.yield_place(self._bounds.read_timeout_s - _YIELDS_AFTER_S):
                raise _Refusal(503, f"{len(self._reading)} bodies are being read: try again later", _CLOSE)
            self._reading.discard(slowest)
        self._reading.add(body)

    def end_reading(self, body: "_Body") -> None:
        """Free the place of a body that has been read."""
        self._reading.discard(body)

    def hold(self, length: int) -> None:
        """Count received bytes of a request in flight.

        Raises:
            HTTPException: 503, the requests in flight hold too many bytes.
        """
        self._held += length
        if self._held > self._bounds.held_bytes:
            raise _Refusal(503, f"requests in flight hold {self._held >> 20} MB: try again later", _CLOSE)

    @property
    def grace_s(self) -> float:
        """How many seconds a body may fall behind."""
        return self._bounds.read_timeout_s


class _Refusal(HTTPException):
    """An error that every Starlette application turns into a response of its own form."""


class _Body:
    """The body of one request, as the application receives it."""

    def __init__(self, limits: Limits, receive: Receive, client: str, max_bytes: int, setting: str) -> None:
        self._limits = limits
        self._receive = receive
        self._max_bytes = max_bytes
        self._setting = setting
        self._waiting: asyncio.Timeout | None = None
        self._begun: float | None = None
        self._ended = False
        self.client = client
        self.received = 0

    @property
    def deadline(self) -> float:
        """When the next bytes are due, on the loop's clock; every received byte moves it."""
        begun = asyncio.get_running_loop().time() if self._begun is None else self._begun
        return begun + self._limits.grace_s + self.received / MIN_BYTES_PER_S

    def yield_place(self, most_left_s: float) -> bool:
        """Stop waiting for more bytes if the deadline is at most `most_left_s` away; return whether it stops."""
        loop = asyncio.get_running_loop()
        if self._waiting is None or self.deadline - loop.time() > most_left_s:
            return False
        self._waiting.reschedule(loop.time())
        return True

    def begin(self) -> None:
        """Take a place and start the clock, once.

        Raises:
            HTTPException: 503, no place is free.
        """
        if self._begun is None:
            self._limits.begin_reading(self)
            self._begun = asyncio.get_running_loop().time()

    async def receive(self) -> Message:
        """The next message.

        Raises:
            HTTPException: 408, 413 or 503; the response closes the connection.
        """
        if self._ended:
            return await self._receive()
        self.begin()
        try:
            async with asyncio.timeout_at(self.deadline) as self._waiting:
                message = await self._receive()
        except TimeoutError:
            raise _Refusal(
                408,
                f"{self.received:,} bytes of the body arrived in time (api.read_timeout_s): send it at "
                f"{MIN_BYTES_PER_S >> 10} KiB/s or more",
                _CLOSE,
            ) from None
        finally:
            self._waiting = None
        length = len(message.get("body", b""))
        self.received += length
        self._limits.hold(length)
        too_large(self.received, self._max_bytes, self._setting)
        if message["type"] != "http.request" or not message.get("more_body", False):
            self._ended = True
            self._limits.end_reading(self)
        return message


def too_large(length: int, max_bytes: int, setting: str) -> None:
    """Refuse a body by its declared or counted length.

    Raises:
        HTTPException: 413.
    """
    if length > max_bytes:
        raise _Refusal(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body exceeds {max_bytes:,} bytes ({setting}): send less", _CLOSE
        )


def has_body(headers: Headers) -> bool:
    """Whether the head announces a body."""
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def declared_bytes(headers: Headers) -> int:
    """The value of Content-Length; 0 without the header.

    Raises:
        HTTPException: 400, it is not a number.
    """
    text = headers.get("content-length", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise _Refusal(400, f"Content-Length {text[:40]!r} is not a number of bytes", _CLOSE)
    return int(text)


def client_of(scope: Scope) -> str:
    """Identify a client by its IPv4 address or its IPv6 /64 network, which one host usually has to itself."""
    address = (scope.get("client") or ("",))[0]
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return str(address)
    if isinstance(parsed, ipaddress.IPv4Address) or parsed.is_loopback:
        return str(parsed)
    return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))
