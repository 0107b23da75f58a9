"""The guard alone, in front of an application that answers every request."""

import asyncio
from collections.abc import Sequence

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from neardup_platform.serving.access import BASIC, Access, check_opened, is_exposed, open_scopes
from neardup_platform.serving.authority import Authority, parse_authority, same_origin
from neardup_platform.serving.guard import Guard, Request, Rules
from neardup_platform.serving.tokens import Scope as TokenScope
from neardup_platform.serving.tokens import TokenFile, Tokens
from tests.serving.test_problems import problem_of


async def _anything(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 200 with the body it has read."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def ask(
    rules: Rules, method: str = "GET", path: str = "/v1/x", headers: Sequence[tuple[str, str]] = (), body: bytes = b""
) -> httpx.Response:
    async def answer() -> httpx.Response:
        transport = httpx.ASGITransport(Guard(_anything, rules))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            return await client.request(method, path, headers=list(headers), content=body)

    return asyncio.run(answer())


LOOPBACK = Rules("127.0.0.1", is_page=lambda path: path == "/")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1", "127.0.0.1", None),
        ("127.0.0.1:1", "127.0.0.1", 1),
        ("LocalHost.:99", "localhost", 99),
        ("[::1]", "::1", None),
        ("[0:0:0:0:0:0:0:1]:80", "::1", 80),
        ("a_b-c.example:", "a_b-c.example", None),
    ],
)
def test_a_host_is_normalised(text: str, host: str, port: int | None) -> None:
    assert parse_authority(text) == Authority(host, port)


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1:1@evil.example",
        "evil.example@127.0.0.1",
        "127.0.0.1:1:2",
        "127.0.0.1:x",
        "127.0.0.1:65536",
        "127.0.0.1/",
        "127.0.0.1#x",
        "127.0.0.1 ",
        "127.0.0.1, evil.example",
        "::1",
        "[::1",
        "[::1]x",
        "[127.0.0.1]",
        "[::1%25lo]",
        "localhost..",
        ".",
        "loc\0alhost",
        "localhost\n",
        "lоcalhost",
        "",
    ],
)
def test_malformed_hosts_are_rejected(text: str) -> None:
    assert parse_authority(text) is None


@pytest.mark.parametrize("host", ["127.0.0.1:1@evil.example", "127.0.0.1:1:2", "[::1", "a b"])
def test_an_ambiguous_host_is_answered_400(host: str) -> None:
    problem_of(ask(LOOPBACK, headers=[("Host", host)]), 400)


def test_an_unknown_host_name_is_answered_421() -> None:
    problem_of(ask(LOOPBACK, headers=[("Host", "neardup.example")]), 421)
    assert ask(Rules("127.0.0.1", ("neardup.example",)), headers=[("Host", "NEARDUP.example.:8")]).status_code == 200


@pytest.mark.parametrize("name", ["Host", "Origin", "Authorization", "Content-Type"])
def test_a_repeated_decisive_header_is_refused(name: str) -> None:
    headers = [("Host", "127.0.0.1:8000")] if name != "Host" else []
    problem_of(ask(LOOPBACK, headers=[*headers, (name, "127.0.0.1:8000"), (name, "127.0.0.1:8000")]), 400)


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "http://evil.example",
        "http://127.0.0.1:8001",
        "http://localhost:8000",
        "https://127.0.0.1:8000@evil.example",
        "http://127.0.0.1:8000/",
        "file://",
        "chrome-extension://abc",
        "",
    ],
)
def test_a_page_of_another_origin_is_refused(origin: str) -> None:
    json = ("Content-Type", "application/json")
    problem_of(ask(LOOPBACK, headers=[("Origin", origin)]), 403)
    problem_of(ask(LOOPBACK, "POST", headers=[("Origin", origin), json], body=b"{}"), 403)


