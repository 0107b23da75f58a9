"""Clients that send too much, too slowly, too often or nothing, over real sockets."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from neardup_platform.serving.app import build_app
from neardup_platform.serving.limits import client_of
from neardup_platform.serving.search_corpus import Models
from neardup_platform.settings import ApiSettings, Settings
from neardup_platform.testing import eventually
from tests.serving.conftest import Writer, listening, models, picture_of, wait_for
from tests.serving.raw_http import Answer, connect, exchange, head, is_closed, read_answer, stalled_uploads
from tests.serving.test_problems import problem_of
from tests.serving.test_search_limits import VECTORS

TOKEN = "a-token-of-the-operator"  # noqa: S105 -- of this test
AUTHORIZED = f"Authorization: Bearer {TOKEN}"
JSON = "Content-Type: application/json"


@contextmanager
def bounded(
    settings: Settings, load: Callable[[], Models] | None = None, max_waiting_queries: int = 1_000, **api: object
) -> Iterator[tuple[httpx.Client, int]]:
    """A server with other bounds; its client and port."""
    changed = settings.model_copy(
        update={
            "api": ApiSettings(**{**settings.api.model_dump(), **api}),
            "terms": settings.terms.model_copy(update={"max_waiting_queries": max_waiting_queries}),
        }
    )
    app = build_app(changed, load or (lambda: models(changed)))
    with listening(app, changed.api) as client:
        wait_for(client, "/readyz", lambda answer: answer.json()["search"]["ok"])
        yield client, client.base_url.port


def problem(answer: Answer, status: int) -> dict:
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/problem+json"
    document = json.loads(answer.body)
    assert document["status"] == status
    assert document["detail"]
    return document


def test_a_body_is_not_read_before_token_and_length_are_checked(settings: Settings, writer: Writer) -> None:
    """Without this, 300 MB of JSON were parsed for 52 s before the token was checked."""
    with bounded(settings, token=TOKEN) as (_, port):
        huge = ("Content-Length: 300000000", JSON)
        # No byte of the body is sent, so an answer shows that the server did not wait for it.
        assert problem(exchange(port, head("POST", "/v1/overrides", *huge)), 401)
        wrong = ("Authorization: Bearer wrong-and-sixteen-long", *huge)
        assert problem(exchange(port, head("POST", "/v1/overrides", *wrong)), 401)
        answer = exchange(port, head("POST", "/v1/overrides", AUTHORIZED, *huge))
        assert "api.max_json_bytes" in problem(answer, 413)["detail"]
        assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("path", "media_type", "setting"),
    [
        ("/v1/overrides", "application/json", "api.max_json_bytes"),
        ("/v1/overrides/x", "application/json", "api.max_json_bytes"),
        ("/v1/search", "application/json", "two vectors"),
        ("/v1/search", "multipart/form-data; boundary=x", "api.max_upload_bytes"),
        ("/v1/pairs", "multipart/form-data; boundary=x", "api.max_upload_bytes"),
    ],
)
def test_a_body_without_a_declared_length_is_cut_off_at_the_bound(
    settings: Settings, writer: Writer, path: str, media_type: str, setting: str
) -> None:
    with bounded(settings) as (_, port), connect(port) as connection:
        method = "DELETE" if path.endswith("x") else "POST"
        connection.sendall(head(method, path, f"Content-Type: {media_type}", "Transfer-Encoding: chunked"))
        start = b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a"\r\n\r\n'
        pieces = [start] * ("multipart" in media_type) + [b"[" * 32_768] * 60
        try:
            for piece in pieces:
                connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        except ConnectionError:
            pass
        answer = read_answer(connection)
        # A reset may overtake the answer; then only the disconnect matters.
        if answer.status and method == "POST":
            assert setting in problem(answer, 413)["detail"]


def test_stalled_uploads_do_not_block_searches(settings: Settings, writer: Writer) -> None:
    """Without this, they held all places of the queue forever."""
    with bounded(settings, max_waiting_queries=100, read_timeout_s=300) as (client, port), ExitStack() as stack:
        stalled_uploads(stack, port, 150)
        assert client.get("/healthz").status_code == 200
        picture = picture_of("cat~1")
        eventually(lambda: client.post("/v1/search", files={"picture": ("x.jpg", picture)}).status_code == 200)
        eventually(lambda: client.post("/v1/search", json=VECTORS).status_code == 200)
        assert client.get("/v1/status").status_code == 200


def test_a_stalled_body_is_answered_408_and_the_connection_is_closed(settings: Settings, writer: Writer) -> None:
    with bounded(settings, read_timeout_s=0.5) as (_, port), connect(port) as connection:
        connection.sendall(head("POST", "/v1/overrides", JSON, "Content-Length: 100") + b'{"action":')
        answer = read_answer(connection)
        assert "api.read_timeout_s" in problem(answer, 408)["detail"]
        assert is_closed(connection)


def test_a_slow_and_steady_body_is_accepted(settings: Settings, writer: Writer) -> None:
    body = b'{"action": "alone", "image_id": "nobody"}'
    with bounded(settings, read_timeout_s=5) as (_, port), connect(port) as connection:
        connection.sendall(head("POST", "/v1/overrides", JSON, f"Content-Length: {len(body)}"))
        for start in range(0, len(body), 10):
            connection.sendall(body[start : start + 10])
            time.sleep(0.05)
        assert "has not been decided" in problem(read_answer(connection), 404)["detail"]


def test_an_unfinished_head_is_answered_408_and_a_silent_connection_is_closed(
    settings: Settings, writer: Writer
) -> None:
    with bounded(settings, read_timeout_s=0.5) as (_, port):
        with connect(port) as connection:
            connection.sendall(b"GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
            problem(read_answer(connection), 408)
            assert is_closed(connection)
        with connect(port) as connection:
            assert is_closed(connection)
        # The server waits for the second request on a connection no longer than for the first.
        with answered(port) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\n")
            problem(read_answer(connection), 408)


def answered(port: int) -> socket.socket:
    """A connection with one request that was in time; a busy machine may take longer than the server waits."""
    opened: list[socket.socket] = []

    def is_in_time() -> bool:
        opened.append(connect(port))
        opened[-1].sendall(head("GET", "/healthz"))
        return read_answer(opened[-1]).status == 200

    eventually(is_in_time)
    *late, connection = opened
    for each in late:
        each.close()
    return connection


def test_a_client_that_does_not_read_its_response_is_disconnected() -> None:
    ended = threading.Event()

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while (await _soon(receive))["type"] != "http.disconnect":
                await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})
        finally:
            ended.set()

    with listening(endless, ApiSettings(read_timeout_s=0.5)) as client, connect(client.base_url.port) as connection:
        connection.sendall(head("GET", "/"))
        assert ended.wait(120)


async def _soon(receive: Receive) -> dict:
    import asyncio

    try:
        return await asyncio.wait_for(receive(), 0.001)
    except TimeoutError:
        return {"type": "none"}


def test_silent_connections_make_room_for_requests(settings: Settings, writer: Writer) -> None:
    api = {"max_requests": 8, "max_requests_per_client": 4, "read_timeout_s": 300}
    with bounded(settings, **api) as (_, port), ExitStack() as stack:
        silent = [stack.enter_context(connect(port)) for _ in range(200)]
        for _ in range(5):
            assert exchange(port, head("GET", "/healthz")).status == 200
        assert is_closed(silent[0])


def test_one_client_has_its_share_of_requests_and_probes_are_always_answered(
    settings: Settings, writer: Writer
) -> None:
    go_on = threading.Event()

    def slow() -> Models:
        loaded = models(settings)

        def embed(data: bytes) -> object:
            assert go_on.wait(300)
            return loaded.embed(data)

        return replace(loaded, embed=embed)

    start = b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a"\r\n\r\n'
    upload = start + picture_of("cat~1") + b"\r\n--x--\r\n"
    request = (
        head("POST", "/v1/search", "Content-Type: multipart/form-data; boundary=x", f"Content-Length: {len(upload)}")
        + upload
    )
    with bounded(settings, slow, max_requests=8, max_requests_per_client=4) as (_, port), ExitStack() as stack:
        held = {source: [] for source in ("127.0.0.1", "127.0.0.2", "127.0.0.3")}
        try:
            for source in ("127.0.0.1", "127.0.0.2"):
                for _ in range(4):
                    connection = stack.enter_context(connect(port, source=source))
                    connection.sendall(request)
                    held[source].append(connection)
                if source == "127.0.0.1":
                    eventually(lambda: exchange(port, head("GET", "/v1/status")).status == 429)
                    answer = exchange(port, head("GET", "/v1/status"))
                    assert "api.max_requests_per_client" in problem(answer, 429)["detail"]
                    assert answer.headers["retry-after"] == "1"
                    # Other clients are not affected.
                    assert exchange(port, head("GET", "/v1/status"), source="127.0.0.3").status == 200
            eventually(lambda: exchange(port, head("GET", "/v1/status"), source="127.0.0.3").status == 503)
            assert (
                "api.max_requests"
                in problem(exchange(port, head("GET", "/v1/status"), source="127.0.0.3"), 503)["detail"]
            )
            for source in held:
                assert exchange(port, head("GET", "/healthz"), source=source).status == 200
        finally:
            go_on.set()
        assert {read_answer(connection).status for whose in held.values() for connection in whose} == {200}
        assert exchange(port, head("GET", "/v1/status")).status == 200


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (head("POST", "/v1/overrides", JSON, "Content-Length: 5", "Content-Length: 6"), 400),
        (head("POST", "/v1/overrides", JSON, "Content-Length: -1"), 400),
        (head("GET", "http://evil.example/"), 400),
        (head("GET", "/", *(f"X-{n}: x" for n in range(200))), 431),
        (head("GET", "/", "X-Long: " + "x" * 40_000), 431),
        (head("GET", "/v1/images/" + "x" * 9_000), 414),
        (head("GET", "/v1/overrides?after=" + "x" * 9_000), 414),
        (head("CONNECT", "/"), 405),
        (head("TRACE", "/"), 405),
    ],
)
def test_malformed_http_and_oversize_heads_get_problem_documents(bare: int, data: bytes, status: int) -> None:
    problem(exchange(bare, data), status)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server without a store."""
    settings = Settings(home=tmp_path_factory.mktemp("bare"))
    with listening(build_app(settings, lambda: models(settings))) as client:
        yield client.base_url.port


