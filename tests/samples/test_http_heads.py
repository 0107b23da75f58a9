"""Reading clusters back over a real HTTP server on loopback."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import unquote

import pytest

from neardup_platform.errors import ServerUnavailable
from samples.http_heads import read_heads

HEADS = {"cat.jpg": "cat.jpg", "cat--crop.jpg": "cat.jpg", "in a folder/ü.jpg": "cat.jpg"}


class Api(BaseHTTPRequestHandler):
    asked: ClassVar[Counter[str]] = Counter()

    def do_GET(self) -> None:
        image_id = unquote(self.path.removeprefix("/v1/images/"))
        self.asked[image_id] += 1
        # `late.jpg` becomes visible at the third question, as behind a reader that trails the worker.
        head = "late.jpg" if image_id == "late.jpg" and self.asked[image_id] > 2 else HEADS.get(image_id)
        self.send_response(500 if image_id == "broken.jpg" else 404 if head is None else 200)
        self.end_headers()
        self.wfile.write(json.dumps({"head": head}).encode())

    def log_message(self, *_arguments: object) -> None:
        """Keeps test output quiet."""


@pytest.fixture
def api_url() -> Iterator[str]:
    Api.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_known_images_have_heads_and_unknown_ones_are_absent(api_url: str) -> None:
    assert read_heads(api_url, [*HEADS, "nobody.jpg"]) == HEADS


def test_an_image_not_yet_visible_is_asked_for_again(api_url: str) -> None:
    assert read_heads(api_url, ["late.jpg"], patience_s=10) == {"late.jpg": "late.jpg"}


def test_patience_ends(api_url: str) -> None:
    assert read_heads(api_url, ["nobody.jpg"], patience_s=0.3) == {}
    assert Api.asked["nobody.jpg"] > 1


def test_an_error_of_the_api_names_the_address(api_url: str) -> None:
    with pytest.raises(ServerUnavailable, match=r"broken\.jpg answered 500"):
        read_heads(api_url, ["broken.jpg"])


def test_no_api_is_said() -> None:
    with pytest.raises(ServerUnavailable, match="got no answer"):
        read_heads("http://127.0.0.1:9", ["cat.jpg"])
