"""Claims about the calls that read: images, clusters, members, explanations, history."""

from urllib.parse import quote

import httpx
import pytest

from tests.serving.conftest import Writer, seen


@pytest.fixture
def filled(client: httpx.Client, writer: Writer) -> httpx.Client:
    writer.decide(["cat~1", "dog~1", "cat~2"])
    writer.decide(["cat~3", "bird~1"])
    seen(client, "bird~1")
    return client


def test_an_image_has_a_head_and_the_head_its_members(unchanged: httpx.Client) -> None:
    image = unchanged.get("/v1/images/cat~3").json()
    assert image["head"] == "cat~1"
    assert image["score"] > 0.9
    assert image["sequence"] == 4
    assert image["picture"] is None
    cluster = unchanged.get("/v1/clusters/cat~1").json()
    assert cluster["size"] == 3
    assert cluster["created_ms"] <= cluster["updated_ms"]
    members = unchanged.get("/v1/clusters/cat~1/members").json()
    assert [member["image_id"] for member in members["members"]] == ["cat~1", "cat~2", "cat~3"]
    assert members["next_cursor"] is None


def test_a_cluster_lists_its_representatives_oldest_first_without_retired_ones(
    client: httpx.Client, writer: Writer
) -> None:
    ids = [f"cat~{n:02d}" for n in range(60)]
    for at in range(0, len(ids), 16):
        writer.decide(ids[at : at + 16])
    seen(client, ids[-1])
    cluster = client.get("/v1/clusters/cat~00").json()
    held = [record.image_id for record in writer.store.vectors.all() if not record.retired]
    assert cluster["size"] == 60
    assert cluster["representatives"] == held
    assert held[0] == "cat~00"
    assert 1 < len(held) < 20
    assert "representatives" not in client.get("/v1/clusters/cat~00/members").json()


def test_no_more_representatives_are_listed_than_the_setting_allows(client: httpx.Client, writer: Writer) -> None:
    writer.limit_representatives(2)
    writer.decide([f"cat~{n:02d}" for n in range(60)])
    seen(client, "cat~59")
    assert len(client.get("/v1/clusters/cat~00").json()["representatives"]) == 2


