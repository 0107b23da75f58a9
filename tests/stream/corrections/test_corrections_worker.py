"""Claims about corrections with a real worker, a real Kafka and the API: done once, seen at once, and not undone."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from neardup_platform.bench.synthetic import embeddings, image_id
from neardup_platform.errors import ServerUnavailable
from neardup_platform.kafka.control import new_command, run_command, send_command
from neardup_platform.kafka.publisher import make_producer
from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card
from neardup_platform.serving.app import build_app
from neardup_platform.serving.search_corpus import Models
from neardup_platform.settings import Settings
from neardup_platform.store.secondary import SecondaryStore
from neardup_platform.testing import eventually
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import decode_decision, encode_embedding
from neardup_platform.wire.topics import CONTROL_RESULTS, DECISIONS, EMBEDDINGS
from tests.serving.conftest import listening, wait_for
from tests.stream.rearranged import assert_gone, assert_store_agrees, heads
from tests.stream.worker_process import PATIENCE_S, images, publish, read_topic, reading, running, start

pytestmark = pytest.mark.slow

FATES = ("repeated", "expired", "evicted", "dead_lettered", "forgotten", "re_embedded")


def no_models() -> Models:
    raise ServerUnavailable("this test searches for nothing")


@contextmanager
def api(settings: Settings) -> Iterator[httpx.Client]:
    with listening(build_app(settings, no_models)) as client:
        wait_for(client, "/readyz", lambda answer: answer.status_code == 200)
        client.timeout = httpx.Timeout(60)
        yield client


def assert_accounted_for(reader: SecondaryStore) -> None:
    reader.refresh()
    state = reader.state()
    ended = sum(state.counters[fate] for fate in FATES)
    assert state.counters["received"] == 2 * state.images + ended + sum(1 for _ in reader.unpaired.all())
    assert state.images == sum(1 for _ in reader.images.all())


def repeat(settings: Settings, number: int, time_ms: int, lsh_version: str = "") -> None:
    """Publish the embeddings of an image again, or only a newer one of one kind."""
    producer = make_producer(settings.kafka)
    for half in embeddings(number, read_card(SHIPPED_FOLDER).required_models, time_ms):
        raw = pb.EmbeddingReady.FromString(encode_embedding(half))
        raw.model_version = lsh_version or raw.model_version
        if not lsh_version or raw.kind == pb.KIND_LSH:
            producer.send(EMBEDDINGS[half.kind], key=half.image_id.encode(), value=raw.SerializeToString())
    producer.flush()
    producer.close()


def test_corrections_are_made_once_seen_at_once_and_survive_kills(
    empty_log: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = empty_log.model_copy(update={"join": empty_log.join.model_copy(update={"newer_lsh": ("later",)})})
    made_ms = time.time_ns() // 1_000_000
    with reading_worker(settings) as reader, api(settings) as client:
        publish(settings, range(30))
        wait_for(client, "/v1/status", lambda answer: answer.json()["images"] == 30)
        head, *members = (image_id(number) for number in (0, 6, 12, 18))
        _overrides_act(client, head, members)
        _forgetting_acts(client, reader, settings, head, members, made_ms)
        assert_accounted_for(reader)
        events = [pb.Decision.FromString(value) for value in read_topic(settings, DECISIONS)]
        (handed,) = [event for event in events if event.cause == "handover"]
        assert (handed.replaced_head, handed.head) == (head, client.get(f"/v1/clusters/{head}").json()["head"])
        repeat(settings, 29, made_ms + 1, "later")
        eventually(lambda: refreshed(reader).state().counters["re_embedded"] == 1)
        assert [decode_decision(data).cause for data in reader.history.all(image_id(29))] == ["", "re-embedded"]
    _a_kill_undoes_nothing(settings, members[2], monkeypatch)


@contextmanager
def reading_worker(settings: Settings) -> Iterator[SecondaryStore]:
    with running(settings), reading(settings) as reader:
        yield reader


def refreshed(reader: SecondaryStore) -> SecondaryStore:
    reader.refresh()
    return reader


def _overrides_act(client: httpx.Client, head: str, members: list[str]) -> None:
    """Unrelated images are put into one cluster."""
    for member in members:
        asked = {"action": "move", "image_id": member, "other_id": head, "issued_by": "ops", "reason": "a test"}
        first = client.post("/v1/overrides", json=asked, headers={"Idempotency-Key": f"of {member}"})
        assert first.status_code == 200, first.text
        assert client.get(f"/v1/images/{member}").json()["head"] == head
    again = client.post("/v1/overrides", json=asked, headers={"Idempotency-Key": f"of {member}"})
    assert (again.status_code, again.json()) == (200, first.json())
    refused = client.post("/v1/overrides", json={"action": "alone", "image_id": members[1]})
    assert refused.status_code == 409
    assert f"by override of {members[1]}" in refused.json()["detail"]
    assert [o["issued_by"] for o in client.get("/v1/overrides").json()["overrides"]] == ["ops"] * 3
    assert client.delete(f"/v1/overrides/of {members[0]}", params={"issued_by": "ops"}).status_code == 200
    assert client.get(f"/v1/images/{members[0]}").json()["head"] == head
    assert client.get("/v1/overrides").json()["total"] == 2


def _forgetting_acts(
    client: httpx.Client, reader: SecondaryStore, settings: Settings, head: str, members: list[str], made_ms: int
) -> None:
    answer = client.delete(f"/v1/images/{head}", params={"issued_by": "ops"})
    assert (answer.status_code, answer.json()["new_head"]) == (200, members[0])
    assert client.get("/v1/overrides").json()["total"] == 0
    assert client.get(f"/v1/images/{head}").status_code == 404
    assert client.get(f"/v1/clusters/{head}").json()["redirected_from"] == head
    assert_gone(refreshed(reader), head)
    repeat(settings, int(head.rpartition("-")[2]), made_ms - 60_000)
    eventually(lambda: refreshed(reader).state().counters["forgotten"] == 4)
    assert client.get(f"/v1/images/{head}").status_code == 404


def _a_kill_undoes_nothing(settings: Settings, gone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the write and before its effect in memory."""
    command = new_command("forget", {"image_id": gone}, "a test")
    monkeypatch.setenv("NEARDUP_CRASH_AT", "command_committed:1")
    process = start(settings)
    try:
        send_command(settings.kafka, command)
        assert process.wait(PATIENCE_S) == -9
    finally:
        process.kill()
        process.wait()
    monkeypatch.delenv("NEARDUP_CRASH_AT")
    with reading_worker(settings) as reader:
        publish(settings, range(30, 36))
        eventually(lambda: images(reader) == 34)
        assert_gone(reader, gone)
        assert_accounted_for(reader)
    results = [pb.CommandResult.FromString(value) for value in read_topic(settings, CONTROL_RESULTS)]
    assert len({r.SerializeToString(deterministic=True) for r in results if r.command_id == command.command_id}) == 1


