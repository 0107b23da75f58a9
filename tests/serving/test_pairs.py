"""Claims about `POST /v1/pairs` and the pairs of an explanation, over a real server and real pictures.

The pair vector of an image is the sketch of its picture; the `lsh` vector depends on the part of its id before `~`.
"""

import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from neardup_platform.images.picture_sketch import sketch_of
from neardup_platform.records import Embedding, JoinedImage, Kind, ModelSpec
from neardup_platform.serving.app import build_app
from neardup_platform.serving.search_corpus import Models
from neardup_platform.settings import ImageSettings, Settings
from neardup_platform.structure.sketch import ENTRIES
from neardup_platform.terms.opening import open_index
from neardup_platform.testing import LSH_DIM, MODELS, CosineScorer, InMemoryWorker, small_term_space
from tests.serving.conftest import MATCHING, Writer, listening, models, seen, vectors_of, wait_for
from tests.serving.test_problems import problem_of
from tests.serving.test_search_limits import limited, metric
from tests.structure.pictures import picture

SKETCHED = {Kind.LSH: MODELS[Kind.LSH], Kind.PAIR: ModelSpec("sketch", ENTRIES)}
WHOLE, CROP, OTHER, PLAIN = "cat~whole", "cat~crop", "dog~1", "plain~1"


def scorer() -> CosineScorer:
    return CosineScorer("cosine-1", MATCHING.threshold, MATCHING.head_threshold, SKETCHED, slice(0, ENTRIES))


