"""A real HTTP server on loopback with scripted responses, and both clients behind one synchronous face."""

import asyncio
import inspect
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from neardup_platform import AsyncClient, Client

PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Reply:
    """One response; status 0 closes the connection without any."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


def problem(status: int, detail: str, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, {"detail": detail, "status": status}, {"Content-Type": PROBLEM, **named})


@dataclass(frozen=True)
class Seen:
    """One request that the server received."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class ScriptedServer:
    """Answers requests with the replies of a script, in order; the last one repeats."""

    def __init__(self, replies: list[Reply]) -> None:
        self.replies, self.seen = replies, list[Seen]()
        lock = threading.Lock()
        script = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with lock:
                    headers = {name.lower(): value for name, value in self.headers.items()}
                    script.seen.append(Seen(self.command, self.path, headers, body))
                    reply = script.replies.pop(0) if len(script.replies) > 1 else script.replies[0]
                if reply.status == 0:
                    self.close_connection = True
                    return
                content = json.dumps(reply.body).encode()
                self.send_response(reply.status)
                for name, value in {"Content-Length": str(len(content)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_DELETE = answer  # noqa: N815 -- names of http.server

            def log_message(self, *_arguments: object) -> None:
                """Keeps test output quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> "ScriptedServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Awaited:
    """An `AsyncClient` with the interface of `Client`: every call is awaited in a loop of its own."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self.runner = asyncio.Runner()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(*args: Any, **named: Any) -> Any:
            result = method(*args, **named)
            return self.runner.run(_collected(result) if inspect.isasyncgen(result) else result)

        return call


async def _collected(items: Any) -> list[Any]:
    return [item async for item in items]


@contextmanager
def opened(kind: str, url: str, token: str | None = None, **options: Any) -> Iterator[Any]:
    if kind == "sync":
        with Client(url, token, **options) as client:
            yield client
        return
    client = Awaited(AsyncClient(url, token, **options))
    with client.runner:
        yield client
        client.aclose()


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    """Every claim holds for both clients."""
    return str(request.param)
