"""Claims about what the API reports of overrides, handed-over clusters and forgotten images."""

import time

import httpx
import pytest

from neardup_platform.settings import Settings
from tests.serving.conftest import Writer, seen, serving, vectors_of, wait_for
from tests.serving.test_problems import problem_of


def now_ms() -> int:
    return time.time_ns() // 1_000_000


CATS = ["cat~1", "cat~2", "cat~3", "cat~4"]


@pytest.fixture
def filled(client: httpx.Client, writer: Writer) -> httpx.Client:
    writer.decide([*CATS, "dog~1", "dog~2"])
    seen(client, "dog~2")
    return client


def run_and_wait(client: httpx.Client, writer: Writer, name: str, command_id: str, **arguments: str) -> None:
    """Run a command and wait until readers see it, by an image decided after it."""
    writer.run_command(name, command_id, **arguments)
    writer.decide([f"{command_id}~1"])
    seen(client, f"{command_id}~1")


def test_a_former_head_redirects_to_its_cluster(filled: httpx.Client, writer: Writer) -> None:
    first = filled.get("/v1/clusters/cat~1/members?limit=2").json()
    run_and_wait(filled, writer, "forget", "c1", image_id="cat~1")
    cluster = filled.get("/v1/clusters/cat~1").json()
    assert (cluster["head"], cluster["redirected_from"], cluster["size"]) == ("cat~2", "cat~1", 3)
    page = filled.get("/v1/clusters/cat~1/members").json()
    assert (page["head"], page["redirected_from"]) == ("cat~2", "cat~1")
    assert [member["image_id"] for member in page["members"]] == CATS[1:]
    rest = filled.get("/v1/clusters/cat~1/members", params={"cursor": first["next_cursor"]}).json()
    assert [member["image_id"] for member in rest["members"]] == CATS[2:]
    assert filled.get("/v1/clusters/cat~2").json()["redirected_from"] is None
    explained = filled.get("/v1/images/cat~2/explanation").json()
    assert (explained["cause"], explained["replaced_head"], explained["override_id"]) == ("handover", "cat~1", "c1")
    assert "Heads the cluster of cat~1" in explained["summary"]
    explained = filled.get("/v1/images/cat~3/explanation").json()
    assert explained["head"] == "cat~1"
    assert explained["summary"].endswith("cat~2 heads that cluster now.")


def test_an_image_is_shown_as_it_was_at_a_time(filled: httpx.Client, writer: Writer) -> None:
    def at(image_id: str, moment: int) -> tuple[str, int]:
        answer = filled.get(f"/v1/images/{image_id}", params={"at": moment}).json()
        return answer["head"], answer["sequence"]

    decided, _ = now_ms(), time.sleep(0.01)
    run_and_wait(filled, writer, "override", "o1", action="move", image_id="cat~3", other_id="dog~1")
    moved, _ = now_ms(), time.sleep(0.01)
    run_and_wait(filled, writer, "forget", "c1", image_id="cat~1")
    assert [at("cat~3", moment)[0] for moment in (decided, moved, now_ms())] == ["cat~1", "dog~1", "dog~1"]
    # The cluster of cat~4 was handed over; cat~4 itself was decided once.
    assert [at("cat~4", moment) for moment in (decided, moved, now_ms())] == [("cat~1", 4), ("cat~1", 4), ("cat~2", 4)]
    assert [at("cat~2", moment)[0] for moment in (decided, now_ms())] == ["cat~1", "cat~2"]
    now, then = (filled.get(f"/v1/images/cat~4{query}").json() for query in ("", f"?at={now_ms()}"))
    assert now == then
    assert "had not been decided at 7" in problem_of(filled.get("/v1/images/cat~4?at=7"), 404)["detail"]
    assert "was forgotten" in problem_of(filled.get(f"/v1/images/cat~1?at={decided}"), 404)["detail"]


@pytest.mark.parametrize("moment", ["-1", "yesterday", str(1 << 53)])
def test_a_time_out_of_range_is_refused(filled: httpx.Client, moment: str) -> None:
    assert "at" in problem_of(filled.get(f"/v1/images/cat~1?at={moment}"), 400)["detail"].split()[0]