def crop_of(image: Image.Image) -> Image.Image:
    width, height = image.size
    return image.crop((width // 4, height // 5, width, height))


PICTURES = {
    WHOLE: picture(0),
    CROP: crop_of(picture(0)),
    OTHER: picture(1),
    PLAIN: Image.new("RGB", (200, 100), "white"),
}


def file_of(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=90)
    return content.getvalue()


def sketched(image: Image.Image) -> NDArray[np.float32]:
    return sketch_of(np.asarray(image.convert("RGB")))


def pictured(settings: Settings) -> Models:
    def embed(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return vectors_of(WHOLE)[0], sketch_of(pixels)

    return replace(
        models(settings),
        scorer=scorer(),
        required_models=SKETCHED,
        embed=embed,
        enough_px=256,
    )


def joined(image_id: str, sketch: NDArray[np.float32], time_ms: int, like: str = "") -> JoinedImage:
    """An image with the `lsh` vector of another, if one is named: then their score is 1."""
    lsh, pair = MODELS[Kind.LSH].version, SKETCHED[Kind.PAIR].version
    return JoinedImage(
        Embedding(image_id, Kind.LSH, lsh, vectors_of(like or image_id)[0], time_ms),
        Embedding(image_id, Kind.PAIR, pair, sketch, time_ms),
    )


def settings_of(folder: Path) -> Settings:
    return Settings(home=folder / "home", api={"refresh_ms": 20, "max_upload_bytes": 300_000})


@contextmanager
def working(settings: Settings) -> Iterator[InMemoryWorker]:
    worker = InMemoryWorker(
        settings.home,
        scorer=scorer(),
        matching=MATCHING,
        open_index=lambda source, folder: open_index(folder, small_term_space(), settings.terms, source),
    )
    with closing(worker.store):
        worker.decide([joined(name, sketched(image), 1_700_000_000_000) for name, image in PICTURES.items()])
        yield worker


@contextmanager
def comparing(settings: Settings) -> Iterator[httpx.Client]:
    with listening(build_app(settings, lambda: pictured(settings)), settings.api) as client:
        wait_for(client, "/readyz", lambda answer: answer.json()["search"]["ok"])
        seen(client, PLAIN)
        yield client


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path)


@pytest.fixture
def worker(settings: Settings) -> Iterator[InMemoryWorker]:
    with working(settings) as worker:
        yield worker


@pytest.fixture
def changing(settings: Settings, worker: InMemoryWorker) -> Iterator[httpx.Client]:
    """The API over the store of `worker`."""
    with comparing(settings) as client:
        yield client


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The API over a store that no test changes."""
    settings = settings_of(tmp_path_factory.mktemp("pairs"))
    with working(settings), comparing(settings) as client:
        yield client


def by_id(a: str, b: str) -> dict[str, Any]:
    return {"a": {"image_id": a}, "b": {"image_id": b}}


def compared(api: httpx.Client, a: str, b: str) -> dict[str, Any]:
    answer = api.post("/v1/pairs", json=by_id(a, b))
    assert answer.status_code == 200, answer.text
    return answer.json()


def posted(api: httpx.Client, **sides: Image.Image | str | bytes) -> httpx.Response:
    files = [
        (name, (None, side) if isinstance(side, str) else ("x", side if isinstance(side, bytes) else file_of(side)))
        for name, side in sides.items()
    ]
    return api.post("/v1/pairs", files=files)


def test_two_images_of_the_store_are_compared_and_located(api: httpx.Client) -> None:
    found = compared(api, CROP, WHOLE)
    assert found["match"]
    assert found["head_match"]
    assert (found["threshold"], found["head_threshold"]) == (MATCHING.threshold, MATCHING.head_threshold)
    assert (found["classifier_version"], found["terms"]) == ("cosine-1", [])
    assert found["score"] == found["first_score"] > 0.9
    assert found["structure"]["state"] == "available"
    overlap = found["structure"]["overlap"]
    assert overlap["relation"] == "a inside b"
    assert np.allclose(overlap["a_in_b"], [[0.25, 0.2], [1, 0.2], [1, 1], [0.25, 1]], atol=0.03)
    assert overlap["b_covered"] == pytest.approx(0.75 * 0.8, abs=0.03)
    assert (found["a"], found["b"]) == ({"image_id": CROP, "picture": None}, {"image_id": WHOLE, "picture": None})


def test_the_order_of_the_sides_changes_no_score_and_exchanges_the_rest(api: httpx.Client) -> None:
    one, other = compared(api, CROP, WHOLE), compared(api, WHOLE, CROP)
    assert one["score"] == other["score"]
    here, there = one["structure"]["overlap"], other["structure"]["overlap"]
    assert there["relation"] == "b inside a"
    assert (here["a_in_b"], here["a_covered"], here["a_aspect"]) == (
        there["b_in_a"],
        there["b_covered"],
        there["b_aspect"],
    )


def test_an_image_and_itself_have_equal_extent_and_no_difference(api: httpx.Client) -> None:
    overlap = compared(api, WHOLE, WHOLE)["structure"]["overlap"]
    assert overlap["relation"] == "equal extent"
    assert (overlap["differing"], overlap["differences"]) == (0, [])


def test_different_images_have_no_relation(api: httpx.Client) -> None:
    found = compared(api, WHOLE, OTHER)
    assert not found["match"]
    assert found["structure"]["overlap"]["relation"] == "none"


def test_pictures_are_compared_with_each_other_and_with_images(api: httpx.Client) -> None:
    both = posted(api, a=PICTURES[CROP], b=PICTURES[WHOLE]).json()
    mixed = posted(api, a=PICTURES[CROP], b=WHOLE).json()
    reverse = posted(api, a=WHOLE, b=PICTURES[CROP]).json()
    assert both["a"] == both["b"] == mixed["a"] == {"image_id": None, "picture": None}
    assert mixed["b"]["image_id"] == reverse["a"]["image_id"] == WHOLE
    for found, relation in ((both, "a inside b"), (mixed, "a inside b"), (reverse, "b inside a")):
        assert found["match"]
        assert found["structure"]["overlap"]["relation"] == relation


def vectors(image: Image.Image | None) -> dict[str, list[float]]:
    sketch = np.zeros(ENTRIES) if image is None else sketched(image)
    return {"lsh": vectors_of(WHOLE)[0].tolist(), "pair": sketch.tolist()}


def test_vectors_are_compared_like_the_pictures_they_come_from(api: httpx.Client) -> None:
    answer = api.post("/v1/pairs", json={"a": vectors(PICTURES[CROP]), "b": {"image_id": WHOLE}})
    stored = compared(api, CROP, WHOLE)
    assert answer.json()["structure"] == stored["structure"]
    assert answer.json()["a"]["image_id"] is None


def test_vectors_without_a_sketch_and_plain_pictures_have_a_score_and_the_reason(api: httpx.Client) -> None:
    without = api.post("/v1/pairs", json={"a": vectors(None), "b": {"image_id": WHOLE}}).json()
    assert without["score"] > 0.9
    assert without["structure"] | {"reason": ""} == {"state": "not available", "reason": "", "overlap": None}
    assert "no sketch" in without["structure"]["reason"]
    assert "texture" in compared(api, PLAIN, PLAIN)["structure"]["reason"]


def test_embeddings_of_ones_own_have_no_structure(client: httpx.Client, writer: Writer) -> None:
    writer.decide(["cat~1", "cat~2"])
    wait_for(client, "/readyz", lambda answer: answer.json()["search"]["ok"])
    seen(client, "cat~2")
    found = compared(client, "cat~1", "cat~2")
    assert found["match"]
    assert found["structure"]["state"] == "not available"
    assert "carry no sketch" in found["structure"]["reason"]
    explained = client.get("/v1/images/cat~2/explanation").json()["structures"]
    assert [(each["image_id"], each["match"], each["head"]) for each in explained] == [("cat~1", True, True)]
    assert explained[0]["structure"] == found["structure"]


def test_a_comparison_changes_nothing(api: httpx.Client) -> None:
    before = api.get("/v1/status").json()
    posted(api, a=PICTURES[CROP], b=PICTURES[OTHER])
    compared(api, WHOLE, OTHER)
    time.sleep(0.3)
    after = api.get("/v1/status").json()
    assert (after["images"], after["state_digest"], after["counters"]) == (
        before["images"],
        before["state_digest"],
        before["counters"],
    )


def test_unknown_and_forgotten_images_are_404_and_named(changing: httpx.Client, worker: InMemoryWorker) -> None:
    assert (
        "'nobody' has not been decided"
        in problem_of(changing.post("/v1/pairs", json=by_id(WHOLE, "nobody")), 404)["detail"]
    )
    assert "'nobody'" in problem_of(posted(changing, a="nobody", b=PICTURES[CROP]), 404)["detail"]
    worker.forget(OTHER)
    wait_for(changing, f"/v1/images/{OTHER}", lambda answer: answer.status_code == 404)
    assert "was forgotten" in problem_of(changing.post("/v1/pairs", json=by_id(OTHER, WHOLE)), 404)["detail"]


GOOD = {"lsh": [1.0] * LSH_DIM, "pair": [1.0] * ENTRIES}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"a": GOOD}, "b: Field required"),
        ({"a": GOOD, "b": {}}, "b: Value error, a side is either image_id, or both lsh and pair"),
        ({"a": GOOD, "b": {"lsh": GOOD["lsh"]}}, "both lsh and pair"),
        ({"a": GOOD, "b": GOOD | {"image_id": WHOLE}}, "either image_id"),
        ({"a": GOOD, "b": {"image_id": ""}}, "b.image_id: Value error, an id has 1 to 512 bytes"),
        ({"a": GOOD, "b": {"image_id": "x" * 513}}, "1 to 512 bytes"),
        ({"a": GOOD, "b": {"image_id": 7}}, "b.image_id"),
        ({"a": GOOD, "b": GOOD, "c": GOOD}, "c: Extra inputs"),
        ({"a": GOOD, "b": {**GOOD, "lsh": [1.0] * 9}}, f"b: bad-dimension: lsh vector of 9 values, {LSH_DIM} expected"),
        ({"a": {**GOOD, "pair": [1.0] * 4}, "b": GOOD}, f"pair vector of 4 values, {ENTRIES} expected"),
        ({"a": {**GOOD, "lsh": [0.0] * LSH_DIM}, "b": GOOD}, "no direction"),
        ({"a": {**GOOD, "lsh": [1e9] * LSH_DIM}, "b": GOOD}, "±60,000 allowed"),
        ([], "object"),
    ],
)
def test_malformed_sides_are_refused_with_the_reason(api: httpx.Client, body: object, said: str) -> None:
    assert said in problem_of(api.post("/v1/pairs", json=body), 400)["detail"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_vectors_that_are_not_finite_are_refused(api: httpx.Client, number: str) -> None:
    body = json.dumps({"a": GOOD, "b": GOOD}).replace("1.0", number, 1)
    problem_of(api.post("/v1/pairs", content=body, headers={"Content-Type": "application/json"}), 400)


def test_a_damaged_or_oversize_picture_is_refused_with_its_side(api: httpx.Client, settings: Settings) -> None:
    assert "picture b" in problem_of(posted(api, a=WHOLE, b=b"no picture"), 400)["detail"]
    assert "picture a" in problem_of(posted(api, a=file_of(PICTURES[CROP])[:900], b=WHOLE), 400)["detail"]
    large = b"x" * (settings.api.max_upload_bytes + 1)
    detail = problem_of(posted(api, a=PICTURES[CROP], b=large), 413)["detail"]
    assert "picture b" in detail
    assert "api.max_upload_bytes" in detail


@pytest.mark.parametrize(
    "files",
    [
        [("a", ("x", b"x"))],
        [("a", ("x", b"x")), ("a", ("y", b"y"))],
        [("a", ("x", b"x")), ("b", ("y", b"y")), ("c", ("z", b"z"))],
        [("a", ("x", b"x")), ("b", ("y", b"y")), ("c", (None, b"z"))],
        [("a", (None, b"")), ("b", ("y", b"y"))],
        [("a", (None, b"x" * 600)), ("b", ("y", b"y"))],
        [("picture", ("x", b"x"))],
    ],
)
def test_a_form_has_one_a_and_one_b(api: httpx.Client, files: list[Any]) -> None:
    problem_of(api.post("/v1/pairs", files=files), 400)


def test_many_pairs_of_pictures_at_once_do_not_wait_for_each_other_forever(
    settings: Settings, worker: InMemoryWorker
) -> None:
    """A request that held a decoder for one picture while it waited for another would block all others."""
    settings = settings.model_copy(update={"images": ImageSettings(decoders=1)})
    with listening(build_app(settings, lambda: pictured(settings)), settings.api) as client:
        wait_for(client, "/readyz", lambda answer: answer.json()["search"]["ok"])
        statuses: list[int] = []
        requests = [
            threading.Thread(
                target=lambda: statuses.append(posted(client, a=PICTURES[CROP], b=PICTURES[WHOLE]).status_code)
            )
            for _ in range(8)
        ]
        for request in requests:
            request.start()
        for request in requests:
            request.join(300)
        assert statuses == [200] * 8
        assert metric(client, "neardup_api_searches_waiting") == 0


def test_pairs_count_as_searches_for_the_rate_limit(settings: Settings, writer: Writer) -> None:
    with limited(settings, max_queries_per_s=0.02) as client:
        problem_of(client.post("/v1/pairs", json=by_id("x", "y")), 404)
        for send in ({"json": by_id("x", "y")}, {"files": {"a": ("x", b"x"), "b": ("x", b"x")}}):
            refused = client.post("/v1/pairs", **send)
            assert problem_of(refused, 429)["title"] == "Too Many Requests"
            assert int(refused.headers["retry-after"]) > 1


def test_until_models_are_loaded_pairs_are_503_and_explanations_say_why_there_is_no_structure(
    settings: Settings, worker: InMemoryWorker
) -> None:
    go_on = threading.Event()

    def slow_models() -> Models:
        go_on.wait(300)
        return pictured(settings)

    with listening(build_app(settings, slow_models)) as client:
        seen(client, CROP)
        assert "warming up" in problem_of(client.post("/v1/pairs", json=by_id(WHOLE, CROP)), 503)["detail"]
        (explained,) = client.get(f"/v1/images/{CROP}/explanation").json()["structures"]
        assert "warming up" in explained["structure"]["reason"]
        go_on.set()
        wait_for(client, "/readyz", lambda answer: answer.json()["search"]["ok"])
        (explained,) = client.get(f"/v1/images/{CROP}/explanation").json()["structures"]
        assert explained["structure"]["overlap"]["relation"] == "a inside b"


def test_an_explanation_locates_the_match_and_the_head(changing: httpx.Client, worker: InMemoryWorker) -> None:
    assert changing.get(f"/v1/images/{WHOLE}/explanation").json()["structures"] == []
    copy = crop_of(PICTURES[CROP])
    worker.decide([joined("cat~crop of crop", sketched(copy), 1_700_000_000_001, like=CROP)])
    seen(changing, "cat~crop%20of%20crop")
    why = changing.get("/v1/images/cat~crop of crop/explanation").json()
    assert [(each["image_id"], each["match"], each["head"]) for each in why["structures"]] == [
        (CROP, True, False),
        (WHOLE, False, True),
    ]
    for other in why["structures"]:
        assert other["structure"] == compared(changing, "cat~crop of crop", other["image_id"])["structure"]
        assert other["structure"]["overlap"]["relation"] == "a inside b"
    assert all(past["structures"] == [] for past in changing.get(f"/v1/images/{CROP}/history").json()["decisions"])


def test_an_explanation_does_not_locate_what_was_embedded_again_or_forgotten(
    changing: httpx.Client, worker: InMemoryWorker
) -> None:
    worker.decide([joined("cat~3", sketched(PICTURES[CROP]), 1_700_000_000_001, like=CROP)])
    worker.re_embed(joined(WHOLE, sketched(PICTURES[OTHER]), 1_700_000_000_002).pair)
    worker.forget(CROP)
    wait_for(changing, f"/v1/images/{CROP}", lambda answer: answer.status_code == 404)
    pairs = changing.get("/v1/images/cat~3/explanation").json()["structures"]
    reasons = {each["image_id"]: each["structure"]["reason"] for each in pairs}
    assert reasons == {
        CROP: f"image '{CROP}' was forgotten since",
        WHOLE: f"image '{WHOLE}' was embedded again since",
    }
    assert all(each["structure"]["state"] == "not available" for each in pairs)
