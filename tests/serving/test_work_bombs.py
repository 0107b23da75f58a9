"""Expensive uploads to the real server: other searches work, memory is bounded, a disconnect ends the work."""

import re
import socket
import threading
from pathlib import Path

import httpx
import psutil
import pytest

from neardup_platform.settings import Settings
from neardup_platform.testing import eventually
from tests.images.bombs import gif_of_one_pixel, jpeg_of_scans, webp_of_one_colour
from tests.serving.test_process import LONG_S, PICTURES, decide_pictures, running


def metric(client: httpx.Client, name: str) -> float:
    return float(client.get("/metrics").text.partition(f"\n{name} ")[2].split()[0])


def upload_by_hand(client: httpx.Client, data: bytes) -> socket.socket:
    """A connection on which a picture has been uploaded and no answer read."""
    head = b'--x\r\nContent-Disposition: form-data; name="picture"; filename="x"\r\n\r\n'
    body = head + data + b"\r\n--x--\r\n"
    connection = socket.create_connection((client.base_url.host, client.base_url.port or 80))
    connection.sendall(
        f"POST /v1/search HTTP/1.1\r\nHost: 127.0.0.1:{client.base_url.port}\r\n"
        f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    return connection


def decoders(server: int) -> list[psutil.Process]:
    return [child for child in psutil.Process(server).children() if "decoding" in command(child)]


def command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def resident_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


@pytest.mark.slow
def test_expensive_uploads_do_not_delay_searches_and_end_with_their_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A JPEG of a hundred scans takes about ten seconds; with limits of an hour it runs all the time."""
    monkeypatch.setenv("NEARDUP_IMAGES_DECODE_CPU_S", "3600")
    bomb = jpeg_of_scans(100)
    names = sorted(picture.name for picture in PICTURES.glob("*.jpg"))[:3]
    decide_pictures(Settings(home=tmp_path), names)
    with running(tmp_path) as (process, client):
        eventually(lambda: client.get("/readyz").json()["search"]["ok"], "the models do not load", LONG_S)

        def search(data: bytes) -> httpx.Response:
            return client.post("/v1/search", files={"picture": data}, timeout=LONG_S)

        assert search((PICTURES / names[1]).read_bytes()).json()["matches"][0]["image_id"] == names[1]
        largest: list[int] = []
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.2):
                largest.append(sum(map(resident_bytes, decoders(process.pid))))

        watcher = threading.Thread(target=watch)
        watcher.start()
        waiting = [upload_by_hand(client, bomb) for _ in range(2)]
        try:
            eventually(lambda: metric(client, "neardup_api_decodes_slow_waiting") >= 1, "no bomb is slow", LONG_S)
            answers = [search((PICTURES / name).read_bytes()) for name in names]
            assert [answer.json()["matches"][0]["image_id"] for answer in answers] == names
            assert client.get("/healthz").status_code == 200
            refused = search(webp_of_one_colour())
            assert refused.status_code == 422
            assert refused.headers["content-type"] == "application/problem+json"
            assert "images.decode_memory_mb" in refused.json()["detail"]
            assert metric(client, "neardup_api_decodes_cancelled_total") == 0
        finally:
            done.set()
            watcher.join()
            for connection in waiting:
                connection.close()
        eventually(
            lambda: metric(client, "neardup_api_decodes_slow_waiting") == 0, "a bomb outlived its client", LONG_S
        )
        eventually(lambda: metric(client, "neardup_api_searches_waiting") == 0, "a search outlived its client", LONG_S)
        assert metric(client, "neardup_api_decodes_cancelled_total") >= 1
        assert metric(client, "neardup_api_decodes_killed_total") >= 1
        # Slow work whose client has disconnected makes room.
        assert search(gif_of_one_pixel()).status_code == 200
        assert max(largest) < 3 << 30
        assert re.search(r'neardup_api_requests_total\{.*status="499"\}', client.get("/metrics").text)
        left = decoders(process.pid)
        assert 1 <= len(left) <= 3
        process.kill()
        eventually(lambda: all(gone(each) for each in left), "a decoder outlived the server that was killed", LONG_S)
