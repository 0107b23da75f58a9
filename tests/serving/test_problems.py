"""Claims about problem documents, methods and the OpenAPI document."""

import logging
import re
from pathlib import Path

import httpx
import pytest

from neardup_platform.errors import InvariantBroken
from neardup_platform.serving.calls import required_scope
from neardup_platform.serving.listing_routes import ListingRoutes
from neardup_platform.serving.problem_types import TYPES, type_of
from neardup_platform.settings import Settings
from tests.serving.conftest import Writer, serving, wait_for


@pytest.fixture
def client(unchanged: httpx.Client) -> httpx.Client:
    return unchanged


def problem_of(answer, status: int) -> dict:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert problem["type"] == type_of(status) != "about:blank"
    return problem


def test_an_unknown_image_is_a_problem_document(client: httpx.Client) -> None:
    problem = problem_of(client.get("/v1/images/nobody"), 404)
    assert "'nobody' has not been decided" in problem["detail"]
    assert problem["instance"] == "/v1/images/nobody"


@pytest.mark.parametrize("path", ["/nothing", "/v1", "/v1/images", "/static/nothing.js", "/static/..%2fapp.py"])
def test_an_unknown_path_is_a_problem_document(client: httpx.Client, path: str) -> None:
    problem_of(client.get(path), 404)


def test_a_wrong_method_is_a_problem_document(client: httpx.Client) -> None:
    answer = client.delete("/v1/status")
    problem_of(answer, 405)
    assert "GET" in answer.headers["allow"]


