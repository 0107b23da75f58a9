"""Dagster's webserver as `neardup up` runs it: a real process, with requests from browsers, other sites and clients."""

import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from neardup_platform.servers.ports import is_free
from tests.dagster.supervised import ROOT

pytestmark = pytest.mark.slow

EVIL = "http://evil.example"
JSON = {"Content-Type": "application/json"}


class Webserver:
    """A running webserver without code locations, and the effects of launches through it."""

    def __init__(self, port: int, dagster_home: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.socket = f"ws://127.0.0.1:{port}/graphql"
        self._dagster_home = dagster_home

    def changed(self) -> bool:
        """Whether the mutation of these tests was executed; it is reverted."""
        with dg.DagsterInstance.from_config(str(self._dagster_home)) as instance:
            keys = instance.event_log_storage.get_concurrency_keys()
            for key in keys:
                instance.event_log_storage.delete_concurrency_limit(key)
        return bool(keys)


MUTATION = 'mutation { setConcurrencyLimit(concurrencyKey: "door", limit: 1) }'


@pytest.fixture(scope="module")
def webserver(tmp_path_factory: pytest.TempPathFactory, new_dagster_home: Path) -> Iterator[Webserver]:
    folder = tmp_path_factory.mktemp("webserver")
    dagster_home = folder / "dagster"
    shutil.copytree(new_dagster_home, dagster_home)
    (folder / "workspace.yaml").write_text("load_from: []\n")
    port = next(port for port in range(22_100, 22_200) if is_free(port))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "resources.guarded_webserver", str(folder / "workspace.yaml")],
            cwd=ROOT,
            env={
                **os.environ,
                "DAGSTER_HOME": str(dagster_home),
                "NEARDUP_HOME": str(folder),
                "NEARDUP_DAGSTER_PORT": str(port),
            },
            stdout=log,
            stderr=log,
        )
    try:
        server = Webserver(port, dagster_home)
        await_answer(server.url, process, folder / "log")
        yield server
    finally:
        process.terminate()
        process.wait(30)


def await_answer(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 180
    while True:
        try:
            if httpx.get(f"{url}/server_info").status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


@pytest.mark.parametrize(
    "headers",
    [{}, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, {"Origin": EVIL}, {"Accept": "image/*"}],
    ids=["a client", "a picture of a page", "a script of a page", "an old browser's picture"],
)
def test_no_mutation_is_accepted_by_get(webserver: Webserver, headers: dict[str, str]) -> None:
    for path in ("/graphql", "/graphql/", "/%67raphql"):
        answer = httpx.get(webserver.url + path, params={"query": MUTATION}, headers=headers, follow_redirects=True)
        assert answer.status_code in (403, 405)
    assert not webserver.changed()


def test_a_link_of_another_site_runs_nothing(webserver: Webserver) -> None:
    navigation = {"Accept": "text/html", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    answer = httpx.get(f"{webserver.url}/graphql", params={"query": MUTATION}, headers=navigation)
    assert answer.status_code == 403
    assert httpx.get(f"{webserver.url}/runs", headers=navigation).status_code == 200
    assert not webserver.changed()


@pytest.mark.parametrize(
    "media_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/graphql", None],
)
def test_what_a_form_can_send_is_not_accepted(webserver: Webserver, media_type: str | None) -> None:
    headers = {"Content-Type": media_type} if media_type else {}
    for content in (MUTATION, json.dumps({"query": MUTATION}), ""):
        answer = httpx.post(
            f"{webserver.url}/graphql", params={"query": MUTATION}, headers=headers, content=content.encode()
        )
        assert answer.status_code == 415
    assert httpx.post(f"{webserver.url}/report_asset_materialization/a", headers=headers).status_code == 415
    assert not webserver.changed()


def test_pages_of_other_sites_and_other_host_names_are_refused(webserver: Webserver) -> None:
    body = json.dumps({"query": MUTATION})
    for headers, status in (
        ({"Origin": EVIL}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1:1@evil.example"}, 400),
    ):
        assert httpx.post(f"{webserver.url}/graphql", headers=JSON | headers, content=body).status_code == status
    assert httpx.get(f"{webserver.url}/runs", headers={"Host": "rebound.example"}).status_code == 421
    assert not webserver.changed()


def test_our_own_page_can_query_and_mutate(webserver: Webserver) -> None:
    page = httpx.get(webserver.url, headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert "script-src" in page.headers["content-security-policy"]
    assert page.headers["x-frame-options"] == "DENY"
    headers = JSON | {"Origin": webserver.url, "Sec-Fetch-Site": "same-origin"}
    answer = httpx.post(f"{webserver.url}/graphql", headers=headers, json={"query": MUTATION})
    assert answer.json() == {"data": {"setConcurrencyLimit": True}}
    assert webserver.changed()


def test_an_oversized_body_is_not_read(webserver: Webserver) -> None:
    connection = http.client.HTTPConnection(webserver.url.removeprefix("http://"))
    connection.putrequest("POST", "/graphql")
    for name, value in (JSON | {"Content-Length": str(5 << 20)}).items():
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_a_web_socket_opens_only_for_our_own_page(webserver: Webserver) -> None:
    with connect(webserver.socket, origin=webserver.url, subprotocols=["graphql-ws"]) as socket:  # type: ignore[list-item]
        socket.send(json.dumps({"type": "connection_init", "payload": {}}))
        assert json.loads(socket.recv(60)) == {"type": "connection_ack"}
    for origin, host in ((EVIL, None), ("null", None), (webserver.url, "evil.example")):
        headers = {"Host": host} if host else {}
        with pytest.raises(InvalidStatus) as refused:
            connect(webserver.socket, origin=origin, additional_headers=headers, subprotocols=["graphql-ws"])  # type: ignore[arg-type, list-item]
        assert refused.value.response.status_code == 403
