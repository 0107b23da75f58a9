"""Claims about search by example, over a real server."""

import json
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest

from neardup_platform.client import Client
from neardup_platform.errors import InvalidRequest
from neardup_platform.serving.app import build_app
from neardup_platform.serving.search_corpus import Models
from neardup_platform.settings import Settings
from neardup_platform.store.writer import Batch
from neardup_platform.testing import eventually
from tests.growing_chain import growing_chain
from tests.serving.conftest import (
    LSH_DIM,
    PAIR_DIM,
    Writer,
    listening,
    models,
    picture_of,
    seen,
    serving,
    vectors_of,
    wait_for,
)


@pytest.fixture
def searchable(client: httpx.Client, writer: Writer) -> httpx.Client:
    writer.decide(["cat~1", "dog~1", "cat~2", "bird~1", "cat~3"])
    seen(client, "cat~3")
    wait_until_searched(client, 5)
    return client


def wait_until_searched(client: httpx.Client, images: int) -> None:
    eventually(lambda: search(client, "any").get("images_searched") == images)


def search(client: httpx.Client, image_id: str) -> dict:
    """The vectors of an image that is not in the store, unless its id is."""
    lsh, pair = vectors_of(image_id)
    return client.post("/v1/search", json={"lsh": lsh.tolist(), "pair": pair.tolist()}).json()


def test_vectors_seen_before_find_their_cluster_best_match_first(searchable: httpx.Client) -> None:
    found = search(searchable, "cat~9")
    assert found["seen_before"]
    assert found["cluster"] == "cat~1"
    assert {match["image_id"] for match in found["matches"]} == {"cat~1", "cat~2", "cat~3"}
    scores = [match["score"] for match in found["matches"]]
    assert scores == sorted(scores, reverse=True)
    assert found["score"] == scores[0]
    assert found["head_score"] >= found["head_threshold"]
    assert all(match["head"] == "cat~1" and match["overlap"] >= 1 for match in found["matches"])
    assert found["images_searched"] == 5
    assert set(found["stage_ms"]) == {"terms", "search", "score"}


def test_unknown_vectors_have_no_cluster(searchable: httpx.Client) -> None:
    found = search(searchable, "whale~1")
    assert not found["seen_before"]
    assert found["cluster"] is None
    assert found["matches"] == []
    assert found["score"] == found["head_score"] == 0


def test_a_search_finds_what_the_worker_would_decide(searchable: httpx.Client, writer: Writer) -> None:
    found = search(searchable, "dog~7")
    writer.decide(["dog~7"])
    seen(searchable, "dog~7")
    why = searchable.get("/v1/images/dog~7/explanation").json()
    assert (found["cluster"], found["score"], found["head_score"]) == (why["head"], why["score"], why["head_score"])


def test_a_stored_image_is_searched_for_among_all_others(searchable: httpx.Client) -> None:
    def by_id(image_id: str) -> httpx.Response:
        return searchable.post("/v1/search", json={"image_id": image_id})

    for image_id, others in {"cat~2": {"cat~1", "cat~3"}, "cat~1": {"cat~2", "cat~3"}}.items():
        found = by_id(image_id).json()
        assert found["cluster"] == "cat~1", "a head stays with its members"
        assert {match["image_id"] for match in found["matches"]} == others
    assert by_id("dog~1").json()["cluster"] is None
    assert by_id("whale~1").status_code == 404
    both = searchable.post("/v1/search", json={"image_id": "cat~1", "lsh": [1.0], "pair": [1.0]})
    assert both.status_code == 400
    assert "either image_id, or both" in both.text
    with Client(str(searchable.base_url)) as client:
        assert client.search(image_id="cat~3").cluster == "cat~1"
        with pytest.raises(InvalidRequest, match="needs one of"):
            client.search(lsh=[1.0], pair=[1.0], image_id="cat~1")


