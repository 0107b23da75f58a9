"""Claims about the rate limit and the queue of searches."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from neardup_platform.serving.app import build_app
from neardup_platform.serving.search_corpus import Models
from neardup_platform.settings import Settings
from neardup_platform.testing import eventually
from tests.serving.conftest import LSH_DIM, PAIR_DIM, Writer, listening, models, picture_of, wait_for

VECTORS = {"lsh": [1.0] * LSH_DIM, "pair": [1.0] * PAIR_DIM}


@contextmanager
def limited(
    settings: Settings, embed_waits_for: threading.Event | None = None, **terms: float
) -> Iterator[httpx.Client]:
    """A server with limits on its searches; its embedder waits for an event, if given."""

    def load() -> Models:
        loaded = models(settings)
        if embed_waits_for is None:
            return loaded

        def embed(pixels: NDArray[np.uint8]) -> object:
            assert embed_waits_for.wait(300)
            return loaded.embed(pixels)

        return replace(loaded, embed=embed)

    settings = settings.model_copy(update={"terms": settings.terms.model_copy(update=terms)})
    with listening(build_app(settings, load)) as client:
        wait_for(client, "/readyz", lambda answer: answer.json()["search"]["ok"])
        yield client


def metric(client: httpx.Client, name: str) -> float:
    return float(client.get("/metrics").text.partition(f"\n{name} ")[2].split()[0])


def test_a_search_over_the_rate_is_answered_429_with_retry_after(settings: Settings, writer: Writer) -> None:
    with limited(settings, max_queries_per_s=0.02) as client:
        assert client.post("/v1/search", json=VECTORS).status_code == 200
        for send in ({"json": VECTORS}, {"files": {"picture": ("x.jpg", b"x" * 10_000)}}):
            refused = client.post("/v1/search", **send)
            assert refused.status_code == 429
            assert refused.headers["content-type"] == "application/problem+json"
            assert 10 <= int(refused.headers["retry-after"]) <= 50
            problem = refused.json()
            assert (problem["status"], problem["title"]) == (429, "Too Many Requests")
            assert "terms.max_queries_per_s" in problem["detail"]
        assert metric(client, "neardup_api_searches_total") == 1
        assert metric(client, "neardup_api_searches_refused_total") == 2
        assert client.get("/v1/status").status_code == 200


def test_a_retry_after_the_given_seconds_succeeds(settings: Settings, writer: Writer) -> None:
    with limited(settings, max_queries_per_s=1.0) as client:
        answers: list[httpx.Response] = []

        def refused_for_its_rate() -> bool:
            answers.append(client.post("/v1/search", json=VECTORS))
            return answers[-1].status_code == 429

        # A busy machine may ask less than once a second.
        eventually(refused_for_its_rate)
        *accepted, refused = answers
        assert {answer.status_code for answer in accepted} == {200}
        threading.Event().wait(int(refused.headers["retry-after"]))
        assert client.post("/v1/search", json=VECTORS).status_code == 200


def test_a_search_beyond_the_queue_is_answered_503_and_waiting_ones_succeed(settings: Settings, writer: Writer) -> None:
    """One search runs, two wait for it, and the fourth is refused."""
    go_on = threading.Event()
    answers: list[int] = []
    with limited(settings, go_on, max_waiting_queries=2) as client:
        searches = [threading.Thread(target=lambda: answers.append(_picture(client).status_code)) for _ in range(3)]
        for number, search in enumerate(searches):
            search.start()
            running, waiting = min(number + 1, 1), max(0, number)
            wait_for(
                client,
                "/metrics",
                lambda _, running=running, waiting=waiting: (
                    metric(client, "neardup_api_searches_total") == running
                    and metric(client, "neardup_api_searches_waiting") == waiting
                ),
            )
        refused = _picture(client)
        assert refused.status_code == 503
        assert refused.headers["content-type"] == "application/problem+json"
        assert int(refused.headers["retry-after"]) >= 1
        assert "terms.max_waiting_queries" in refused.json()["detail"]
        go_on.set()
        for search in searches:
            search.join()
        assert answers == [200, 200, 200]
        assert metric(client, "neardup_api_searches_waiting") == 0
        assert metric(client, "neardup_api_searches_total") == 3
        assert metric(client, "neardup_api_searches_waited_seconds_total") > 0


@pytest.mark.parametrize("body", [b"{", b'{"lsh": [1.0]}'])
def test_a_search_refused_for_its_body_leaves_the_queue(settings: Settings, writer: Writer, body: bytes) -> None:
    with limited(settings, max_waiting_queries=1) as client:
        for _ in range(3):
            answer = client.post("/v1/search", content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code == 400
        assert metric(client, "neardup_api_searches_waiting") == 0
        assert client.post("/v1/search", json=VECTORS).status_code == 200


def _picture(client: httpx.Client) -> httpx.Response:
    return client.post("/v1/search", files={"picture": ("x.jpg", picture_of("cat~1"))})
