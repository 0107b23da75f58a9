"""Reading while a writer in another process commits."""

import multiprocessing
import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path

import httpx
import pytest

from neardup_platform.settings import Settings
from tests.serving.conftest import Writer, seen, serving, wait_for

GROUPS = 7
BATCHES = 80


def id_of(sequence: int) -> str:
    return f"g{sequence % GROUPS}~{sequence}"


def write_until(home: Path, enough: Event) -> None:
    """Commit about 20 batches a second; flush every few, and restart once."""
    settings = Settings(home=home)
    writer, sequence, batches = Writer(settings), 0, 0
    while batches < BATCHES or not enough.is_set():
        size = 1 + batches % 30
        writer.decide([id_of(sequence + n) for n in range(1, size + 1)])
        sequence, batches = sequence + size, batches + 1
        if batches % 5 == 0:
            writer.store._tables.db.flush(True)
        if batches == BATCHES // 2:
            writer.store.close()
            writer = Writer(settings)
        time.sleep(0.05)
    writer.store.close()


@contextmanager
def writing(home: Path) -> Iterator[tuple[multiprocessing.process.BaseProcess, Event]]:
    """A process that writes at least until it is told that it is enough."""
    spawning = multiprocessing.get_context("spawn")
    enough = spawning.Event()
    process = spawning.Process(target=write_until, args=(home, enough))
    process.start()
    try:
        yield process, enough
        process.join()
        assert process.exitcode == 0
    finally:
        process.kill()
        process.join()


def test_heads_and_members_agree_while_a_writer_commits_flushes_and_restarts(
    settings: Settings,
) -> None:
    """An image just read is among the members of its head, and every member of a head has that head."""
    with serving(settings) as client, writing(settings.home) as (process, enough):
        wait_for(client, "/readyz", lambda answer: answer.status_code == 200)
        newest, checked, ages_ms = 0, 0, []
        while process.is_alive():
            status = client.get("/v1/status").json()
            ages_ms.append(status["refresh_age_ms"])
            if status["sequence"] == 0:
                continue
            newest = max(newest, status["sequence"])
            image = client.get(f"/v1/images/{id_of(newest)}").json()
            members = all_members(client, image["head"])
            assert image["image_id"] in members
            assert members == sorted(set(members), key=lambda image_id: int(image_id.partition("~")[2]))
            for member in members[-3:]:
                assert client.get(f"/v1/images/{member}").json()["head"] == image["head"]
            checked += 1
            if checked > 20:
                enough.set()
    assert checked > 20
    # Most, not all: a busy machine may leave any process without a turn.
    assert statistics.median(ages_ms) < 500


def test_a_commit_is_readable_within_a_second(client: httpx.Client, writer: Writer) -> None:
    waited_s = []
    for n in range(20):
        writer.decide([f"cat~{n}"])
        begun = time.monotonic()
        seen(client, f"cat~{n}")
        waited_s.append(time.monotonic() - begun)
    assert statistics.median(waited_s) < 0.5


def all_members(client: httpx.Client, head: str) -> list[str]:
    found, cursor = [], None
    while True:
        parameters = {"limit": 50} | ({"cursor": cursor} if cursor else {})
        page = client.get(f"/v1/clusters/{head}/members", params=parameters).json()
        found += [member["image_id"] for member in page["members"]]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def test_a_store_created_after_the_api_started_is_read(settings: Settings) -> None:
    with serving(settings) as client:
        assert client.get("/v1/status").status_code == 503
        writer = Writer(settings)
        with closing(writer.store):
            writer.decide(["a"])
            seen(client, "a")


@pytest.mark.parametrize("damage", ["truncated", "gone"])
def test_a_store_that_cannot_be_opened_is_reported_not_fatal(settings: Settings, damage: str) -> None:
    with closing(Writer(settings).store):
        pass
    manifest = next(settings.store_path.glob("MANIFEST-*"))
    backup = manifest.with_name("backup")
    shutil.copy(manifest, backup)
    manifest.unlink() if damage == "gone" else manifest.write_bytes(b"x" * 100)
    with serving(settings) as client:
        answer = wait_for(
            client, "/readyz", lambda answer: "no store to read" in answer.json()["checks"]["store"]["detail"]
        )
        assert answer.status_code == 503
        shutil.copy(backup, manifest)
        wait_for(client, "/readyz", lambda answer: answer.json()["checks"]["store"]["ok"])
