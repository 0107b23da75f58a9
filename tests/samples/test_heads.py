"""Reading clusters back through the client, from a real HTTP server on loopback."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import ClassVar

import pytest

from neardup_platform import Client, NeardupError, ServerUnavailable
from neardup_platform.clock import ManualClock
from samples import heads
from samples.heads import read_heads

HEADS = {"cat.jpg": "cat.jpg", "cat--crop.jpg": "cat.jpg", "in a folder/ü.jpg": "cat.jpg"}


class Api(BaseHTTPRequestHandler):
    asked: ClassVar[Counter[str]] = Counter()

    def do_POST(self) -> None:
        ids = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["ids"]
        self.asked.update(ids)
        known = dict(HEADS)
        # `late.jpg` becomes visible at the third request, as with a reader that trails the worker.
        if self.asked["late.jpg"] > 2:
            known["late.jpg"] = "late.jpg"
        heads = {image_id: known[image_id] for image_id in ids if image_id in known}
        answer = {"heads": heads, "unknown": [image_id for image_id in ids if image_id not in heads]}
        self.send_response(500 if "broken.jpg" in ids else 200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_arguments: object) -> None:
        """Keeps test output quiet."""


@pytest.fixture
def api() -> Iterator[Client]:
    Api.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with Client(f"http://127.0.0.1:{server.server_port}") as client:
        yield client
    server.shutdown()
    thread.join()
    server.server_close()


def test_known_images_have_heads_and_unknown_ones_are_absent(api: Client) -> None:
    assert read_heads(api, [*HEADS, "nobody.jpg"], 0) == HEADS


def test_an_image_that_is_not_visible_yet_is_asked_for_again(api: Client) -> None:
    assert read_heads(api, ["late.jpg"], 180) == {"late.jpg": "late.jpg"}


def test_reading_ends_when_the_time_is_up(api: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock(0)
    sleep = lambda seconds: clock.advance(round(1_000 * seconds))  # noqa: E731
    monkeypatch.setattr(heads, "time", SimpleNamespace(monotonic=clock.monotonic_s, sleep=sleep))
    assert read_heads(api, ["nobody.jpg"], 1.0) == {}
    assert Api.asked["nobody.jpg"] == 6


def test_an_error_of_the_api_names_the_address(api: Client) -> None:
    with pytest.raises(NeardupError, match=r"images:lookup answered 500"):
        read_heads(api, ["broken.jpg"], 0)


def test_a_missing_api_is_reported() -> None:
    with Client("http://127.0.0.1:9", attempts=1) as client, pytest.raises(ServerUnavailable, match="does not answer"):
        read_heads(client, ["cat.jpg"], 0)
