import logging
from pathlib import Path

import httpx
import pytest

from neardup_platform.errors import InvariantBroken
from neardup_platform.serving.reading_routes import ReadingRoutes
from neardup_platform.settings import Settings
from tests.serving.conftest import Writer, serving, wait_for


def problem_of(answer, status: int) -> dict:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert problem["type"] == "about:blank"
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


def test_an_error_of_our_own_is_a_problem_document_without_its_traceback(
    settings: Settings, writer: Writer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(self: ReadingRoutes, limit: int = 20) -> None:
        raise InvariantBroken("member 'x' has no record")

    monkeypatch.setattr(ReadingRoutes, "recent_clusters", fail)
    with serving(settings) as client, caplog.at_level(logging.ERROR):
        problem = problem_of(client.get("/v1/recent-clusters"), 500)
    assert "member 'x'" in problem["detail"]
    assert "member 'x'" in caplog.text


def test_without_a_store_calls_say_503_and_when_to_come_back(settings: Settings) -> None:
    with serving(settings) as client:
        answer = client.get("/v1/images/cat")
        assert int(answer.headers["retry-after"]) >= 1
        assert "has not made its store" in problem_of(answer, 503)["detail"]
        ready = client.get("/readyz")
        assert ready.status_code == 503
        assert not ready.json()["checks"]["store"]["ok"]
        assert client.get("/healthz").json() == {"status": "ok"}
        assert client.get("/metrics").status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[::2]:80"])
def test_a_page_rebound_to_loopback_is_refused(client: httpx.Client, host: str) -> None:
    problem_of(client.get("/v1/status", headers={"Host": host}), 421)


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost", "LOCALHOST:99", "[::1]:80"])
def test_loopback_names_are_accepted(client: httpx.Client, host: str) -> None:
    assert client.get("/v1/status", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs", "/v1/status", "/nothing", "/static/explorer.js"])
def test_every_answer_forbids_other_hosts(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_the_pages_name_no_other_host() -> None:
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
        "/v1/images/{image_id}/explanation",
        "/v1/images/{image_id}/history",
        "/v1/images/{image_id}/picture",
        "/v1/clusters/{head}",
        "/v1/clusters/{head}/members",
        "/v1/recent-clusters",
        "/v1/overrides",
        "/v1/overrides/{override_id}",
        "/v1/promotions",
        "/v1/search",
        "/v1/status",
        "/healthz",
        "/readyz",
        "/metrics",
    }
    assert "422" not in str(document)
    assert "multipart/form-data" in document["paths"]["/v1/search"]["post"]["requestBody"]["content"]
    assert "Problem" in document["components"]["schemas"]
    page = wait_for(client, "/docs", lambda answer: answer.status_code == 200)
    assert "docs.js" in page.text
