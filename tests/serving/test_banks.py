"""Claims about what the API reports of banks and labels."""

import httpx
import pytest

from neardup_platform.serving import followed_labels
from tests.serving.conftest import Writer, seen
from tests.serving.test_corrections import filled, run_and_wait  # noqa: F401 -- a fixture
from tests.serving.test_problems import problem_of
from tests.serving.test_search import search, wait_until_searched

TERMS = {"policy": "hate", "action": "block"}


def banks_of(client: httpx.Client, path: str) -> list[tuple[str, str]]:
    return [(label["bank"], label["image_id"]) for label in client.get(path).json()["labels"]]


@pytest.mark.parametrize("others", [0, 9], ids=["fewer labels", "fewer members"])
def test_every_image_of_a_labelled_cluster_shows_its_labels(
    filled: httpx.Client,  # noqa: F811
    writer: Writer,
    others: int,
) -> None:
    for number in range(others):
        writer.decide([f"other{number}~1"])
        writer.run_command("label", f"o{number}", bank="others", image_id=f"other{number}~1", **TERMS)
    writer.run_command("label", "l1", bank="one", image_id="cat~2", **TERMS)
    run_and_wait(filled, writer, "label", "l2", bank="two", image_id="cat~4", **TERMS)
    for cat in ("cat~1", "cat~3", "cat~4"):
        assert banks_of(filled, f"/v1/images/{cat}") == [("one", "cat~2"), ("two", "cat~4")]
    assert banks_of(filled, "/v1/images/cat~1?banks=two,three") == [("two", "cat~4")]
    assert banks_of(filled, "/v1/images/cat~1?banks=") == []
    assert banks_of(filled, "/v1/images/dog~1") == []
    assert filled.get("/v1/images/cat~1").json()["labels"][0] == {
        "label_id": "l1",
        "bank": "one",
        "image_id": "cat~2",
        **TERMS,
        "pdq": "",
        "distance": 0,
    }
    run_and_wait(filled, writer, "unlabel", "u1", bank="one", image_id="cat~2")
    assert banks_of(filled, "/v1/images/cat~1") == [("two", "cat~4")]


def test_an_image_that_joined_shows_the_labels_of_its_decision(
    filled: httpx.Client,  # noqa: F811
    writer: Writer,
) -> None:
    writer.run_command("label", "l1", bank="one", image_id="cat~2", **TERMS)
    writer.decide(["cat~5"])
    run_and_wait(filled, writer, "unlabel", "u1", bank="one", image_id="cat~2")
    explained = filled.get("/v1/images/cat~5/explanation").json()
    assert [(label["label_id"], label["action"]) for label in explained["labels"]] == [("l1", "block")]
    assert banks_of(filled, "/v1/images/cat~5") == []
    then = explained["decided_ms"]
    assert banks_of(filled, f"/v1/images/cat~5?at={then}") == [("one", "cat~2")]
    assert banks_of(filled, f"/v1/images/cat~5?at={then}&banks=two") == []
    assert filled.get("/v1/images/cat~1/explanation").json()["labels"] == []


def test_banks_are_counted_and_read_page_by_page(filled: httpx.Client, writer: Writer) -> None:  # noqa: F811
    for number, cat in enumerate(("cat~3", "cat~1", "dog~1")):
        writer.run_command("label", f"l{number}", bank="one", image_id=cat, reason="seen", **TERMS)
    run_and_wait(filled, writer, "label", "l9", bank="two", image_id="cat~1", **TERMS)
    assert filled.get("/v1/banks").json() == {
        "banks": [{"bank": "one", "labels": 3, "hashes": 0}, {"bank": "two", "labels": 1, "hashes": 0}]
    }
    page = filled.get("/v1/banks/one?limit=2").json()
    assert [label["image_id"] for label in page["labels"]] == ["cat~1", "cat~3"]
    assert (page["labels"][0]["reason"], page["labels"][0]["issued_by"]) == ("seen", "a test")
    rest = filled.get("/v1/banks/one", params={"limit": 2, "cursor": page["next_cursor"]}).json()
    assert ([label["image_id"] for label in rest["labels"]], rest["next_cursor"]) == (["dog~1"], None)
    assert filled.get("/v1/banks/three").json()["labels"] == []