def results_of(settings: Settings, command_id: str) -> set[bytes]:
    """Return the distinct results of a command."""
    results = [pb.CommandResult.FromString(value) for value in read_topic(settings, CONTROL_RESULTS)]
    return {r.SerializeToString(deterministic=True) for r in results if r.command_id == command_id}


def test_a_merge_and_a_split_are_done_once_by_workers_that_are_killed(
    empty_log: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other, third = (image_id(number) for number in range(3))

    def carried_out(point: str, **arguments: str) -> pb.CommandResult:
        """Send an override to a worker that dies at a crash point; the next worker gives the result."""
        command = new_command("override", arguments, "a test")
        monkeypatch.setenv("NEARDUP_CRASH_AT", f"{point}:1")
        process = start(empty_log)
        try:
            send_command(empty_log.kafka, command)
            assert process.wait(PATIENCE_S) == -9
        finally:
            process.kill()
            process.wait()
        monkeypatch.delenv("NEARDUP_CRASH_AT")
        with running(empty_log), reading(empty_log) as reader:
            eventually(lambda: results_of(empty_log, command.command_id))
            assert_store_agrees(refreshed(reader))
        (result,) = results_of(empty_log, command.command_id)
        return pb.CommandResult.FromString(result)

    with reading_worker(empty_log) as reader:
        publish(empty_log, range(3))
        eventually(lambda: images(reader) == 3)
    merges = [
        carried_out("prepared", action="merge", image_id=one, other_id=other),
        carried_out("command_committed", action="merge", image_id=third, other_id=one),
    ]
    assert [(result.accepted, result.values["moved"]) for result in merges] == [(True, "1")] * 2
    head = merges[-1].values["head"]
    with reading_worker(empty_log) as reader:
        assert set(heads(reader).values()) == {head}
        for result in merges:
            withdrawn = new_command("override", {"action": "remove", "override_id": result.command_id}, "a test")
            assert run_command(empty_log.kafka, withdrawn, PATIENCE_S).accepted
    leaving = [image_id for image_id in (one, other, third) if image_id != head]
    for point, image in zip(("prepared", "command_committed"), leaving, strict=True):
        assert carried_out(point, action="split", image_id=head, image_ids=image).accepted
    with reading_worker(empty_log) as reader:
        assert heads(reader) == {image_id: image_id for image_id in (one, other, third)}
        assert len(refreshed(reader).overrides.all()) == 2
