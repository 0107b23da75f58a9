"""Limits on the connections of the HTTP server: how many are open, and how long one may be silent.

uvicorn waits forever for the head of a request, and for a client that does not read its response. Here the head must
arrive within `read_timeout_s` of the connection, or of the first byte of a further request; a client that reads nothing
of its response for as long is disconnected. When all places are taken, the connection that has been idle longest is
closed, so 1,000 clients that send nothing do not keep others out.
"""

import asyncio
import resource
import sys
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address, ip_network

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from neardup_platform.serving.limits import client_of
from neardup_platform.serving.problems import MEDIA_TYPE, problem_document
from neardup_platform.settings import ApiSettings

# Room for probes and refusals while the maximum of requests is in flight.
_SPARE = 128
_SPARE_PER_CLIENT = 32
# For files of the store, the index and the vectors.
_OWN_FILES = 256
_WANTED_FILES = 65_536
_MAX_HEAD_BYTES = 32_768


@dataclass(frozen=True)
class ConnectionBounds:
    """How many connections may be open, and how long one may be silent."""

    most: int
    most_per_client: int
    read_timeout_s: float
    # Each proxy stands for many clients.
    proxies: tuple[str, ...] = ()


class Connections:
    """All open connections of one server."""

    def __init__(self, bounds: ConnectionBounds) -> None:
        self.bounds = bounds
        self._open: dict[BoundedProtocol, str] = {}

    def admit(self, new: "BoundedProtocol", address: str) -> bool:
        """Admit a connection, if necessary in place of the one idle longest; return whether it may stay."""
        client = client_of({"client": (address, 0)})
        of_client = [other for other, owner in self._open.items() if owner == client]
        rivals = None
        if len(of_client) >= self.bounds.most_per_client and not self._is_proxy(address):
            rivals = of_client
        elif len(self._open) >= self.bounds.most:
            rivals = list(self._open)
        if rivals is not None:
            idle = [rival for rival in rivals if rival.idle_since is not None]
            if not idle:
                return False
            min(idle, key=lambda rival: rival.idle_since or 0.0).abort()
        self._open[new] = client
        return True

    def _is_proxy(self, address: str) -> bool:
        try:
            return any(ip_address(address) in ip_network(proxy) for proxy in self.bounds.proxies)
        except ValueError:
            return False

    def forget(self, gone: "BoundedProtocol") -> None:
        """Free a place."""
        self._open.pop(gone, None)


class BoundedConfig(uvicorn.Config):
    """uvicorn's configuration for an application of this platform."""

    def __init__(self, app: ASGIApp, api: ApiSettings) -> None:
        super().__init__(
            app,
            host=api.host,
            port=api.port,
            http=BoundedProtocol,
            ws="none",
            h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=3,
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=bool(api.proxies),
            forwarded_allow_ips=list(api.proxies),
        )
        most = min(api.max_requests + _SPARE, _files_allowed() - _OWN_FILES)
        per_client = min(api.max_requests_per_client + _SPARE_PER_CLIENT, most)
        self.open_connections = Connections(ConnectionBounds(most, per_client, api.read_timeout_s, api.proxies))


class BoundedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 with timeouts for each connection."""

    config: BoundedConfig

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        self._timer: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._head_begun = False
        self.idle_since: float | None = self.loop.time()
        self._registry = self.config.open_connections
        if not self._registry.admit(self, self.client[0] if self.client else ""):
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, "all connections are taken: try again later")
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed, by either side."""
        self._registry.forget(self)
        self._cancel_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request have arrived."""
        self._head_begun = True
        if self._timer is None and self.idle_since is not None:
            self._await_head()
        super().data_received(data)
        self._note_request()

    def on_response_complete(self) -> None:
        """A response has been written."""
        super().on_response_complete()
        self._head_begun = False
        self.idle_since = self.loop.time()
        # A pipelined request may have begun already.
        self._note_request()

    def pause_writing(self) -> None:
        """The client stops reading its response."""
        super().pause_writing()
        self._stalled = self.loop.call_later(self._registry.bounds.read_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads its response again."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def abort(self) -> None:
        """Close an idle connection to make room for another."""
        self._registry.forget(self)
        self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Answer malformed HTTP with the status that h11 suggests."""
        error = sys.exc_info()[1]
        status = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else HTTPStatus.BAD_REQUEST
        self._answer(HTTPStatus(status), str(error or msg))

    def _note_request(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self.idle_since = None
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _await_head(self) -> None:
        self._timer = self.loop.call_later(self._registry.bounds.read_timeout_s, self._head_is_late)

    def _head_is_late(self) -> None:
        if self._head_begun:
            self._answer(HTTPStatus.REQUEST_TIMEOUT, "the head of the request did not arrive in time: send it at once")
        else:
            self.transport.abort()

    def _answer(self, status: HTTPStatus, detail: str) -> None:
        """Send a problem document outside any request and close the connection."""
        body = problem_document(status, detail).encode()
        head = (
            f"HTTP/1.1 {status} {status.phrase}\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\n"
            "X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _cancel_timers(self) -> None:
        for timer in (self._timer, self._stalled):
            if timer is not None:
                timer.cancel()


def _files_allowed() -> int:
    """Raise the limit on open files as far as it is allowed and useful; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ceiling = _WANTED_FILES if hard == resource.RLIM_INFINITY else min(hard, _WANTED_FILES)
    if soft != resource.RLIM_INFINITY and soft < ceiling:
        resource.setrlimit(resource.RLIMIT_NOFILE, (ceiling, hard))
        soft = ceiling
    return _WANTED_FILES if soft == resource.RLIM_INFINITY else soft
