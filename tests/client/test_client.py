"""Claims about both clients against the real API."""

import io
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter

from neardup_platform import InvalidRequest, NotFound
from neardup_platform.client import answers
from neardup_platform.serving.answers import changes, clusters, explanations, health, images, pairs, searches
from tests.client.conftest import opened
from tests.growing_chain import FIRST_HELD_APART, growing_chain
from tests.serving.conftest import Writer, client, knowing, picture_of, seen, settings, vectors_of, writer

__all__ = ["client", "settings", "writer"]

CATS = ["cat~1", "cat~2", "cat~3", "cat~4"]


IMAGES = [*CATS, "dog~1", "a/b c?~1"]


@pytest.fixture(scope="module")
def read_only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server for the tests that change nothing."""
    with knowing(tmp_path_factory.mktemp("clients"), IMAGES) as client:
        yield client


@pytest.fixture
def api(kind: str, read_only: httpx.Client) -> Iterator[Any]:
    with opened(kind, str(read_only.base_url)) as api:
        yield api


@pytest.fixture
def changing(kind: str, client: httpx.Client, writer: Writer) -> Iterator[Any]:
    """The same over the store of `writer`."""
    writer.decide(IMAGES)
    seen(client, "a%2Fb%20c%3F~1")
    with opened(kind, str(client.base_url)) as api:
        yield api


def test_lookup_returns_the_head_of_an_image(api: Any) -> None:
    assert api.lookup("cat~2").head == "cat~1"
    assert api.lookup("a/b c?~1").image_id == "a/b c?~1"


def test_an_unknown_image_is_not_found_with_the_api_s_text(api: Any) -> None:
    with pytest.raises(NotFound, match="image 'nobody' has not been decided"):
        api.lookup("nobody")


def test_lookup_tells_what_was_at_a_time(api: Any) -> None:
    decided_ms = api.lookup("cat~2").decided_ms
    assert api.lookup("cat~2", decided_ms) == api.lookup("cat~2")
    with pytest.raises(NotFound, match="had not been decided"):
        api.lookup("cat~2", decided_ms - 60_000)


def test_lookup_many_returns_the_heads_of_known_images(api: Any) -> None:
    assert api.lookup_many(["cat~3", "nobody", "dog~1", "cat~3"]) == {"cat~3": "cat~1", "dog~1": "dog~1"}
    assert api.lookup_many([]) == {}


def test_members_are_yielded_oldest_first(api: Any) -> None:
    assert [member.image_id for member in api.members("cat~1")] == CATS
    assert api.cluster("cat~1").size == 4
    first = api.members_page("cat~1", 3)
    assert [member.image_id for member in api.members_page("cat~1", 3, first.next_cursor).members] == CATS[3:]


def test_clusters_are_yielded_in_order_with_filters(api: Any) -> None:
    (cats,) = api.clusters(min_size=3, quarantined=False)
    assert (cats.head, cats.size, cats.members) == ("cat~1", 4, [])
    (shown,) = api.clusters_page(5, sort="recent", members=2).clusters
    assert [member.image_id for member in shown.members] == CATS[:2]
    assert not list(api.clusters(max_size=3))


def test_search_accepts_a_path_bytes_a_file_and_vectors(api: Any, tmp_path: Path) -> None:
    path = tmp_path / "example.png"
    path.write_bytes(picture_of("cat~9"))
    lsh, pair = vectors_of("cat~9")
    with path.open("rb") as file:
        found = [api.search(each) for each in (path, str(path), path.read_bytes(), file, io.BytesIO(path.read_bytes()))]
    found.append(api.search(lsh=lsh, pair=pair.tolist()))
    assert {answer.cluster for answer in found} == {"cat~1"}
    assert {match.image_id for match in found[0].matches} == set(CATS)
    assert all(answer.matches == found[0].matches for answer in found)


def test_compare_accepts_ids_pictures_and_vectors(api: Any, tmp_path: Path) -> None:
    path = tmp_path / "example.png"
    path.write_bytes(picture_of("cat~9"))
    with path.open("rb") as file:
        found = [api.compare(each, "cat~1") for each in (path, path.read_bytes(), file, vectors_of("cat~9"))]
    assert all(answer == found[0] for answer in found)
    assert found[0].match
    assert (found[0].a.image_id, found[0].b.image_id) == (None, "cat~1")
    assert found[0].structure.state == "not available"
    assert found[0].structure.overlap is None
    assert api.compare(path, path.read_bytes()).score == pytest.approx(1, abs=1e-3)
    assert api.compare(vectors_of("cat~9"), vectors_of("dog~1")).score < 0.5
    assert not api.compare("cat~1", "dog~1").match
    with pytest.raises(NotFound, match="'nobody'"):
        api.compare("cat~1", "nobody")
    with pytest.raises(InvalidRequest, match="picture b"):
        api.compare("cat~1", b"no picture")


@pytest.mark.parametrize(
    ("side", "said"),
    [("", "is not an id"), (([float("nan")], [1.0]), "finite"), (([1.0], [1.0]), "with vectors")],
)
def test_a_pair_that_cannot_be_compared_is_not_sent(api: Any, side: Any, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        api.compare(side, b"a picture")


def test_an_answer_that_locates_pictures_is_read(api: Any) -> None:
    corners = [[0, 0], [1, 0], [1, 1], [0, 1]]
    difference = {"in_a": corners, "in_b": corners, "agreement": 0.1}
    overlap = dict.fromkeys(("agreement", "a_covered", "b_covered", "rotation", "scale", "differing"), 0.5)
    overlap |= {"relation": "a inside b", "a_in_b": corners, "b_in_a": corners, "mirrored": True, "turned": 90}
    overlap |= {"differences": [difference], "a_aspect": 1.5, "b_aspect": 1.5}
    structure = {"state": "available", "reason": "", "overlap": overlap}
    read = TypeAdapter(answers.Structure).validate_python(structure)
    assert read.overlap.a_in_b[1] == (1, 0)
    assert read.overlap.differences[0].agreement == 0.1
    assert pairs.Structure.model_validate(structure).model_dump(mode="json") == structure


def test_explain_and_history_return_decisions(api: Any) -> None:
    explanation = api.explain("cat~2")
    assert explanation.head == "cat~1"
    assert explanation.candidates[0].match
    assert [(each.image_id, each.match, each.head) for each in explanation.structures] == [("cat~1", True, True)]
    assert api.history("cat~2") == [replace(explanation, structures=[])]


def test_an_image_that_was_held_apart_says_so(changing: Any, client: httpx.Client, writer: Writer) -> None:
    assert not changing.lookup("cat~2").held_apart
    assert changing.explain("cat~2").guard is None
    writer.worker.decide(growing_chain(7))
    seen(client, FIRST_HELD_APART)
    assert changing.lookup(FIRST_HELD_APART).held_apart
    guard = changing.explain(FIRST_HELD_APART).guard
    assert (guard.reason, guard.head, guard.size) == ("chain-suspected", "head", 8)


def test_an_answer_of_a_server_without_guards_is_read() -> None:
    image = '{"image_id":"a","head":"a","score":0,"decision_id":"d","sequence":1,"event_time_ms":1,"decided_ms":2,'
    image += '"source_uri":"","picture":null}'
    assert not TypeAdapter(answers.Image).validate_json(image).held_apart


def test_status_overrides_and_promotions_are_typed(changing: Any, writer: Writer, client: httpx.Client) -> None:
    status = changing.status()
    assert (status.images, status.models["lsh"].dim) == (6, 256)
    assert status.worker is not None
    assert status.worker.figures["lag"] == 3
    assert list(changing.overrides()) == []
    assert changing.promotions() == []
    writer.run_command("override", "o1", action="alone", image_id="cat~4")
    writer.decide(["later~1"])
    seen(client, "later~1")
    assert [(o.override_id, o.action, o.image_id) for o in changing.overrides("cat~4")] == [("o1", "alone", "cat~4")]


def test_a_missing_file_is_an_error_of_the_file(api: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        api.search(tmp_path / "missing.jpg")


@pytest.mark.parametrize(
    "arguments",
    [{}, {"picture": b"x", "lsh": [1.0], "pair": [1.0]}, {"lsh": [1.0]}, {"lsh": [float("nan")], "pair": [1.0]}],
)
def test_a_search_without_one_example_is_malformed(api: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        api.search(**arguments)


def test_bytes_that_are_no_picture_are_refused_with_the_api_s_text(api: Any) -> None:
    with pytest.raises(InvalidRequest, match="not a JPEG"):
        api.search(b"no picture")


@pytest.mark.parametrize("image_id", ["", "\udcff"])
def test_what_cannot_be_an_id_is_not_sent(api: Any, image_id: str) -> None:
    with pytest.raises(InvalidRequest, match="is not an id"):
        api.lookup(image_id)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (answers.Image, images.Image),
        (answers.Heads, images.Heads),
        (answers.Cluster, clusters.Cluster),
        (answers.Member, clusters.Member),
        (answers.Members, clusters.Members),
        (answers.ListedCluster, clusters.ListedCluster),
        (answers.Clusters, clusters.Clusters),
        (answers.HeldApart, explanations.HeldApart),
        (answers.ComparedImage, explanations.ComparedImage),
        (answers.Explanation, explanations.Explanation),
        (answers.History, explanations.History),
        (answers.Difference, pairs.Difference),
        (answers.Overlap, pairs.Overlap),
        (answers.Structure, pairs.Structure),
        (answers.ExplainedPair, pairs.ExplainedPair),
        (answers.PairTerm, pairs.PairTerm),
        (answers.PairImage, pairs.PairImage),
        (answers.PairAnswer, pairs.PairAnswer),
        (answers.FoundImage, searches.FoundImage),
        (answers.SearchAnswer, searches.SearchAnswer),
        (answers.Override, changes.Override),
        (answers.Overrides, changes.Overrides),
        (answers.Promotion, changes.Promotion),
        (answers.WorkerStatus, health.WorkerStatus),
        (answers.ActiveModel, health.ActiveModel),
        (answers.Status, health.Status),
    ],
)
def test_an_answer_has_the_fields_of_the_api_s_in_order(ours: Any, theirs: Any) -> None:
    # Cluster inherits its first fields; `neardup … --json` prints the client's answers.
    assert [each.name for each in fields(ours)] == list(theirs.model_fields)