@pytest.mark.parametrize("call", ["", "/explanation", "/history"])
def test_a_forgotten_image_is_reported_with_who_forgot_it(filled: httpx.Client, writer: Writer, call: str) -> None:
    run_and_wait(filled, writer, "forget", "c2", image_id="cat~1")
    problem = problem_of(filled.get(f"/v1/images/cat~1{call}"), 404)
    assert "was forgotten at" in problem["detail"]
    assert "by a test (command c2); its cluster is that of 'cat~2' now" in problem["detail"]


def test_search_hides_a_forgotten_image_that_its_corpus_still_holds(filled: httpx.Client, writer: Writer) -> None:
    lsh, pair = (vector.tolist() for vector in vectors_of("cat~1"))

    def found() -> set[str]:
        answer = filled.post("/v1/search", json={"lsh": lsh, "pair": pair})
        return {match["image_id"] for match in answer.json()["matches"]} if answer.status_code == 200 else set()

    wait_for(filled, "/readyz", lambda _: found() == set(CATS))
    writer.run_command("forget", "c3", apply=False, image_id="cat~1")
    wait_for(filled, "/v1/images/cat~1", lambda answer: answer.status_code == 404)
    assert found() == set(CATS[1:])
    writer.worker.apply_pending()
    writer.decide(["late~1"])
    seen(filled, "late~1")
    # The image that heads the cluster now has a new ordinal, which the search follows a moment later.
    wait_for(filled, "/readyz", lambda _: found() == set(CATS[1:]))


def test_a_search_corpus_skips_the_ordinals_of_forgotten_images(settings: Settings, writer: Writer) -> None:
    writer.decide([*CATS, "dog~1", "last~1"])
    writer.run_command("forget", "c4", image_id="cat~2")
    writer.run_command("forget", "c5", image_id="last~1")
    lsh, pair = (vector.tolist() for vector in vectors_of("cat~1"))
    with serving(settings) as client:
        wait_for(client, "/readyz", lambda answer: answer.json()["search"]["ok"])
        matches = client.post("/v1/search", json={"lsh": lsh, "pair": pair}).json()["matches"]
        assert {match["image_id"] for match in matches} == {"cat~1", "cat~3", "cat~4"}


def test_overrides_are_listed_with_who_and_why(filled: httpx.Client, writer: Writer) -> None:
    writer.run_command("override", "o1", action="move", image_id="cat~3", other_id="dog~1", reason="it barks")
    writer.run_command("override", "o2", action="alone", image_id="cat~4")
    run_and_wait(filled, writer, "override", "o3", action="forbid", image_id="cat~1", other_id="dog~1")
    listed = filled.get("/v1/overrides").json()
    assert listed["total"] == 3
    first = listed["overrides"][0]
    assert (first["override_id"], first["action"], first["issued_by"]) == ("o1", "move", "a test")
    assert (first["image_id"], first["other_id"], first["reason"]) == ("cat~3", "dog~1", "it barks")
    named = filled.get("/v1/overrides?image_id=dog~1").json()["overrides"]
    assert [override["override_id"] for override in named] == ["o1", "o3"]
    page = filled.get("/v1/overrides?limit=1&after=o1").json()
    assert [override["override_id"] for override in page["overrides"]] == ["o2"]
    explained = filled.get("/v1/images/cat~3/history").json()["decisions"]
    assert [decision["override_id"] for decision in explained] == ["", "o1"]
    assert "by override o1" in explained[1]["summary"]
    assert "override o2 keeps it" in filled.get("/v1/images/cat~4/explanation").json()["summary"]