def test_an_image_held_apart_is_found_looked_up_and_explained_with_its_guard(
    client: httpx.Client, writer: Writer
) -> None:
    *before, newest = growing_chain(7)
    writer.worker.decide(before)
    seen(client, before[-1].image_id)
    wait_until_searched(client, 8)
    body = {"lsh": newest.lsh.vector.tolist(), "pair": newest.pair.vector.tolist()}
    found = client.post("/v1/search", json=body).json()
    assert found["seen_before"]
    assert found["cluster"] is None
    assert all(match["score"] >= found["threshold"] for match in found["matches"])

    writer.worker.decide([newest])
    seen(client, newest.image_id)
    image = client.get(f"/v1/images/{newest.image_id}").json()
    assert (image["head"], image["held_apart"]) == (newest.image_id, True)
    assert not client.get(f"/v1/images/{before[-1].image_id}").json()["held_apart"]
    why = client.get(f"/v1/images/{newest.image_id}/explanation").json()
    assert why["guard"] == found["guard"]
    assert (why["guard"]["reason"], why["guard"]["head"], why["guard"]["size"]) == ("chain-suspected", "head", 8)
    assert "Held apart from the cluster of head" in why["summary"]
    assert why["bridges"] == ["head"]


def test_an_undistinctive_image_is_found_looked_up_and_explained_as_such(client: httpx.Client, writer: Writer) -> None:
    writer.decide([*(f"{name}~1" for name in "abcdefgh")])
    seen(client, "h~1")
    wait_until_searched(client, 8)
    found = set()
    for name in "abcdefgh":
        plain = bool(vectors_of(f"{name}~1")[0][0] < 0)
        image, why = client.get(f"/v1/images/{name}~1").json(), client.get(f"/v1/images/{name}~1/explanation").json()
        assert image["undistinctive"] == why["undistinctive"] == search(client, f"{name}~1")["undistinctive"] == plain
        assert ("undistinctive" in why["summary"]) == plain
        found.add((plain, why["corpus_images"]))
    assert {plain for plain, _ in found} == {False, True}
    assert {images for _, images in found} == set(range(8))


def test_a_picture_is_embedded_and_found(searchable: httpx.Client) -> None:
    answer = searchable.post("/v1/search", files={"picture": ("x.jpg", picture_of("cat~5"))})
    assert answer.status_code == 200
    assert answer.json()["cluster"] == "cat~1"
    assert set(answer.json()["stage_ms"]) == {"decode", "embed", "terms", "search", "score"}


def test_a_search_changes_nothing(searchable: httpx.Client, writer: Writer) -> None:
    before = searchable.get("/v1/status").json()["state_digest"]
    search(searchable, "cat~9")
    time.sleep(0.3)
    status = searchable.get("/v1/status").json()
    assert (status["images"], status["state_digest"]) == (5, before)
    assert search(searchable, "cat~9")["images_searched"] == 5
    assert searchable.get("/v1/images/cat~9").status_code == 404


def test_an_image_is_found_once_it_is_decided_and_not_before(searchable: httpx.Client, writer: Writer) -> None:
    assert search(searchable, "whale~2")["cluster"] is None
    writer.decide(["whale~1"])
    wait_until_searched(searchable, 6)
    assert search(searchable, "whale~2")["cluster"] == "whale~1"


GOOD = {"lsh": [1.0] * LSH_DIM, "pair": [1.0] * PAIR_DIM}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({**GOOD, "lsh": [1.0] * (LSH_DIM - 1)}, f"lsh vector of {LSH_DIM - 1} values, {LSH_DIM} expected"),
        ({**GOOD, "pair": [1.0] * 9}, f"pair vector of 9 values, {PAIR_DIM} expected"),
        ({**GOOD, "lsh": [0.0] * LSH_DIM}, "no direction"),
        ({**GOOD, "lsh": [1e-30] * LSH_DIM}, "no direction"),
        ({**GOOD, "lsh": [1e9] * LSH_DIM}, "±60,000 allowed"),
        ({**GOOD, "lsh": []}, "lsh"),
        ({**GOOD, "lsh": ["x"]}, "lsh.0"),
        ({"lsh": [1.0]}, "pair"),
        ({**GOOD, "more": 1}, "more"),
        ([], "object"),
    ],
)
def test_malformed_vectors_are_refused_with_the_reason(unchanged: httpx.Client, body: object, said: str) -> None:
    answer = unchanged.post("/v1/search", json=body)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert said in answer.json()["detail"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_vectors_that_are_not_finite_are_refused(unchanged: httpx.Client, number: str) -> None:
    body = json.dumps(GOOD).replace("1.0", number, 1)
    answer = unchanged.post("/v1/search", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("content_type", "content", "status"),
    [
        ("application/json", b"{", 400),
        ("application/json", b"\xff", 400),
        ("multipart/form-data", b"x", 400),
        ("multipart/form-data; boundary=b", b"x", 400),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\n", 400),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="picture"\r\n\r\nx\r\n--b--',
            400,
        ),
        ("text/plain", b"x", 415),
        ("", b"x", 415),
    ],
)
def test_damaged_bodies_get_problem_documents(
    unchanged: httpx.Client, content_type: str, content: bytes, status: int
) -> None:
    answer = unchanged.post("/v1/search", content=content, headers={"Content-Type": content_type})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_second_picture_in_one_upload_is_refused(unchanged: httpx.Client) -> None:
    files = [("picture", ("a", b"x")), ("picture", ("b", b"y"))]
    assert unchanged.post("/v1/search", files=files).status_code == 400


