"""Claims about `GET /v1/clusters`, and about how its list follows the store."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from neardup_platform.serving import listing_routes
from neardup_platform.serving.cluster_order import Selection
from neardup_platform.serving.followed_list import FollowedList
from neardup_platform.serving.rocksdb_follower import StoreFollower
from neardup_platform.store import layout
from neardup_platform.store.layout import RECENT_BLOCK, Table
from neardup_platform.store.store_pb2 import ClusterRecord
from neardup_platform.store.writer import Batch, Store
from neardup_platform.testing import eventually
from tests.serving.conftest import Writer, wait_for

IMAGES = ["cat~1", "dog~1", "cat~2", "owl~1", "fox~1", "dog~2", "cat~3", "fox~2"]
TERMS = {"policy": "hate", "action": "block"}


def heads(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [cluster["head"] for cluster in answer.json()["clusters"]]


def listed(client: httpx.Client, query: str = "") -> list[str]:
    return heads(client.get(f"/v1/clusters?{query}"))


def wait_until_listed(client: httpx.Client, query: str, expected: list[str]) -> None:
    path = f"/v1/clusters?{query}"
    wait_for(client, path, lambda answer: answer.status_code == 200 and heads(answer) == expected)


def test_clusters_are_listed_in_order_with_filters_and_as_they_change(client: httpx.Client, writer: Writer) -> None:
    writer.decide(IMAGES)
    wait_until_listed(client, "", ["cat~1", "fox~1", "dog~1"])
    assert listed(client, "sort=recent") == ["fox~1", "cat~1", "dog~1"]
    assert listed(client, "sort=oldest") == ["dog~1", "cat~1", "fox~1"]
    assert listed(client, "min_size=3") == ["cat~1"]
    assert listed(client, "max_size=2") == ["fox~1", "dog~1"]
    first = client.get("/v1/clusters?members=2").json()["clusters"][0]
    cluster = client.get("/v1/clusters/cat~1").json()
    assert [member["image_id"] for member in first.pop("members")] == ["cat~1", "cat~2"]
    assert first == {name: cluster[name] for name in ("head", "size", "created_ms", "updated_ms")}

    now = cluster["updated_ms"] + 1
    eventually(lambda: time.time_ns() // 1_000_000 >= now)
    writer.decide(["dog~3", "dog~4"])
    wait_until_listed(client, "", ["dog~1", "cat~1", "fox~1"])
    assert listed(client, f"changed_since={now}") == ["dog~1"]

    # A cluster that is gone, and one with another head.
    writer.run_command("override", "o1", action="move", image_id="fox~2", other_id="owl~1")
    writer.run_command("forget", "f1", image_id="dog~1")
    wait_until_listed(client, "", ["dog~2", "cat~1", "owl~1"])

    writer.run_command("label", "l1", bank="memes", image_id="cat~2", **TERMS)
    writer.run_command("label", "l2", bank="memes", image_id="fox~1", **TERMS)
    writer.run_command("override", "o2", action="quarantine", image_id="dog~3")
    # The last of the three commands.
    wait_until_listed(client, "quarantined=true", ["dog~2"])
    assert listed(client, "bank=memes") == ["cat~1"]
    assert listed(client, "quarantined=false") == ["cat~1", "owl~1"]
    assert listed(client, "bank=memes&quarantined=true") == []
    assert listed(client, "bank=nothing") == []


def test_the_only_page_has_no_cursor(unchanged: httpx.Client) -> None:
    page = wait_for(unchanged, "/v1/clusters?limit=1", lambda answer: answer.status_code == 200).json()
    assert [cluster["head"] for cluster in page["clusters"]] == ["cat~1"]
    assert page["next_cursor"] is None
    assert page["clusters"][0]["members"] == []


def test_a_cursor_continues_its_own_list_and_no_other(client: httpx.Client, writer: Writer) -> None:
    writer.decide(IMAGES)
    wait_until_listed(client, "", ["cat~1", "fox~1", "dog~1"])
    found, query = [], "sort=oldest&limit=1"
    while query:
        page = client.get(f"/v1/clusters?{query}").json()
        found += [cluster["head"] for cluster in page["clusters"]]
        cursor = page["next_cursor"]
        query = cursor and f"sort=oldest&limit=1&cursor={cursor}"
        if cursor:
            other = client.get(f"/v1/clusters?sort=recent&cursor={cursor}")
            assert (other.status_code, "another list" in other.text) == (400, True)
    assert found == ["dog~1", "cat~1", "fox~1"]


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ("sort=name", "query.sort"),
        ("min_size=1", "query.min_size"),
        ("max_size=x", "query.max_size"),
        ("min_size=5&max_size=4", "query"),
        ("changed_since=-1", "query.changed_since"),
        ("changed_since=9007199254740992", "query.changed_since"),
        ("bank=a%20b", "query.bank"),
        ("quarantined=perhaps", "query.quarantined"),
        ("members=9", "query.members"),
        ("members=1&limit=101", "query"),
        ("limit=0", "query.limit"),
        ("limit=1001", "query.limit"),
        ("minsize=3", "query.minsize"),
    ],
)
def test_a_query_out_of_range_is_refused_by_its_name(unchanged: httpx.Client, query: str, where: str) -> None:
    answer = unchanged.get(f"/v1/clusters?{query}")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["where"] == where


@pytest.mark.parametrize("cursor", ["x", "%00", "AAAA", "A" * 32, "%F0%9F%A6%86"])
def test_a_forged_cursor_is_refused(unchanged: httpx.Client, cursor: str) -> None:
    assert unchanged.get(f"/v1/clusters?cursor={cursor}").status_code == 400


def test_a_filter_that_names_too_many_images_is_refused(
    client: httpx.Client, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.decide(["cat~1", "cat~2", "dog~1"])
    for image_id in ("cat~1", "dog~1"):
        writer.run_command("label", f"l {image_id}", bank="memes", image_id=image_id, **TERMS)
    wait_until_listed(client, "bank=memes", ["cat~1"])
    monkeypatch.setattr(listing_routes, "MOST_NAMED", 1)
    refused = client.get("/v1/clusters?bank=memes")
    assert refused.status_code == 400
    assert "'memes' has 2 labels" in refused.json()["detail"]


@contextmanager
def following(path: Path, home: Path) -> Iterator[FollowedList]:
    follower = StoreFollower(path, home, 20)
    clusters = FollowedList(follower)
    follower.start()
    clusters.start()
    try:
        yield clusters
    finally:
        clusters.close()
        follower.close()


def put(store: Store, sizes: dict[int, int], *, sequence: int, loaded: bool = False) -> None:
    """Commits clusters by the sequences of their last changes."""
    batch, state = Batch(), store.state()
    for last, size in sizes.items():
        head = f"head {last}"
        record = ClusterRecord(size=size, updated_ms=last, updated_sequence=last)
        batch.put(Table.CLUSTERS, head.encode(), record.SerializeToString())
        batch.put(Table.RECENT, layout.recent_key(head, last), layout.number_key(last))
    state.sequence = sequence
    state.reserved.store_id, state.reserved.command_id, state.reserved.taken = state.store_id, "load", loaded
    state.reserved.first_sequence, state.reserved.end_ordinal = RECENT_BLOCK, 3 * RECENT_BLOCK
    batch.put_state(state)
    store.write(batch)


def test_the_clusters_of_a_load_are_listed_although_their_sequences_are_earlier(tmp_path: Path) -> None:
    def sizes() -> list[int]:
        return [cluster.size for cluster in clusters.page(Selection(), 100)]

    with closing(Store(tmp_path / "store")) as store:
        put(store, {5: 9, 4 * RECENT_BLOCK + 7: 8}, sequence=5 * RECENT_BLOCK)
        with following(tmp_path / "store", tmp_path) as clusters:
            eventually(lambda: clusters._clusters is not None)
            assert sizes() == [9, 8]
            put(store, {RECENT_BLOCK: 7, 3 * RECENT_BLOCK + 1: 6}, sequence=5 * RECENT_BLOCK + 1, loaded=True)
            eventually(lambda: sizes() == [9, 8, 7, 6])
    assert not list(tmp_path.glob("api-*"))