def test_overrides_of_clusters_are_listed_by_every_image_they_name(filled: httpx.Client, writer: Writer) -> None:
    writer.run_command("override", "o1", action="split", image_id="cat~1", image_ids="cat~3\ncat~4")
    writer.run_command("override", "o2", action="merge", image_id="cat~1", other_id="dog~1")
    run_and_wait(filled, writer, "override", "o3", action="quarantine", image_id="cat~2")
    listed = filled.get("/v1/overrides").json()["overrides"]
    assert [(o["action"], o["image_ids"]) for o in listed] == [
        ("split", ["cat~4"]),
        ("merge", []),
        ("quarantine", []),
    ]
    named = {i: [o["override_id"] for o in filled.get(f"/v1/overrides?image_id={i}").json()["overrides"]] for i in CATS}
    assert named["cat~4"] == ["o1"]
    assert "o2" in named["cat~1"]
    explained = filled.get("/v1/images/cat~4/explanation").json()
    assert explained["summary"].startswith("Put into the cluster of cat~3 by override o1")
    merged = filled.get("/v1/clusters/dog~1").json()
    assert (merged["size"], merged["redirected_from"] or merged["head"]) == (4, "dog~1")
    writer.decide(["dog~9"])
    seen(filled, "dog~9")
    held = filled.get("/v1/images/dog~9/explanation").json()
    assert (held["guard"]["reason"], held["override_id"]) == ("quarantined", "o3")
    assert "is in quarantine" in held["summary"]


CHANGES = [
    ("POST", "/v1/overrides", {"json": {"action": "alone", "image_id": "cat~1"}}),
    ("DELETE", "/v1/overrides/o1", {}),
    ("DELETE", "/v1/images/cat~1", {}),
    ("POST", "/v1/banks/b", {"json": {"image_id": "cat~1", "policy": "p", "action": "block"}}),
    ("DELETE", "/v1/banks/b/cat~1", {}),
    ("DELETE", f"/v1/hashes/b/{64 * '0'}", {}),
]


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
def test_a_change_needs_a_token_once_one_exists(
    settings: Settings, writer: Writer, method: str, path: str, body: dict
) -> None:
    guarded = Settings(home=settings.home, api={**settings.api.model_dump(), "token": "s3cret-of-sixteen"})
    with serving(guarded) as client:
        wait_for(client, "/readyz", lambda answer: answer.status_code == 200)
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic s3cret-of-sixteen"}):
            answer = client.request(method, path, headers=headers, **body)
            problem_of(answer, 401)
            assert answer.headers["www-authenticate"].startswith("Bearer")
        assert client.get("/v1/overrides").status_code == 200
        allowed = client.request(method, path, headers={"Authorization": "Bearer s3cret-of-sixteen"}, **body)
        assert (
            "has not been decided" in allowed.text or "no override" in allowed.text or "is not in bank" in allowed.text
        )


def test_an_invalid_change_is_refused_before_it_is_sent(filled: httpx.Client) -> None:
    problem_of(filled.post("/v1/overrides", json={"action": "fly", "image_id": "cat~1"}), 400)
    problem_of(filled.post("/v1/overrides", json={"action": "alone", "image_id": "nobody"}), 404)
    split = {"action": "split", "image_id": "cat~1"}
    problem_of(filled.post("/v1/overrides", json={**split, "image_ids": ["cat~2", "nobody"]}), 404)
    problem_of(filled.post("/v1/overrides", json={**split, "image_ids": ["cat~2\ncat~3"]}), 400)
    problem_of(filled.post("/v1/overrides", json={**split, "image_ids": ["cat~2"] * 1_001}), 400)
    assert "takes the arguments" in problem_of(filled.post("/v1/overrides", json=split), 409)["detail"]
    problem_of(filled.delete("/v1/overrides/none"), 404)
    problem_of(filled.delete("/v1/images/nobody"), 404)
    plain = {"Content-Type": "text/plain"}
    problem_of(filled.post("/v1/overrides", content='{"action": "alone", "image_id": "cat~1"}', headers=plain), 415)
    bare = httpx.Request("POST", f"{filled.base_url}/v1/overrides", content=b'{"action":"alone","image_id":"cat~1"}')
    problem_of(filled.send(bare), 415)


def test_a_change_without_kafka_is_answered_503(filled: httpx.Client) -> None:
    problem_of(filled.delete("/v1/images/cat~1"), 503)
    assert filled.get("/v1/images/cat~1").status_code == 200
