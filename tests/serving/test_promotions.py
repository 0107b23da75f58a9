"""Claims about how the API follows a promotion that the worker has committed."""

from collections.abc import Callable
from dataclasses import replace

import httpx

from neardup_platform.errors import ServerUnavailable
from neardup_platform.matching import Matching
from neardup_platform.serving.app import build_app
from neardup_platform.serving.search_corpus import Models
from neardup_platform.settings import Settings
from tests.serving.conftest import (
    MATCHING,
    PROMOTED_THRESHOLD,
    Writer,
    listening,
    models,
    serving,
    vectors_of,
    wait_for,
)

PROMOTED = "cosine-2"


def threshold(client: httpx.Client) -> float | None:
    lsh, pair = vectors_of("whale~1")
    answer = client.post("/v1/search", json={"lsh": lsh.tolist(), "pair": pair.tolist()})
    return answer.json().get("threshold")


def until_threshold(client: httpx.Client, wanted: float) -> None:
    wait_for(client, "/healthz", lambda _: threshold(client) == wanted)


def test_search_uses_the_promoted_classifier_and_its_threshold(client: httpx.Client, writer: Writer) -> None:
    until_threshold(client, MATCHING.threshold)
    writer.promote(PROMOTED)
    until_threshold(client, PROMOTED_THRESHOLD)


def test_search_started_after_a_promotion_uses_the_promoted_classifier(settings: Settings, writer: Writer) -> None:
    writer.promote(PROMOTED)
    with serving(settings) as client:
        wait_for(client, "/readyz", lambda answer: "ready" in answer.json()["search"]["detail"])
        assert threshold(client) == PROMOTED_THRESHOLD


def test_status_metrics_and_promotions_name_the_active_classifier(client: httpx.Client, writer: Writer) -> None:
    assert client.get("/v1/status").json()["classifier_version"] == "cosine-1"
    assert client.get("/v1/promotions").json() == {"promotions": []}
    writer.promote(PROMOTED)
    wait_for(client, "/v1/status", lambda answer: answer.json()["classifier_version"] == PROMOTED)
    assert f'neardup_classifier_info{{version="{PROMOTED}"}} 1.0' in client.get("/metrics").text
    writer.promote("cosine-3")
    wait_for(client, "/v1/promotions", lambda answer: len(answer.json()["promotions"]) == 2)
    newest, oldest = client.get("/v1/promotions").json()["promotions"]
    assert (newest["version"], oldest["version"]) == ("cosine-3", PROMOTED)
    assert (oldest["replaced"], oldest["issued_by"], oldest["at_ms"]) == ("cosine-1", "a test", 7)


def test_a_promoted_classifier_that_is_unavailable_is_retried(settings: Settings, writer: Writer) -> None:
    outages = [ServerUnavailable("S3 is away")] * 3

    def flaky(promoted: Callable) -> Callable:
        def load(version: str) -> tuple[object, Matching]:
            if outages:
                raise outages.pop()
            return promoted(version)

        return load

    def load_models() -> Models:
        made = models(settings)
        return replace(made, promoted=flaky(made.promoted))

    writer.promote(PROMOTED)
    with listening(build_app(settings, load_models)) as client:
        wait_for(client, "/readyz", lambda answer: "S3 is away" in answer.json()["search"]["detail"])
        until_threshold(client, PROMOTED_THRESHOLD)


def test_search_uses_the_previous_classifier_while_the_next_is_unavailable(settings: Settings, writer: Writer) -> None:
    def load_models() -> Models:
        def missing(version: str) -> tuple[object, Matching]:
            raise ServerUnavailable("S3 is away")

        return replace(models(settings), promoted=missing)

    with listening(build_app(settings, load_models)) as client:
        until_threshold(client, MATCHING.threshold)
        writer.promote(PROMOTED)
        wait_for(client, "/v1/status", lambda answer: answer.json()["classifier_version"] == PROMOTED)
        for _ in range(5):
            assert threshold(client) == MATCHING.threshold