@pytest.mark.parametrize(
    "body", [b"[" * 60_000, b'{"a":' * 10_000, b'{"action": ' + b"[" * 5_000 + b"]" * 5_000 + b"}", b"9" * 60_000]
)
def test_deeply_nested_json_is_answered_400(settings: Settings, writer: Writer, body: bytes) -> None:
    with bounded(settings) as (client, _):
        for path in ("/v1/overrides", "/v1/search", "/v1/pairs"):
            problem_of(client.post(path, content=body, headers={"Content-Type": "application/json"}), 400)


@pytest.mark.parametrize(
    "files",
    [
        [("picture", ("a", b"x")), ("picture", ("b", b"x"))],
        [("other", ("a", b"x"))],
        [("a", (None, b"x"))] * 3,
    ],
)
def test_a_multipart_body_may_have_one_file_only(settings: Settings, writer: Writer, files: list) -> None:
    with bounded(settings) as (client, _):
        problem_of(client.post("/v1/search", files=files), 400)


def test_ipv6_clients_are_counted_by_their_64_bit_network() -> None:
    def of(address: str) -> str:
        return client_of({"client": (address, 1)})

    assert of("192.0.2.1") == of("::ffff:192.0.2.1") == "192.0.2.1"
    assert of("2001:db8::1") == of("2001:db8::ffff:1") == "2001:db8::/64"
    assert of("2001:db8:0:1::1") != of("2001:db8::1")
    assert of("::1") == "::1"
    assert client_of({"client": None}) == ""