def test_an_answer_shows_a_bounded_number_of_labels(
    filled: httpx.Client,  # noqa: F811
    writer: Writer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(followed_labels, "MAX_SHOWN", 2)
    for number in range(2):
        writer.run_command("label", f"l{number}", bank=f"b{number}", image_id="cat~1", **TERMS)
    run_and_wait(filled, writer, "label", "l9", bank="b9", image_id="cat~1", **TERMS)
    assert banks_of(filled, "/v1/images/cat~2") == [("b0", "cat~1"), ("b1", "cat~1")]


def test_the_quarantine_of_a_negative_bank_names_it(filled: httpx.Client, writer: Writer) -> None:  # noqa: F811
    writer.run_command("override", "a1", action="quarantine", image_id="dog~1")
    run_and_wait(filled, writer, "label", "n1", bank="pages", image_id="cat~1", policy="page", action="never-match")
    listed = filled.get("/v1/overrides").json()["overrides"]
    assert [(each["override_id"], each["bank"]) for each in listed] == [("a1", ""), ("n1", "pages")]


def test_a_search_and_a_cluster_show_labels_and_a_quarantine_as_a_decision_follows_them(
    filled: httpx.Client,  # noqa: F811
    writer: Writer,
) -> None:
    run_and_wait(filled, writer, "label", "l1", bank="one", image_id="cat~2", **TERMS)
    wait_until_searched(filled, 7)
    found = search(filled, "cat~new")
    assert (found["cluster"], found["override_id"], found["guard"]) == ("cat~1", "", None)
    assert [(label["bank"], label["image_id"]) for label in found["labels"]] == [("one", "cat~2")]
    assert banks_of(filled, "/v1/clusters/cat~1") == [("one", "cat~2")]
    run_and_wait(filled, writer, "label", "n1", bank="pages", image_id="cat~3", policy="page", action="never-match")
    found = search(filled, "cat~new")
    assert (found["cluster"], found["override_id"], found["labels"], found["seen_before"]) == (None, "n1", [], True)
    assert (found["guard"]["reason"], found["guard"]["head"]) == ("quarantined", "cat~1")
    writer.decide(["cat~new"])
    seen(filled, "cat~new")
    explained = filled.get("/v1/images/cat~new/explanation").json()
    decided = [explained[name] for name in ("founded", "override_id", "guard", "quarantined", "cluster_labels")]
    assert decided == [True, "n1", found["guard"], False, []]
    cluster = filled.get("/v1/clusters/cat~1").json()
    shown = [(each["override_id"], each["image_id"], each["bank"]) for each in cluster["quarantines"]]
    assert shown == [("n1", "cat~3", "pages")]
    explained = filled.get("/v1/images/cat~4/explanation").json()
    assert (explained["quarantined"], len(explained["cluster_labels"]), explained["labels"]) == (True, 2, [])
    assert filled.get("/v1/clusters/dog~1").json()["quarantines"] == []


def test_a_search_joins_a_merged_cluster_by_either_head(filled: httpx.Client, writer: Writer) -> None:  # noqa: F811
    run_and_wait(filled, writer, "override", "m1", action="merge", image_id="dog~1", other_id="cat~1")
    wait_until_searched(filled, 7)
    found = search(filled, "dog~new")
    writer.decide(["dog~new"])
    seen(filled, "dog~new")
    decided = filled.get("/v1/images/dog~new").json()
    assert (found["cluster"], decided["head"]) == ("cat~1", "cat~1")
    explained = filled.get("/v1/images/dog~new/explanation").json()
    assert found["head_score"] == pytest.approx(explained["head_score"])
    assert "at or above 0.800" in explained["summary"]


def test_wrong_labels_are_refused_before_they_are_sent(filled: httpx.Client) -> None:  # noqa: F811
    new = {"image_id": "cat~1", **TERMS}
    problem_of(filled.post("/v1/banks/Upper", json=new), 400)
    problem_of(filled.post("/v1/banks/one", json=new | {"policy": ""}), 400)
    problem_of(filled.post("/v1/banks/one", json=new | {"action": "x" * 65}), 400)
    problem_of(filled.post("/v1/banks/one", json=new | {"image_id": "nobody"}), 404)
    assert "is not in bank 'one'" in problem_of(filled.delete("/v1/banks/one/cat~1"), 404)["detail"]
    problem_of(filled.get("/v1/banks/one?limit=0"), 400)
    problem_of(filled.post("/v1/banks/one", json=new), 503)


HASHES = [f"{number:064x}" for number in (3, 1, 2)]


def test_hashes_of_a_bank_are_counted_and_read_page_by_page(filled: httpx.Client, writer: Writer) -> None:  # noqa: F811
    run_and_wait(filled, writer, "label-hashes", "h1", bank="one", hashes="\n".join(HASHES), reason="list", **TERMS)
    assert filled.get("/v1/banks").json() == {"banks": [{"bank": "one", "labels": 0, "hashes": 3}]}
    page = filled.get("/v1/hashes/one?limit=2").json()
    assert [each["pdq"] for each in page["hashes"]] == sorted(HASHES)[:2]
    assert page["hashes"][0] | {"at_ms": 0, "sequence": 0} == {
        "label_id": "h1",
        "bank": "one",
        "pdq": min(HASHES),
        **TERMS,
        "reason": "list",
        "issued_by": "a test",
        "at_ms": 0,
        "sequence": 0,
    }
    rest = filled.get("/v1/hashes/one", params={"limit": 2, "cursor": page["next_cursor"]}).json()
    assert ([each["pdq"] for each in rest["hashes"]], rest["next_cursor"]) == ([max(HASHES)], None)


def test_wrong_hashes_are_refused_before_they_are_sent(filled: httpx.Client) -> None:  # noqa: F811
    new = {"hashes": HASHES, **TERMS}
    for wrong in ({"hashes": []}, {"hashes": ["f" * 63]}, {"hashes": ["g" * 64]}, {"policy": ""}):
        problem_of(filled.post("/v1/hashes/one", json=new | wrong), 400)
    assert (
        "listed twice"
        in problem_of(filled.post("/v1/hashes/one", json=new | {"hashes": HASHES[:1] * 2}), 409)["detail"]
    )
    refused = problem_of(filled.post("/v1/hashes/one", json=new | {"action": "never-match"}), 409)
    assert "a hash names none" in refused["detail"]
    problem_of(filled.get("/v1/hashes/one?cursor=xyz"), 400)
    assert "is not in bank 'one'" in problem_of(filled.delete(f"/v1/hashes/one/{HASHES[0]}"), 404)["detail"]
