"""Claims about the API while a load is taken in: it serves all of it or nothing, and never stops searching."""

import time

import httpx

from neardup_platform.settings import Settings
from neardup_platform.stream.loading.given_heads import GivenImage
from neardup_platform.testing import eventually
from tests.serving.conftest import Writer, joined, seen, vectors_of, wait_for
from tests.stream.loading.hand_made import take_in

LOADED = [f"{kind}~{copy}" for kind in ("owl", "elk", "bat") for copy in range(6)]


def until_found(client: httpx.Client, image_id: str, head: str) -> None:
    """Search by the vectors of an image until they lead to a cluster; a search never fails."""
    lsh, pair = vectors_of(image_id)

    def found() -> bool:
        answer = client.post("/v1/search", json={"lsh": lsh.tolist(), "pair": pair.tolist()})
        assert answer.status_code == 200, answer.text
        return answer.json()["cluster"] == head

    eventually(found)


def until_listed(client: httpx.Client, heads: set[str], at_least: int) -> None:
    """Wait until the list of clusters has these, which are no smaller."""
    wait_for(
        client,
        f"/v1/clusters?min_size={max(at_least, 2)}",
        lambda answer: heads <= {cluster["head"] for cluster in answer.json().get("clusters", ())},
    )


def test_a_load_is_served_and_searched_as_a_whole_while_the_stream_runs(
    settings: Settings, writer: Writer, client: httpx.Client
) -> None:
    writer.decide(["cat~1", "dog~1"])
    wait_for(client, "/readyz", lambda answer: answer.json()["search"]["ok"])
    given = [GivenImage(joined(each, time.time_ns() // 1_000_000), f"{each.partition('~')[0]}~0") for each in LOADED]
    numbers = iter(range(2, 100))
    statuses = set()

    def between() -> None:
        latest = f"cat~{next(numbers)}"
        writer.decide([latest])
        seen(client, latest)
        found = {client.get(f"/v1/images/{each}").status_code for each in ("owl~0", "bat~5")}
        statuses.add(frozenset(found))
        until_found(client, "cat~99", "cat~1")
        until_listed(client, {"cat~1"}, at_least=client.get("/v1/clusters/cat~1").json()["size"])

    take_in(writer.worker, settings, given, between)
    assert statuses == {frozenset({404}), frozenset({200})}
    wait_for(client, "/v1/clusters/owl~0", lambda answer: answer.json()["size"] == 6)
    until_listed(client, {"owl~0", "elk~0", "bat~0"}, at_least=6)
    explained = client.get("/v1/images/owl~3/explanation").json()
    assert explained["summary"] == "Put into the cluster of owl~0, as load c1 says; it was compared with nothing."
    until_found(client, "owl~9", "owl~0")
    until_found(client, "elk~9", "elk~0")
    writer.decide(["bat~9"])
    seen(client, "bat~9")
    assert client.get("/v1/images/bat~9").json()["head"] == "bat~0"