@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data; boundary=b"])
def test_an_oversize_upload_is_refused_before_it_is_read(unchanged: httpx.Client, content_type: str) -> None:
    """The declared length alone refuses it: not one byte of the body is sent."""
    with socket.create_connection((unchanged.base_url.host, unchanged.base_url.port), timeout=60) as connection:
        connection.sendall(
            b"POST /v1/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: "
            + content_type.encode()
            + b"\r\nContent-Length: 99999999\r\n\r\n"
        )
        assert b" 413 " in connection.recv(4_096).partition(b"\r\n")[0]


def test_an_oversize_upload_of_unknown_length_is_refused_while_it_is_read(
    searchable: httpx.Client, settings: Settings
) -> None:
    sent = 0

    def endless() -> object:
        nonlocal sent
        yield b'--b\r\nContent-Disposition: form-data; name="picture"; filename="x"\r\n\r\n'
        while sent < 1_000 * settings.api.max_upload_bytes:
            sent += 10_000
            yield b"x" * 10_000

    try:
        answer = searchable.post(
            "/v1/search", content=endless(), headers={"Content-Type": "multipart/form-data; boundary=b"}
        )
        assert answer.status_code == 413
    except httpx.TransportError:
        pass  # the server answered and closed while the rest was still being sent
    assert sent < 500 * settings.api.max_upload_bytes
    assert searchable.get("/healthz").status_code == 200


def test_until_models_are_loaded_search_is_503_with_retry_after_and_other_calls_work(
    settings: Settings, writer: Writer
) -> None:
    go_on = threading.Event()

    def slow_models() -> Models:
        go_on.wait(300)
        return models(settings)

    with listening(build_app(settings, slow_models)) as client:
        answer = client.post("/v1/search", json=GOOD)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert "warming up" in answer.json()["detail"]
        wait_for(client, "/readyz", lambda answer: answer.status_code == 200)
        assert not client.get("/readyz").json()["search"]["ok"]
        go_on.set()
        wait_for(client, "/readyz", lambda answer: answer.json()["search"]["ok"])
        assert client.post("/v1/search", json=GOOD).status_code == 200


def test_a_model_that_cannot_be_loaded_disables_search_with_the_reason(settings: Settings, writer: Writer) -> None:
    settings = settings.model_copy(
        update={"scoring": settings.scoring.model_copy(update={"model": Path("/nowhere/classifier")})}
    )
    from neardup_platform.serving.keras_models import load_models

    with listening(build_app(settings, lambda: load_models(settings))) as client:
        answer = wait_for(client, "/readyz", lambda answer: "is off" in answer.json()["search"]["detail"])
        assert "/nowhere/classifier" in answer.json()["search"]["detail"]
        assert client.post("/v1/search", json=GOOD).status_code == 503
        assert client.get("/v1/status").status_code == 200


def test_a_store_of_another_term_space_disables_search(settings: Settings, writer: Writer) -> None:
    writer.decide(["cat"])
    state = writer.store.state()
    state.terms_version = "another"
    batch = Batch()
    batch.put_state(state)
    writer.store.write(batch)
    with serving(settings) as client:
        answer = wait_for(client, "/readyz", lambda answer: "is off" in answer.json()["search"]["detail"])
        assert "terms of another" in answer.json()["search"]["detail"]