def test_pages_of_members_neither_repeat_nor_skip(client: httpx.Client, writer: Writer) -> None:
    ids = [f"cat~{n:02d}" for n in range(25)]
    writer.decide(ids)
    seen(client, "cat~24")
    found, cursor = [], None
    while True:
        parameters = {"limit": 7} | ({"cursor": cursor} if cursor else {})
        page = client.get("/v1/clusters/cat~00/members", params=parameters).json()
        assert page["size"] == 25
        found += [member["image_id"] for member in page["members"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        assert len(page["members"]) == 7
    assert found == ids


def test_a_cursor_stays_valid_when_members_are_added(client: httpx.Client, writer: Writer) -> None:
    writer.decide(["cat~1", "cat~2", "cat~3"])
    seen(client, "cat~3")
    cursor = client.get("/v1/clusters/cat~1/members?limit=2").json()["next_cursor"]
    writer.decide(["cat~4"])
    seen(client, "cat~4")
    page = client.get("/v1/clusters/cat~1/members", params={"limit": 2, "cursor": cursor}).json()
    assert [member["image_id"] for member in page["members"]] == ["cat~3", "cat~4"]


@pytest.mark.parametrize("cursor", ["x", "AAAA", "A" * 16, "////", "é", "A" * 64])
def test_a_forged_cursor_is_refused(unchanged: httpx.Client, cursor: str) -> None:
    answer = unchanged.get("/v1/clusters/cat~1/members", params={"cursor": cursor})
    assert answer.status_code == 400
    assert "start again" in answer.json()["detail"]


def test_a_cursor_of_another_cluster_is_refused(unchanged: httpx.Client) -> None:
    cursor = unchanged.get("/v1/clusters/cat~1/members?limit=1").json()["next_cursor"]
    assert unchanged.get(f"/v1/clusters/dog~1/members?cursor={cursor}").status_code == 400


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", ""])
def test_a_limit_out_of_range_is_refused(unchanged: httpx.Client, limit: str) -> None:
    answer = unchanged.get("/v1/clusters/cat~1/members", params={"limit": limit})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["where"] == "query.limit"


def test_a_member_asked_for_as_a_head_is_answered_with_its_head(unchanged: httpx.Client) -> None:
    answer = unchanged.get("/v1/clusters/cat~3")
    assert answer.status_code == 404
    assert "member of 'cat~1'" in answer.json()["detail"]
    assert unchanged.get("/v1/clusters/cat~3/members").status_code == 404


def test_an_explanation_lists_the_compared_images_and_the_reason(unchanged: httpx.Client) -> None:
    why = unchanged.get("/v1/images/cat~3/explanation").json()
    assert why["head"] == "cat~1"
    assert not why["founded"]
    assert why["threshold"] == pytest.approx(0.9)
    assert why["head_score"] >= why["head_threshold"]
    compared = {candidate["image_id"]: candidate for candidate in why["candidates"]}
    assert {"cat~1", "cat~2"} <= set(compared)
    assert compared["cat~2"]["match"]
    assert compared["cat~2"]["overlap"] >= 1
    assert compared["cat~2"]["head"] == "cat~1"
    assert why["classifier_version"] == "cosine-1"
    assert why["latency_ms"] == 5
    assert why["summary"].startswith("Joined the cluster of cat~1")


def test_an_explanation_of_a_founder_says_that_it_founded_a_cluster(unchanged: httpx.Client) -> None:
    why = unchanged.get("/v1/images/bird~1/explanation").json()
    assert why["founded"]
    assert why["summary"].startswith("Founded a cluster")


def test_the_history_holds_the_decision(unchanged: httpx.Client) -> None:
    history = unchanged.get("/v1/images/dog~1/history").json()
    assert [decision["sequence"] for decision in history["decisions"]] == [2]
    assert unchanged.get("/v1/images/nobody/history").status_code == 404


def test_recent_clusters_have_two_members_or_more_and_come_newest_first(filled: httpx.Client, writer: Writer) -> None:
    writer.decide(["dog~2"])
    seen(filled, "dog~2")
    clusters = filled.get("/v1/recent-clusters").json()["clusters"]
    assert [cluster["head"] for cluster in clusters] == ["dog~1", "cat~1"]
    assert [member["image_id"] for member in clusters[0]["members"]] == ["dog~1", "dog~2"]
    assert len(filled.get("/v1/recent-clusters?limit=1").json()["clusters"]) == 1


HOSTILE = [
    "a/b.jpg",
    "s3://bucket/pictures/ü 1.jpg",
    "a/explanation",
    "images/../..",
    "/",
    "..%2f..%2fetc",
    "<script>alert(1)</script>",
    "a?b=c&d#e",
    "100%",
    "%2e%2e",
    "a+b c",
    "日本語",
    "x" * 512,
]


def test_every_decided_id_can_be_looked_up(client: httpx.Client, writer: Writer) -> None:
    writer.decide(HOSTILE)
    for image_id in HOSTILE:
        encoded = quote(image_id, safe="")
        seen(client, encoded)
        assert client.get(f"/v1/images/{encoded}").json()["image_id"] == image_id
        assert client.get(f"/v1/images/{encoded}/explanation").json()["image_id"] == image_id
        assert client.get(f"/v1/images/{encoded}/history").json()["image_id"] == image_id
        assert client.get(f"/v1/clusters/{encoded}").json()["head"] == image_id
        members = client.get(f"/v1/clusters/{encoded}/members").json()["members"]
        assert [member["image_id"] for member in members] == [image_id]


def test_slashes_in_an_id_need_not_be_encoded(client: httpx.Client, writer: Writer) -> None:
    writer.decide(["a/b/c.jpg"])
    seen(client, "a/b/c.jpg")
    assert client.get("/v1/images/a/b/c.jpg/explanation").json()["image_id"] == "a/b/c.jpg"


@pytest.mark.parametrize("raw", ["%ff%fe", "x" * 513, "", "%C3"])
def test_malformed_ids_are_refused(unchanged: httpx.Client, raw: str) -> None:
    answer = unchanged.get(f"/v1/images/{raw}")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
