"""Claims about what a real worker cannot use: it is reported whole, it stops nothing, and it can be tried again."""

import json
import os

import numpy as np
import pytest
from click.testing import CliRunner

from neardup_platform.cli import cli
from neardup_platform.dead_letters.kafka_dead_letters import MAX_REPLAYS, LetterFilter, list_letters, replay
from neardup_platform.dead_letters.kafka_letters import Letters
from neardup_platform.errors import NotFound
from neardup_platform.kafka.publisher import make_producer
from neardup_platform.records import Embedding, Kind
from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card
from neardup_platform.settings import Settings
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.secondary import SecondaryStore
from neardup_platform.supervise.heartbeat import read_heartbeat
from neardup_platform.testing import eventually
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import encode_embedding
from neardup_platform.wire.dead_letters import PART_BYTES
from neardup_platform.wire.topics import CONTROL, DEAD_LETTER, EMBEDDINGS, JOIN_REPORT
from tests.stream.worker_process import images, publish, read_topic, reading, running

pytestmark = pytest.mark.slow

LSH, PAIR = EMBEDDINGS[Kind.LSH], EMBEDDINGS[Kind.PAIR]
MODEL = read_card(SHIPPED_FOLDER).required_models[Kind.LSH]


def good(image_id: str) -> bytes:
    return encode_embedding(
        Embedding(image_id, Kind.LSH, MODEL.version, np.ones(MODEL.dim, np.float32), 1_700_000_000_000)
    )


LATENESS_S = 10.0

POISON: list[tuple[str, bytes | None, bytes | None, str]] = [
    (LSH, b"empty", b"", "tombstone"),
    (LSH, None, good("x"), "bad-id"),
    (LSH, b"tombstone", None, "tombstone"),
    (PAIR, b"giant", os.urandom(1_040_000), "garbage"),
    (LSH, b"zeros", bytes(1_040_000), "garbage"),
    (LSH, os.urandom(500_000), os.urandom(500_000), "garbage"),
    (PAIR, b"cut", good("cut")[:100], "garbage"),
    (PAIR, b"other topic", good("other topic"), "unknown-kind"),
    (LSH, b"unknown fields", b"\xba\x3e\x01x" * 100_000, "unknown-kind"),
    (CONTROL, b"map", pb.Command(arguments={str(n): "" for n in range(80_000)}).SerializeToString(), "bad-command"),
]


def test_every_kind_of_bad_message_is_reported_whole_and_good_input_is_decided(empty_log: Settings) -> None:
    producer = make_producer(empty_log.kafka.model_copy(update={"max_message_bytes": 2_000_000}))
    for topic, key, value, _ in POISON:
        producer.send(topic, key=key, value=value, headers=[("neardup-replays", b"\xff"), ("odd", b"")]).get(timeout=30)
    for number in range(2_000):
        producer.send(LSH, key=b"flood", value=b"\xff" * 300 + str(number).encode())
    producer.close()
    publish(empty_log, range(20))
    with running(empty_log) as worker, reading(empty_log) as reader:
        eventually(lambda: images(reader) == 20)
        eventually(lambda: sum(listed(empty_log).values()) == len(POISON) + 2_000)
        assert worker.poll() is None
        letters = originals(empty_log)
        for topic, key, value, reason in POISON:
            assert (topic, key or b"", value or b"", reason) in letters
        values = [pb.DeadLetter.FromString(value) for value in read_topic(empty_log, DEAD_LETTER)]
        assert all(len(letter.value) <= PART_BYTES for letter in values)
        reader.refresh()
        fates = reader.state().counters
        assert fates["dead_lettered"] == 2_000 + len(POISON) - 1
        assert fates["commands_garbage"] == 1


def listed(settings: Settings) -> dict[str, int]:
    return list_letters(settings.kafka, LetterFilter(), 0).counts


def originals(settings: Settings) -> set[tuple[str, bytes, bytes, str]]:
    return {(each.topic, each.key, each.value, each.reason) for each in Letters(settings.kafka, 0).read()}


