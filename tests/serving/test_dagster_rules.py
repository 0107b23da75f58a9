"""Claims about access to Dagster's webserver: on loopback, beyond it, and behind a proxy."""

import base64
from pathlib import Path
from typing import Any

import pytest
from starlette.datastructures import Headers

from neardup_platform.errors import SetupError
from neardup_platform.serving.dagster_rules import dagster_rules
from neardup_platform.serving.guard import Guard, Refused, Request
from neardup_platform.serving.tokens import Scope, TokenFile
from neardup_platform.settings import DagsterSettings, Settings

TOKEN = "of-good-length-" * 3
EVERYWHERE = "0.0.0.0"  # noqa: S104 -- never bound: its rules are looked at
BASIC = "Basic " + base64.b64encode(f"anyone:{TOKEN}".encode()).decode()


async def nothing(*_: Any) -> None:
    """An application that no request reaches."""


def guard(home: Path, **dagster: Any) -> Guard:
    return Guard(nothing, dagster_rules(Settings(home=home, dagster=DagsterSettings(**dagster))), raw_paths=False)


def answer(door: Guard, method: str = "GET", path: str = "/runs", client: str = "10.0.0.9", **headers: str) -> int:
    """The status with which a request is refused, or 200."""
    sent = {"host": "127.0.0.1", **{name.replace("_", "-"): value for name, value in headers.items()}}
    try:
        door.admit(Request(method, path, Headers(sent), client=client))
    except Refused as refused:
        return refused.status
    return 200


def test_beyond_loopback_the_webserver_does_not_start_without_a_token(tmp_path: Path) -> None:
    for exposing in ({"host": EVERYWHERE}, {"names": ("dagster.example",)}, {"proxies": ("10.0.0.2",)}):
        with pytest.raises(SetupError, match="NEARDUP_DAGSTER_TOKEN"):
            guard(tmp_path, **exposing)
    with pytest.raises(ValueError, match="token"):
        DagsterSettings(token="")  # type: ignore[arg-type]


def test_beyond_loopback_every_call_needs_an_admin_token(tmp_path: Path) -> None:
    reader = TokenFile(tmp_path).create("reader", [Scope.READ])
    door = guard(tmp_path, host=EVERYWHERE, token=TOKEN)
    json = {"content_type": "application/json"}
    for method, path in (("GET", "/runs"), ("POST", "/graphql"), ("WEBSOCKET", "/graphql"), ("GET", "/logs/a.err")):
        assert answer(door, method, path, **json) == 401
        assert answer(door, method, path, authorization="Bearer wrong", **json) == 401
        assert answer(door, method, path, authorization=f"Bearer {reader}", **json) == 403
        assert answer(door, method, path, authorization=f"Bearer {TOKEN}", **json) == 200
        assert answer(door, method, path, authorization=BASIC, **json) == 200
    assert answer(door, "GET", "/server_info") == 200


def test_a_browser_is_asked_for_the_token(tmp_path: Path) -> None:
    door = guard(tmp_path, host=EVERYWHERE, token=TOKEN)
    with pytest.raises(Refused) as refused:
        door.admit(Request("GET", "/", Headers({"host": "dagster.example"})))
    assert refused.value.headers["WWW-Authenticate"].startswith("Basic ")


def test_on_loopback_no_token_is_needed_until_one_exists(tmp_path: Path) -> None:
    door = guard(tmp_path)
    assert answer(door) == 200
    text = TokenFile(tmp_path).create("operator", [Scope.ADMIN])
    assert answer(door) == 401
    assert answer(door, authorization=f"Bearer {text}") == 200


def test_an_identity_header_is_trusted_only_from_the_proxies(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="NEARDUP_DAGSTER_PROXIES"):
        guard(tmp_path, identity_header="X-User")
    door = guard(tmp_path, host=EVERYWHERE, identity_header="X-User", proxies=("10.0.0.2",), names=("d.example",))
    assert answer(door, client="10.0.0.2", host="d.example", x_user="ada") == 200
    assert answer(door, client="10.0.0.2", host="d.example", x_user=" ") == 401
    assert answer(door, client="10.0.0.2", host="d.example") == 401
    assert answer(door, client="10.0.0.9", host="d.example", x_user="ada") == 401
    twice = Headers(raw=[(b"host", b"d.example"), (b"x-user", b"ada"), (b"x-user", b"eve")])
    with pytest.raises(Refused):
        door.admit(Request("GET", "/", twice, client="10.0.0.2"))


@pytest.mark.parametrize("path", ["/graphql", "/graphql/"])
def test_graphql_is_accepted_only_by_post_as_json(tmp_path: Path, path: str) -> None:
    door = guard(tmp_path, token=TOKEN)
    sent = {"authorization": f"Bearer {TOKEN}"}
    assert answer(door, "GET", path, **sent) == 405
    assert answer(door, "GET", path, accept="text/html", **sent) == 200
    assert answer(door, "POST", path, content_type="text/plain", **sent) == 415
    assert answer(door, "POST", path, content_type="application/json", **sent) == 200
    cross = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    assert answer(door, "GET", path, accept="text/html", **cross, **sent) == 403
    assert answer(door, "GET", "/runs", **cross, **sent) == 200