def test_a_page_of_the_server_itself_is_accepted() -> None:
    assert ask(LOOPBACK, headers=[("Origin", "http://127.0.0.1:8000"), ("Sec-Fetch-Site", "same-origin")]).is_success
    assert same_origin("https://neardup.example", Authority("neardup.example", None))
    assert same_origin("https://neardup.example:443", Authority("neardup.example", None))
    assert not same_origin("https://neardup.example:444", Authority("neardup.example", None))
    behind_proxy = Rules("127.0.0.1", ("neardup.example",))
    assert ask(behind_proxy, headers=[("Origin", "https://neardup.example")]).is_success


@pytest.mark.parametrize("site", ["cross-site", "same-site", "nonsense"])
def test_other_sites_may_only_link_to_pages(
    site: str,
) -> None:
    fetched, followed = ("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Mode", "navigate")
    problem_of(ask(LOOPBACK, path="/", headers=[("Sec-Fetch-Site", site), fetched]), 403)
    problem_of(ask(LOOPBACK, path="/v1/x", headers=[("Sec-Fetch-Site", site), followed]), 403)
    assert ask(LOOPBACK, path="/", headers=[("Sec-Fetch-Site", site), followed]).is_success
    json = ("Content-Type", "application/json")
    problem_of(ask(LOOPBACK, "POST", "/", [("Sec-Fetch-Site", site), followed, json], b"{}"), 403)


