"""Claims about retries, errors and what is sent, for both clients, against a scripted server."""

import socket
import time
from pathlib import Path

import pytest

from neardup_platform import (
    AccessDenied,
    Client,
    Conflict,
    InvalidRequest,
    NeardupError,
    NotFound,
    RateExceeded,
    ServerUnavailable,
    TooCostly,
)
from neardup_platform.client.calls import LOOKUP_IDS
from neardup_platform.client.exchange import TIMEOUT_S
from tests.client.conftest import Reply, ScriptedServer, opened, problem

HEADS = Reply(body={"heads": {"cat": "cat"}, "unknown": []})
MOVED = Reply(
    body={"command_id": "c", "override_id": "c", "action": "move", "image_id": "a", "head": "b", "decisions": "2"}
)
SEARCHED = Reply(
    body={
        "seen_before": False,
        "cluster": None,
        "score": 0,
        "head_score": 0,
        "matches": [],
        "candidates_found": 0,
        "threshold": 0.5,
        "head_threshold": 0.4,
        "images_searched": 0,
        "stage_ms": {},
        "a field of a newer server": 1,
    }
)


@pytest.mark.parametrize(
    "busy", [problem(503, "not yet", Retry_After="0"), problem(429, "too many", Retry_After="0"), Reply(0)]
)
def test_a_busy_or_unreachable_server_is_asked_again(kind: str, busy: Reply) -> None:
    with ScriptedServer([busy, busy, HEADS]) as server, opened(kind, server.url) as api:
        assert api.lookup_many(["cat"]) == {"cat": "cat"}
        assert len(server.seen) == 3


def test_retry_after_sets_the_pause(kind: str) -> None:
    with ScriptedServer([problem(503, "not yet", Retry_After="1"), HEADS]) as server, opened(kind, server.url) as api:
        begun = time.monotonic()
        api.lookup_many(["cat"])
        assert time.monotonic() - begun >= 1


def test_retries_end_after_the_attempts_with_the_server_s_text(kind: str) -> None:
    script = [problem(429, "too many searches", Retry_After="0")]
    with (
        ScriptedServer(script) as server,
        opened(kind, server.url, attempts=3) as api,
        pytest.raises(RateExceeded, match="too many searches") as refused,
    ):
        api.lookup_many(["cat"])
    assert len(server.seen) == 3
    assert refused.value.retry_s > 0


def test_an_unreachable_server_is_reported_with_its_address(kind: str) -> None:
    message = r"the API at http://127\.0\.0\.1:9 does not answer"
    with opened(kind, "http://127.0.0.1:9", attempts=2) as api, pytest.raises(ServerUnavailable, match=message):
        api.status()


def test_a_silent_server_is_given_up_after_the_timeout(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        begun = time.monotonic()
        with opened(kind, url, timeout_s=0.2, attempts=2) as api, pytest.raises(ServerUnavailable):
            api.status()
        # The clients' own time-out is far longer.
        assert time.monotonic() - begun < TIMEOUT_S


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, InvalidRequest),
        (401, AccessDenied),
        (403, AccessDenied),
        (404, NotFound),
        (409, Conflict),
        (413, InvalidRequest),
        (422, TooCostly),
        (500, NeardupError),
        (502, ServerUnavailable),
        (504, ServerUnavailable),
    ],
)
def test_a_problem_becomes_an_error_of_the_tree_and_is_not_retried(
    kind: str, status: int, error: type[NeardupError]
) -> None:
    with (
        ScriptedServer([problem(status, "what is wrong and what to do")]) as server,
        opened(kind, server.url) as api,
        pytest.raises(NeardupError, match="what is wrong and what to do") as raised,
    ):
        api.lookup("cat")
    assert type(raised.value) is error
    assert len(server.seen) == 1


def test_an_error_without_a_problem_document_names_the_request(kind: str) -> None:
    with (
        ScriptedServer([Reply(404, "no document")]) as server,
        opened(kind, server.url) as api,
        pytest.raises(NotFound, match=r"GET http://127\.0\.0\.1:\d+/v1/images/cat answered 404"),
    ):
        api.lookup("cat")


def test_an_answer_of_another_form_is_reported(kind: str) -> None:
    with (
        ScriptedServer([Reply(body={"heads": 7})]) as server,
        opened(kind, server.url) as api,
        pytest.raises(NeardupError, match="unexpected answer"),
    ):
        api.lookup_many(["cat"])


