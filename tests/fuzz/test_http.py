"""Anything sent to the API gets a documented answer, and the process keeps running."""

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.serving.access import credentials
from neardup_platform.serving.authority import parse_authority, parse_origin
from neardup_platform.serving.problem_types import type_of
from neardup_platform.settings import ApiSettings, Settings
from tests.serving.conftest import LSH_DIM, PAIR_DIM, Writer, serving, wait_for
from tests.serving.raw_http import exchange

IDS = ["cat~1", "cat~2", "a/history", "o1", "x"]
# Without surrogates, which no client can encode.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
# JSON can: it has escapes for lone surrogates.
JSON_TEXT = TEXT | st.text(st.characters(exclude_categories=[]), max_size=10)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | JSON_TEXT | st.sampled_from(IDS),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(JSON_TEXT, inner, max_size=5),
    max_leaves=12,
)
NUMBERS = st.floats(width=32) | st.integers() | st.just(1.0)
SIDES = st.fixed_dictionaries(
    {},
    optional={
        "image_id": st.sampled_from(IDS) | JSON_VALUES,
        "lsh": st.just([1.0] * LSH_DIM) | JSON_VALUES,
        "pair": st.just([1.0] * PAIR_DIM) | JSON_VALUES,
    },
)
_TERMS = {"policy": st.just("p") | JSON_VALUES, "action": st.just("block") | JSON_VALUES}
BODIES = {
    "/v1/banks/{bank}": st.fixed_dictionaries({"image_id": st.sampled_from(IDS) | JSON_VALUES, **_TERMS}),
    "/v1/hashes/{bank}": st.fixed_dictionaries(
        {"hashes": st.lists(st.text("09af", min_size=63, max_size=65), max_size=3) | JSON_VALUES, **_TERMS}
    ),
    "/v1/overrides": st.fixed_dictionaries(
        {
            "action": st.sampled_from(["move", "alone", "forbid"]) | JSON_VALUES,
            "image_id": st.sampled_from(IDS) | JSON_VALUES,
        },
        optional={"other_id": st.sampled_from(IDS) | JSON_VALUES, "reason": JSON_VALUES, "issued_by": JSON_VALUES},
    ),
    "/v1/search": st.fixed_dictionaries(
        {
            "lsh": st.lists(NUMBERS, max_size=3) | st.lists(NUMBERS, min_size=LSH_DIM, max_size=LSH_DIM) | JSON_VALUES,
            "pair": st.lists(NUMBERS, max_size=3) | st.just([1.0] * PAIR_DIM) | JSON_VALUES,
        }
    ),
    "/v1/pairs": st.fixed_dictionaries(
        {side: st.sampled_from(IDS).map(lambda image_id: {"image_id": image_id}) | SIDES for side in ("a", "b")}
    ),
}
MEDIA_TYPES = [
    "application/json",
    "application/json; charset=utf-7",
    "multipart/form-data; boundary=x",
    "text/plain",
    "",
]
HEADER_VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_categories=["Cc"]), max_size=60)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "Accept",
            "Authorization",
            "Content-Encoding",
            "Cookie",
            "Expect",
            "Idempotency-Key",
            "Origin",
            "Range",
            "Sec-Fetch-Site",
            "Upgrade",
            "X-Forwarded-For",
        ]
    ),
    HEADER_VALUES,
    max_size=3,
)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server with a few images and without Kafka, so a valid change is answered with 503, as documented."""
    settings = Settings(home=tmp_path_factory.mktemp("fuzz"), api=ApiSettings(refresh_ms=20, max_upload_bytes=20_000))
    writer = Writer(settings)
    with closing(writer.store):
        writer.decide(["cat~1", "cat~2", "a/history"])
        with serving(settings) as client:
            wait_for(client, "/readyz", lambda answer: answer.json()["search"]["ok"])
            yield client


def check(api: httpx.Client, answer: httpx.Response) -> None:
    """Check what holds for every answer."""
    status = answer.status_code
    assert status < 500 or status == 503, (answer.request.method, answer.request.url, answer.text)
    if status >= 400 and answer.request.method != "HEAD" and answer.request.url.path != "/readyz":
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["status"] == status
        assert problem["type"] == type_of(status) != "about:blank"
        assert problem["detail"]
        assert len(answer.content) < 20_000
    if status == 503:
        assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert api.get("/healthz").status_code == 200


def send(api: httpx.Client, method: str, target: bytes, **options: Any) -> httpx.Response:
    """Send a target unchanged; httpx would normalise it."""
    request = api.build_request(method, "/", **options)
    request.url = request.url.copy_with(raw_path=target)
    return api.send(request)


def _segment(drawn: bytes | str) -> str:
    return quote(drawn, safe="")


def _called(document: dict[str, Any]) -> list[tuple[str, str, list[dict[str, Any]]]]:
    return [
        (path, method, operation.get("parameters", []))
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]


@given(data=st.data())
def test_every_documented_call_with_any_parameters_and_body(api: httpx.Client, data: st.DataObject) -> None:
    called = _called(api.get("/openapi.json").json())
    named, method, parameters = data.draw(st.sampled_from(called))
    path = named
    pieces = st.binary(max_size=30) | TEXT | st.sampled_from(IDS)
    query = {}
    headers = dict(data.draw(HEADERS))
    for parameter in parameters:
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", _segment(data.draw(pieces)))
        elif parameter["in"] == "query" and data.draw(st.booleans()):
            query[parameter["name"]] = data.draw(st.integers().map(str) | TEXT)
    options: dict[str, Any] = {}
    if method in ("post", "put"):
        headers["Content-Type"] = data.draw(st.sampled_from(MEDIA_TYPES) | st.just("application/json"))
        shaped = BODIES.get(named, JSON_VALUES)
        options["content"] = data.draw(shaped.map(json.dumps).map(str.encode) | st.binary(max_size=200))
    target = path + ("?" + "&".join(f"{k}={_segment(v)}" for k, v in query.items()) if query else "")
    encoded = {name.encode(): value.strip().encode("latin-1") for name, value in headers.items()}
    check(api, send(api, method.upper(), target.encode(), headers=encoded, **options))


@given(
    method=st.sampled_from(["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"]),
    path=st.lists(
        st.sampled_from(
            ["v1", "images", "clusters", "overrides", "members", "history", "static", "docs", "..", "%2e", ""]
        )
        | st.binary(max_size=12).map(lambda raw: quote(raw, safe="")),
        max_size=6,
    ),
    query=st.binary(max_size=40).map(lambda raw: quote(raw, safe="&=")),
    body=st.binary(max_size=100),
    media_type=st.sampled_from(MEDIA_TYPES),
)
def test_any_method_path_query_and_body(
    api: httpx.Client, method: str, path: list[str], query: str, body: bytes, media_type: str
) -> None:
    target = f"/{'/'.join(path)}?{query}".encode()
    check(api, send(api, method, target, content=body, headers={"Content-Type": media_type}))


@given(
    start=st.sampled_from(
        [
            b"",
            b"--x\r\n",
            b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a"\r\n\r\n',
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n',
        ]
    ),
    middle=st.lists(
        st.sampled_from(
            [
                b"--x\r\n",
                b"--x--",
                b"\r\n\r\n",
                b"Content-Disposition: form-data",
                b'; name="picture"',
                b'; name="b"',
                b"a: b\r\n",
            ]
        )
        | st.binary(max_size=30),
        max_size=12,
    ),
    path=st.sampled_from(["/v1/search", "/v1/pairs"]),
    declared=st.sampled_from(
        ["x", '"x"', "", "x; charset=utf-16", "y" * 80, "x; charset=idna", "x; charset=undefined", "x; charset=zlib"]
    ),
)
def test_any_multipart_body(api: httpx.Client, start: bytes, middle: list[bytes], path: str, declared: str) -> None:
    headers = {"Content-Type": f"multipart/form-data; boundary={declared}"}
    check(api, api.post(path, content=start + b"".join(middle), headers=headers))


@given(
    lines=st.lists(
        st.sampled_from(
            [b"GET / HTTP/1.1", b"POST /v1/search HTTP/1.1", b"Host: 127.0.0.1", b"Content-Length: 3", b"", b"a: b"]
        )
        | st.binary(max_size=40),
        max_size=8,
    ),
    end=st.sampled_from([b"\r\n", b"\n", b"\r\n\r\n"]),
)
def test_any_bytes_instead_of_a_request(api: httpx.Client, lines: list[bytes], end: bytes) -> None:
    answer = exchange(api.base_url.port, end.join(lines) + b"\r\n\r\n", half_close=True)
    assert answer.status < 500 or answer.status == 503
    if answer.status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
    assert api.get("/healthz").status_code == 200


@given(text=st.text() | st.from_regex(r"[\[\]@:.%0-9a-f]{0,30}"))
def test_hosts_and_origins_are_read_or_refused(text: str) -> None:
    authority = parse_authority(text)
    if authority is not None:
        assert "@" not in text
        again = f"[{authority.host}]" if ":" in authority.host else authority.host
        assert parse_authority(again if authority.port is None else f"{again}:{authority.port}") == authority
    parse_origin(text)
    parse_origin(f"http://{text}")


@given(text=st.text() | st.sampled_from(["Basic ", "Bearer ", "basic"]).flatmap(lambda s: st.text().map(s.__add__)))
def test_credentials_are_a_text_or_none(text: str) -> None:
    assert (credentials(text) is None) == (text == "")


@given(raw=st.binary(max_size=60))
def test_an_id_is_found_under_exactly_one_encoding_of_it(api: httpx.Client, raw: bytes) -> None:
    """An id that is not UTF-8 gets a 400, and is never read as another id."""
    answer = send(api, "GET", b"/v1/images/" + quote(raw, safe="").encode())
    check(api, answer)
    try:
        decoded = unquote_to_bytes(quote(raw, safe="")).decode()
    except UnicodeDecodeError:
        assert answer.status_code == 400
    else:
        assert answer.status_code == (200 if decoded in ("cat~1", "cat~2", "a/history") else 404) or not decoded