@pytest.mark.parametrize("sent", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x"])
def test_media_types_that_forms_can_send_are_refused(sent: str | None) -> None:
    headers = [] if sent is None else [("Content-Type", sent)]
    problem_of(ask(LOOPBACK, "POST", headers=headers, body=b"{}"), 415)
    assert ask(LOOPBACK, "POST", headers=[("Content-Type", "Application/JSON; charset=utf-8")], body=b"{}").is_success


def test_a_refused_body_is_not_read_and_a_long_one_closes_the_connection() -> None:
    async def refused(headers: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
        sent: list[dict] = []

        async def receive() -> dict:
            raise AssertionError("the body was read")

        async def send(message: dict) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/", "raw_path": b"/", "headers": headers}
        await Guard(_anything, LOOPBACK)(scope, receive, send)
        assert sent[0]["status"] in (403, 415)
        return dict(sent[0]["headers"])

    host = (b"host", b"127.0.0.1")
    for more in ([(b"origin", b"null")], [(b"content-type", b"text/plain")]):
        for body, closes in (
            ([], False),
            ([(b"content-length", b"9")], False),
            ([(b"content-length", b"300000000")], True),
        ):
            assert (b"connection" in asyncio.run(refused([host, *more, *body]))) == closes
        assert asyncio.run(refused([host, *more, (b"transfer-encoding", b"chunked")]))[b"connection"] == b"close"


@pytest.mark.parametrize(
    ("headers", "let_in"),
    [
        ([(b"host", b"127.0.0.1:8000")], True),
        ([(b"host", b"127.0.0.1:8000"), (b"origin", b"http://127.0.0.1:8000")], True),
        ([(b"host", b"127.0.0.1:8000"), (b"origin", b"http://evil.example")], False),
        ([(b"host", b"127.0.0.1:8000"), (b"origin", b"null")], False),
        ([(b"host", b"evil.example:8000"), (b"origin", b"http://evil.example:8000")], False),
    ],
)
def test_a_websocket_of_another_origin_is_refused(headers: list[tuple[bytes, bytes]], let_in: bool) -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append("app")

    async def send(message: dict) -> None:
        seen.append(message["type"])

    scope = {"type": "websocket", "path": "/graphql", "raw_path": b"/graphql", "headers": headers}
    asyncio.run(Guard(app, LOOPBACK)(scope, None, send))
    assert seen == (["app"] if let_in else ["websocket.close"])


def _door(tmp_path, *, exposed: bool, public_read: bool = False, challenge: str = BASIC) -> Rules:
    tokens = Tokens(tmp_path)
    access = Access(
        tokens,
        lambda request: {"GET": TokenScope.READ, "POST": TokenScope.SEARCH}.get(request.method, TokenScope.ADMIN),
        lambda: open_scopes(tokens, exposed=exposed, public_read=public_read),
        challenge,
    )
    return Rules("127.0.0.1", check=access)


JSON = ("Content-Type", "application/json")


def statuses(rules: Rules, *authorization: str) -> list[int]:
    headers = [JSON, *(("Authorization", text) for text in authorization)]
    return [ask(rules, method, headers=headers).status_code for method in ("GET", "POST", "DELETE")]


def test_on_loopback_every_call_is_open_until_a_token_exists_and_then_only_questions(tmp_path) -> None:
    rules = _door(tmp_path, exposed=False)
    assert statuses(rules) == [200, 200, 200]
    text = TokenFile(tmp_path).create("ops", [TokenScope.ADMIN])
    assert statuses(rules) == [200, 200, 401]
    assert statuses(rules, f"Bearer {text}") == [200, 200, 200]
    assert statuses(rules, "Bearer wrong") == [401, 401, 401]
    TokenFile(tmp_path).revoke("ops")
    assert statuses(rules, f"Bearer {text}") == [401, 401, 401]


def test_beyond_loopback_every_call_needs_a_token_unless_reading_is_public(tmp_path) -> None:
    text = TokenFile(tmp_path).create("reader", [TokenScope.READ])
    assert statuses(_door(tmp_path, exposed=True)) == [401, 401, 401]
    assert statuses(_door(tmp_path, exposed=True), f"bearer {text}") == [200, 403, 403]
    assert statuses(_door(tmp_path, exposed=True, public_read=True)) == [200, 401, 401]
    for wrong in ("Bearer", "Bearer ", "Basic", "Basic Og==", "Basic !!", "Digest x", text):
        assert statuses(_door(tmp_path, exposed=True), wrong) == [401, 401, 401], wrong


def test_a_damaged_token_file_refuses_every_call_that_needs_a_token(tmp_path) -> None:
    text = TokenFile(tmp_path).create("ops", [TokenScope.ADMIN])
    rules = _door(tmp_path, exposed=False)
    (tmp_path / "tokens.json").write_text("{")
    for authorization in ((), (f"Bearer {text}",)):
        assert statuses(rules, *authorization) == [503, 503, 503]


def test_a_browser_is_asked_for_the_token_as_a_password(tmp_path) -> None:
    text = TokenFile(tmp_path).create("ops", [TokenScope.ADMIN])
    rules = _door(tmp_path, exposed=True)
    assert ask(rules).headers["www-authenticate"].startswith("Basic ")
    basic = httpx.Request("GET", "http://x", headers={}) and httpx.BasicAuth("anyone", text)
    request = next(basic.auth_flow(httpx.Request("GET", "http://x")))
    assert statuses(rules, request.headers["authorization"]) == [200, 200, 200]


@pytest.mark.parametrize(
    ("host", "names", "proxies"),
    [("0.0.0.0", (), ()), ("127.0.0.1", ("a.example",), ()), ("::1", (), ("127.0.0.1",))],  # noqa: S104
)
def test_a_server_beyond_loopback_does_not_start_without_a_token(tmp_path, host: str, names, proxies) -> None:
    exposed = is_exposed(host, names, proxies)
    with pytest.raises(Exception, match=r"set api\.token .*token create"):
        check_opened(Tokens(tmp_path), exposed=exposed, setting="api", host=host)
    TokenFile(tmp_path).create("ops", [TokenScope.READ])
    check_opened(Tokens(tmp_path), exposed=exposed, setting="api", host=host)
    assert not is_exposed("127.0.0.1")


def test_the_rules_see_the_path_as_sent() -> None:
    seen: list[Request] = []
    ask(Rules("127.0.0.1", check=seen.append), path="/v1/images/a%2Fb")
    assert seen[0].path == "/v1/images/a%2Fb"