def test_a_retried_correction_has_the_same_idempotency_key(kind: str) -> None:
    script = [problem(503, "the worker did not answer", Retry_After="0"), MOVED]
    with ScriptedServer(script) as server, opened(kind, server.url) as api:
        moved = api.move("a", "b", reason="a false match", issued_by="an operator")
        api.move("a", "b")
    assert (moved.override_id, moved.head, moved.decisions) == ("c", "b", 2)
    assert server.seen[0].json == {
        "action": "move",
        "image_id": "a",
        "other_id": "b",
        "reason": "a false match",
        "issued_by": "an operator",
    }
    keys = [request.headers["idempotency-key"] for request in server.seen]
    assert keys[0] == keys[1] != keys[2]
    assert all(keys)


def test_corrections_send_what_was_asked(kind: str) -> None:
    with ScriptedServer([MOVED]) as server, opened(kind, server.url) as api:
        api.alone("a", key="once")
        api.forbid("a", "b")
        api.remove_override("o/1")
        api.merge("a", "b", reason="one motif")
        api.split("a", ["b", "c"])
        api.quarantine("a")
    assert [(seen.method, seen.path) for seen in server.seen[:3]] == [
        ("POST", "/v1/overrides"),
        ("POST", "/v1/overrides"),
        ("DELETE", "/v1/overrides/o%2F1?issued_by=api"),
    ]
    merged, split, isolated = (seen.json for seen in server.seen[3:])
    assert (merged["action"], merged["other_id"], merged["reason"]) == ("merge", "b", "one motif")
    assert (split["action"], split["image_id"], split["image_ids"]) == ("split", "a", ["b", "c"])
    assert (isolated["action"], isolated["image_id"]) == ("quarantine", "a")
    assert [seen.json["action"] for seen in server.seen[:2]] == ["alone", "forbid"]
    assert server.seen[0].headers["idempotency-key"] == "once"


LABELLED = Reply(
    body={
        "command_id": "c",
        "label_id": "c",
        "bank": "one",
        "image_id": "a/1",
        "policy": "p",
        "action": "block",
        "head": "h",
        "size": 2,
        "members": ["h", "a/1"],
    }
)


def test_labels_send_what_was_asked(kind: str) -> None:
    removed = Reply(body={"command_id": "c", "label_id": "c", "bank": "one", "image_id": "a/1"})
    with ScriptedServer([LABELLED, removed]) as server, opened(kind, server.url) as api:
        labelled = api.label("a/1", "one", "p", "block", reason="why", issued_by="me", key="once")
        assert api.unlabel("a/1", "one").label_id == "c"
    assert (labelled.head, labelled.size, labelled.members) == ("h", 2, ["h", "a/1"])
    assert [(seen.method, seen.path) for seen in server.seen] == [
        ("POST", "/v1/banks/one"),
        ("DELETE", "/v1/banks/one/a%2F1?issued_by=api"),
    ]
    assert server.seen[0].json == {
        "image_id": "a/1",
        "policy": "p",
        "action": "block",
        "reason": "why",
        "issued_by": "me",
    }
    assert server.seen[0].headers["idempotency-key"] == "once"


def test_hashes_send_what_was_asked_and_are_read_to_the_end(kind: str) -> None:
    pdq = 64 * "0"
    match = {"image_id": "a", "head": "h", "pdq": pdq, "distance": 3}
    terms = {"bank": "one", "policy": "p", "action": "block"}
    counts = {"hashes": 1, "added": 1, "matched": 1, "labelled": 1, "not_matchable": 0}
    added = Reply(body={"command_id": "c", "label_id": "c", **terms, **counts, "matches": [match]})
    removed = Reply(body={"command_id": "c", "bank": "one", "removed": 1, "labels_removed": 1})
    with ScriptedServer([added, removed]) as server, opened(kind, server.url) as api:
        (found,) = api.label_hashes([pdq], "one", "p", "block", issued_by="me", key="once").matches
        assert (found.image_id, found.distance) == ("a", 3)
        assert api.unlabel_hash(pdq, "one").labels_removed == 1
    assert [(seen.method, seen.path) for seen in server.seen] == [
        ("POST", "/v1/hashes/one"),
        ("DELETE", f"/v1/hashes/one/{pdq}?issued_by=api"),
    ]
    assert server.seen[0].json["hashes"] == [pdq]