def test_expired_embeddings_are_reported_and_join_when_replayed(
    empty_log: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As long as a busy machine may take between what is replayed and what completes it.
    join = empty_log.join.model_copy(update={"lateness_s": LATENESS_S, "idle_s": 0.5})
    settings = empty_log.model_copy(update={"join": join})
    with running(settings), reading(settings) as reader:
        publish(settings, range(3), kinds=(Kind.LSH,))
        eventually(lambda: listed(settings).get("expired") == 3)
        report(settings)
        assert sum(replay(settings.kafka, LetterFilter("expired"), dry_run=True).sent.values()) == 3
        assert replay(settings.kafka, LetterFilter("expired")).sent == {LSH: 3}
        publish(settings, range(3), kinds=(Kind.PAIR,))
        eventually(lambda: images(reader) == 3)
        digest = reader.state().digest
        again = replay(settings.kafka, LetterFilter("expired"))
        assert again.sent[LSH] == 3
        eventually(lambda: refreshed(reader).counters["repeated"] == sum(again.sent.values()))
        assert (reader.state().images, reader.state().digest) == (3, digest)
        garbage_is_replayed_so_often_and_no_more(settings)
        commands_tell_of_places_and_never_of_bytes(settings, monkeypatch)
        eventually(lambda: "watermark_delay_ms" in heartbeat_figures(settings))


def report(settings: Settings) -> None:
    eventually(lambda: sum(c.halves for r in reports(settings) for c in r.counts) == 3)
    told = reports(settings)
    assert {(c.kind, c.reason) for r in told for c in r.counts} == {(pb.KIND_LSH, "expired")}
    assert len({half.image_id for r in told for half in r.halves}) == 3
    for each in told:
        assert each.watermark_ms - each.newest_event_ms > each.lateness_ms == 1_000 * LATENESS_S
        assert all(half.topic == LSH for half in each.halves)


def reports(settings: Settings) -> list[pb.ExpiryReport]:
    found = [pb.ExpiryReport.FromString(value) for value in read_topic(settings, JOIN_REPORT)]
    return list({each.event_id: each for each in found}.values())


def refreshed(reader: SecondaryStore) -> store_pb.StoreState:
    reader.refresh()
    return reader.state()


def heartbeat_figures(settings: Settings) -> dict[str, float]:
    heartbeat = read_heartbeat(settings.home)
    assert heartbeat is not None
    return heartbeat.metrics


def garbage_is_replayed_so_often_and_no_more(settings: Settings) -> None:
    """However often, one original stays one: what came back of it is not sent beside it."""
    producer = make_producer(settings.kafka)
    producer.send(PAIR, key=b"k", value=b"SECRET\xff").get(timeout=30)
    producer.close()
    for replays in range(MAX_REPLAYS):
        eventually(lambda: listed(settings).get("garbage") == replays + 1)  # noqa: B023
        assert replay(settings.kafka, LetterFilter("garbage")).sent == {PAIR: 1}
    eventually(lambda: listed(settings).get("garbage") == MAX_REPLAYS + 1)
    refused = replay(settings.kafka, LetterFilter("garbage"))
    assert (sum(refused.sent.values()), refused.too_often) == (0, 1)
    newest = list_letters(settings.kafka, LetterFilter("garbage"), 10).letters
    assert [letter.replays for letter, _ in newest] == [3, 2, 1, 0]
    forced = replay(settings.kafka, LetterFilter(event_ids=[newest[-1][0].event_id]), force=True)
    assert forced.sent == {PAIR: 1}
    with pytest.raises(NotFound, match="dead-letter list"):
        replay(settings.kafka, LetterFilter(event_ids=["nobody"]))


def commands_tell_of_places_and_never_of_bytes(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARDUP_KAFKA_BOOTSTRAP", str(settings.kafka.bootstrap))
    monkeypatch.setenv("NEARDUP_S3_ENDPOINT", str(settings.s3.endpoint))
    monkeypatch.setenv("NEARDUP_HOME", str(settings.home))
    words = CliRunner().invoke(cli, ["dead-letter", "list", "--since", "1h"], catch_exceptions=False).output
    assert "garbage" in words
    assert "expired" in words
    assert "SECRET" not in words
    told = CliRunner().invoke(cli, ["dead-letter", "list", "--json", "--limit", "1", "--reason", "expired"]).output
    (letter,) = json.loads(told)["letters"]
    assert (letter["topic"], letter["reason"]) == (LSH, "expired")
    assert "SECRET" not in told
    none = CliRunner().invoke(cli, ["dead-letter", "replay", "--since", "2999-01-01", "--dry-run", "--json"]).output
    assert json.loads(none)["sent"] == 0
    wrong = CliRunner().invoke(cli, ["dead-letter", "list", "--reason", "no-such"])
    assert wrong.exit_code == 2