def test_an_internal_error_is_a_problem_document_without_its_traceback(
    settings: Settings, writer: Writer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(self: ListingRoutes, limit: int = 20) -> None:
        raise InvariantBroken("member 'x' has no record")

    monkeypatch.setattr(ListingRoutes, "recent_clusters", fail)
    with serving(settings) as client, caplog.at_level(logging.ERROR):
        problem = problem_of(client.get("/v1/recent-clusters"), 500)
    assert "member 'x'" in problem["detail"]
    assert "member 'x'" in caplog.text


def test_without_a_store_calls_are_answered_503_with_retry_after(settings: Settings) -> None:
    with serving(settings) as client:
        answer = client.get("/v1/images/cat")
        assert int(answer.headers["retry-after"]) >= 1
        assert "has not created its store" in problem_of(answer, 503)["detail"]
        ready = client.get("/readyz")
        assert ready.status_code == 503
        assert not ready.json()["checks"]["store"]["ok"]
        assert client.get("/healthz").json() == {"status": "ok"}
        assert client.get("/metrics").status_code == 200


GET_ONLY, CHANGED_TOO = "GET, HEAD, OPTIONS", "GET, DELETE, HEAD, OPTIONS"
ALLOWED = [
    ("/", GET_ONLY),
    ("/docs", GET_ONLY),
    ("/docs/problems", GET_ONLY),
    ("/openapi.json", GET_ONLY),
    ("/static/explorer.js", GET_ONLY),
    ("/healthz", GET_ONLY),
    ("/readyz", GET_ONLY),
    ("/metrics", GET_ONLY),
    ("/v1/status", GET_ONLY),
    ("/v1/promotions", GET_ONLY),
    ("/v1/recent-clusters", GET_ONLY),
    ("/v1/reports/day/2025-11-26", GET_ONLY),
    ("/v1/clusters", GET_ONLY),
    ("/v1/clusters/cat", GET_ONLY),
    ("/v1/clusters/cat/members", GET_ONLY),
    ("/v1/images/cat", CHANGED_TOO),
    # An id may end like a call.
    ("/v1/images/cat/history", CHANGED_TOO),
    ("/v1/overrides", "GET, POST, HEAD, OPTIONS"),
    ("/v1/overrides/x", "DELETE, OPTIONS"),
    ("/v1/banks", GET_ONLY),
    ("/v1/banks/spam", "GET, POST, HEAD, OPTIONS"),
    ("/v1/banks/spam/cat", "DELETE, OPTIONS"),
    ("/v1/hashes/spam", "GET, POST, HEAD, OPTIONS"),
    ("/v1/hashes/spam/00", "DELETE, OPTIONS"),
    ("/v1/search", "POST, OPTIONS"),
    ("/v1/pairs", "POST, OPTIONS"),
    ("/v1/images:lookup", "POST, OPTIONS"),
]


@pytest.mark.parametrize(("path", "allowed"), ALLOWED)
def test_head_options_and_allow_are_right_on_every_route(client: httpx.Client, path: str, allowed: str) -> None:
    options = client.options(path)
    assert (options.status_code, options.headers["allow"], options.content) == (204, allowed, b"")
    wrong = client.request("PUT", path, json={})
    problem_of(wrong, 405)
    assert wrong.headers["allow"] == allowed
    head = client.head(path)
    assert head.content == b""
    if "GET" in allowed:
        got = client.get(path)
        assert head.status_code == got.status_code
        assert head.headers["content-type"] == got.headers["content-type"]
    else:
        assert (head.status_code, head.headers["allow"]) == (405, allowed)


def test_every_path_of_the_description_is_in_that_list(client: httpx.Client) -> None:
    described = set(client.get("/openapi.json").json()["paths"])
    asked = {
        path.replace("/cat", "/{head}" if "clusters/" in path else "/{image_id}")
        .replace("/x", "/{override_id}")
        .replace("/spam", "/{bank}")
        .replace("/00", "/{pdq}")
        .replace("/day/2025-11-26", "/{kind}/{name}")
        for path, _ in ALLOWED
    }
    assert described - asked == {"/v1/images/{image_id}/explanation", "/v1/images/{image_id}/picture"}


def test_an_unknown_path_has_no_methods(client: httpx.Client) -> None:
    for method in ("OPTIONS", "HEAD", "PUT", "DELETE"):
        answer = client.request(method, "/v1/nothing", headers={"Content-Type": "application/json"})
        assert answer.status_code == 404
        assert "allow" not in answer.headers


def test_every_type_of_problem_is_an_anchor_on_the_page(client: httpx.Client) -> None:
    page = client.get("/docs/problems")
    assert page.headers["content-type"].startswith("text/html")
    for status in TYPES:
        path, _, anchor = type_of(status).partition("#")
        assert path == "/docs/problems"
        assert f'id="{anchor}"' in page.text
    assert type_of(418) == "about:blank"


@pytest.mark.parametrize(
    "path", ["/v1/images/{}", "/v1/clusters/{}", "/v1/clusters/{}/members", "/v1/images/{}/picture"]
)
@pytest.mark.parametrize("raw", ["%00", "a%00b", "%0A", "%7F", "..", "%2e%2e", "%E2%80%AF", "x" * 1_024])
def test_an_id_of_any_characters_is_answered_404_and_never_503(client: httpx.Client, path: str, raw: str) -> None:
    # httpx would resolve dot segments by itself.
    request = client.build_request("GET", "/")
    request.url = request.url.copy_with(raw_path=path.format(raw).encode())
    assert client.send(request).status_code in (400, 404)


@pytest.mark.parametrize("cursor", ["%00", "a%00", "AAAAAAAAAAAAAAAA", "%F0%9F%A6%86"])
def test_a_cursor_of_any_characters_is_answered_400_or_404(client: httpx.Client, cursor: str) -> None:
    assert client.get(f"/v1/clusters/cat/members?cursor={cursor}").status_code in (400, 404)
    assert client.get(f"/v1/overrides?after={cursor}&image_id={cursor}").status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1:1@evil.example", "evil.example@127.0.0.1", "127.0.0.1:1:1"])
def test_a_malformed_host_is_answered_400(client: httpx.Client, host: str) -> None:
    problem_of(client.get("/v1/status", headers={"Host": host}), 400)


def test_forwarded_headers_are_read_only_from_known_proxies(client: httpx.Client) -> None:
    forwarded = {"X-Forwarded-Host": "evil.example", "X-Forwarded-For": "192.0.2.7", "Forwarded": "host=evil.example"}
    assert client.get("/v1/status", headers=forwarded).status_code == 200
    problem_of(client.get("/v1/status", headers={"Host": "evil.example", "X-Forwarded-Host": "127.0.0.1"}), 421)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[::2]:80"])
def test_a_page_rebound_to_loopback_is_refused(client: httpx.Client, host: str) -> None:
    problem_of(client.get("/v1/status", headers={"Host": host}), 421)


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost", "LOCALHOST:99", "[::1]:80"])
def test_loopback_names_are_accepted(client: httpx.Client, host: str) -> None:
    assert client.get("/v1/status", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs", "/v1/status", "/nothing", "/static/explorer.js"])
def test_every_response_forbids_other_hosts(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_the_pages_refer_to_no_other_host() -> None:
    static = Path(__file__).parents[2] / "neardup_platform/serving/static"
    texts = {file.name: file.read_text() for file in static.iterdir()}
    assert {"explorer.html", "explorer.js", "explorer.css", "docs.html", "docs.js"} <= set(texts)
    namespace = "http://www.w3.org/2000/svg"
    for name, text in ((name, text.replace(namespace, "")) for name, text in texts.items()):
        assert "http://" not in text, name
        assert "https://" not in text, name
        assert "innerHTML" not in text, name
        assert "insertAdjacentHTML" not in text, name


def test_openapi_describes_every_call_and_its_problems(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/v1/images/{image_id}",
        "/v1/images:lookup",
        "/v1/images/{image_id}/explanation",
        "/v1/images/{image_id}/history",
        "/v1/images/{image_id}/picture",
        "/v1/clusters",
        "/v1/clusters/{head}",
        "/v1/clusters/{head}/members",
        "/v1/recent-clusters",
        "/v1/reports/{kind}/{name}",
        "/v1/overrides",
        "/v1/overrides/{override_id}",
        "/v1/promotions",
        "/v1/banks",
        "/v1/banks/{bank}",
        "/v1/banks/{bank}/{image_id}",
        "/v1/hashes/{bank}",
        "/v1/hashes/{bank}/{pdq}",
        "/v1/search",
        "/v1/pairs",
        "/v1/status",
        "/healthz",
        "/readyz",
        "/metrics",
    }
    refusing = {
        path for path, calls in document["paths"].items() for call in calls.values() if "422" in call["responses"]
    }
    assert refusing == {"/v1/search", "/v1/pairs"}
    assert "HTTPValidationError" not in str(document)
    assert "multipart/form-data" in document["paths"]["/v1/search"]["post"]["requestBody"]["content"]
    named = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert {"Problem", "PairSide", "Overlap"} <= named <= set(document["components"]["schemas"])
    page = wait_for(client, "/docs", lambda answer: answer.status_code == 200)
    assert "docs.js" in page.text


def test_openapi_documents_scopes_and_refusals_of_each_call(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    (scheme,) = document["components"]["securitySchemes"].values()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    needs = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            scope = required_scope(method.upper(), path)
            needs[method, path] = scope and scope.value
            assert operation["security"] == ([] if scope is None else [{}, {"token": [scope.value]}])
            responses = set(operation["responses"])
            assert "default" in responses
            if scope is not None:
                assert {"401", "403", "429"} <= responses
            if "requestBody" in operation:
                assert {"408", "413", "415"} <= responses
    assert needs["get", "/healthz"] is None
    assert needs["get", "/metrics"] == needs["get", "/v1/images/{image_id}"] == "read"
    assert needs["post", "/v1/search"] == needs["post", "/v1/pairs"] == "search"
    assert needs["post", "/v1/overrides"] == needs["delete", "/v1/overrides/{override_id}"] == "correct"
    assert needs["delete", "/v1/images/{image_id}"] == "admin"
    assert required_scope("POST", "/v1/anything-new") == "admin"