def test_forget_returns_the_new_head(kind: str) -> None:
    forgotten = Reply(body={"command_id": "c", "forgotten": "image", "new_head": "b"})
    with ScriptedServer([forgotten]) as server, opened(kind, server.url) as api:
        assert api.forget("a").new_head == "b"
    assert (server.seen[0].method, server.seen[0].path) == ("DELETE", "/v1/images/a?issued_by=api")


def test_a_picture_is_sent_whole_at_every_attempt(kind: str, tmp_path: Path) -> None:
    picture = tmp_path / "picture.jpg"
    picture.write_bytes(bytes(range(256)) * 64)
    busy = problem(503, "not yet", Retry_After="0")
    with ScriptedServer([busy, SEARCHED]) as server, opened(kind, server.url) as api:
        api.search(picture)
        server.replies[:] = [busy, SEARCHED]
        with picture.open("rb") as file:
            api.search(file)
    assert len(server.seen) == 4
    assert all(picture.read_bytes() in request.body for request in server.seen)


def test_many_ids_are_looked_up_in_chunks(kind: str) -> None:
    with ScriptedServer([HEADS]) as server, opened(kind, server.url) as api:
        api.lookup_many(f"image {n}" for n in range(2 * LOOKUP_IDS + 1))
        assert [len(request.json["ids"]) for request in server.seen] == [LOOKUP_IDS, LOOKUP_IDS, 1]
        server.seen.clear()
        api.lookup_many("\x7fä" * 170 + str(n) for n in range(LOOKUP_IDS))
        assert len(server.seen) > 1
        assert all(len(request.body) < 1 << 20 for request in server.seen)


def test_members_follow_the_cursor_to_the_last_page(kind: str) -> None:
    def page(image_id: str, cursor: str | None) -> Reply:
        member = {"image_id": image_id, "score": 1, "decided_ms": 1, "picture": None}
        return Reply(body={"head": "a", "size": 3, "members": [member], "next_cursor": cursor, "redirected_from": None})

    with ScriptedServer([page("a", "x="), page("b", "y"), page("c", None)]) as server, opened(kind, server.url) as api:
        assert [member.image_id for member in api.members("a")] == ["a", "b", "c"]
    assert [request.path.partition("limit=1000")[2] for request in server.seen] == ["", "&cursor=x%3D", "&cursor=y"]


def test_the_token_is_sent_and_no_proxy_or_netrc_is_used(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with ScriptedServer([HEADS]) as server, opened(kind, server.url, "a-token-of-a-test") as api:
        api.lookup_many(["cat"])
    assert server.seen[0].headers["authorization"] == "Bearer a-token-of-a-test"


def test_without_a_token_none_is_sent(kind: str) -> None:
    with ScriptedServer([HEADS]) as server, opened(kind, server.url) as api:
        api.lookup_many(["cat"])
    assert "authorization" not in server.seen[0].headers


def test_a_redirect_is_not_followed(kind: str) -> None:
    with ScriptedServer([HEADS]) as other:
        redirect = Reply(307, {}, {"Location": f"{other.url}/v1/images:lookup"})
        with (
            ScriptedServer([redirect]) as server,
            opened(kind, server.url, "a-token-of-a-test") as api,
            pytest.raises(NeardupError, match="answered 307"),
        ):
            api.lookup_many(["cat"])
        assert not other.seen


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://host", "http://", "http://[::1"])
def test_what_is_no_address_of_an_api_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest, match="not the address of an API"):
        Client(url)


@pytest.mark.parametrize("options", [{"timeout_s": 0}, {"attempts": 0}])
def test_a_client_that_cannot_work_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(InvalidRequest, match="must be positive"):
        Client("http://127.0.0.1:1", **options)  # type: ignore[arg-type]


def test_the_list_of_clusters_follows_its_cursors_in_pages_that_the_server_allows(kind: str) -> None:
    row = {"head": "cat", "size": 2, "created_ms": 0, "updated_ms": 0, "members": []}
    pages = [Reply(body={"clusters": [row], "next_cursor": "a+b"}), Reply(body={"clusters": [], "next_cursor": None})]
    for filters, limit in (({"sort": "oldest"}, 1_000), ({"members": 3}, 100)):
        with ScriptedServer(list(pages)) as server, opened(kind, server.url) as api:
            assert [cluster.head for cluster in api.clusters(**filters)] == ["cat"]
        ((name, value),) = filters.items()
        query = f"/v1/clusters?limit={limit}&{name}={value}"
        assert [each.path for each in server.seen] == [query, f"{query}&cursor=a%2Bb"]
