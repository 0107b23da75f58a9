"""Claims about messages that Kafka never takes, on a real broker: none of them stops the worker, none is lost."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from kafka import KafkaAdminClient

from neardup_platform.dead_letters.kafka_dead_letters import LetterFilter, replay
from neardup_platform.kafka.control import new_command
from neardup_platform.kafka.publisher import make_producer
from neardup_platform.kafka.topics import connection
from neardup_platform.settings import Settings
from neardup_platform.store.writer import Batch, Store
from neardup_platform.stream.outbox_entries import put_outbox
from neardup_platform.testing import eventually
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.topics import CONTROL, CONTROL_RESULTS, DEAD_LETTER, DEBUG
from tests.faults.traffic import traffic
from tests.faults.world import home_of, settle, supervised, wait_until_settled
from tests.kafka.topic_settings import set_topic
from tests.stream.worker_process import images, read_topic, reading

pytestmark = pytest.mark.slow


@contextmanager
def largest(settings: Settings, topic: str, size: int) -> Iterator[None]:
    """A topic that takes no larger messages for the moment."""
    admin = KafkaAdminClient(**connection(settings.kafka))
    try:
        for most in (size, settings.kafka.max_message_bytes):
            set_topic(admin, topic, "max.message.bytes", str(most))
            if most == size:
                yield
    finally:
        admin.close()


def letters(settings: Settings) -> list[pb.DeadLetter]:
    """Each once, however often it was published."""
    found = [pb.DeadLetter.FromString(value) for value in read_topic(settings, DEAD_LETTER)]
    return list({letter.event_id: letter for letter in found}.values())


def test_what_a_topic_refuses_is_dead_lettered_and_all_else_published(own_log: Settings, tmp_path: Path) -> None:
    settings = home_of(own_log, tmp_path / "home")
    before = len(read_topic(settings, DEBUG))
    with traffic(settings) as sender, largest(settings, DEBUG, 100):
        with supervised(settings), reading(settings) as reader:
            sender.images(range(30))
            eventually(lambda: images(reader) == 30)
            wait_until_settled(settings, reader)
            refused = reader.state().counters["unpublishable"]
        assert len(read_topic(settings, DEBUG)) == before
    found = [letter for letter in letters(settings) if letter.reason == "unpublishable"]
    assert refused == len(found) > 0
    details = [pb.DebugDetail.FromString(letter.value) for letter in found]
    assert sum(detail.batch_images for detail in details) == 30
    assert {letter.topic for letter in found} == {DEBUG}
    replayed = replay(settings.kafka, LetterFilter("unpublishable", (), 0))
    assert replayed.sent == {DEBUG: refused}
    assert len(read_topic(settings, DEBUG)) == before + refused


def test_a_dead_letter_that_its_topic_refuses_is_kept_until_it_is_taken(own_log: Settings, tmp_path: Path) -> None:
    settings = home_of(own_log, tmp_path / "home")
    with traffic(settings) as sender:
        with largest(settings, DEAD_LETTER, 100), supervised(settings), reading(settings) as reader:
            sender.garbage(5, seed=3)
            eventually(lambda: images(reader) >= 0 and reader.state().counters["unpublishable_kept"] >= 5)
            wait_until_settled(settings, reader)
            kept = reader.state().counters["unpublishable_kept"]
        before = len(letters(settings))
        with supervised(settings), reading(settings) as reader:
            eventually(lambda: len(letters(settings)) == before + kept)
            wait_until_settled(settings, reader)
            assert reader.state().counters["unpublishable_kept"] == 0


def test_a_store_that_an_earlier_release_could_not_start_from_is_started_from(
    own_log: Settings, tmp_path: Path
) -> None:
    settings = home_of(own_log, tmp_path / "home")
    with closing(Store(settings.store_path)) as store:
        state, batch = store.state(), Batch()
        result = pb.CommandResult(command_id="poison", accepted=True, values={"by": "x" * 1_100_000, "paused": "now"})
        put_outbox(batch, state, [(CONTROL_RESULTS, b"poison", result.SerializeToString())])
        batch.put_state(state)
        store.write(batch)
    settle(settings)
    results = [pb.CommandResult.FromString(value) for value in read_topic(settings, CONTROL_RESULTS)]
    (sent,) = [result for result in results if result.command_id == "poison"]
    assert (dict(sent.values), dict(sent.values_left_out)) == ({"paused": "now"}, {"by": 1_100_000})


def test_a_command_with_an_endless_field_is_refused_by_name_and_not_repeated(own_log: Settings, tmp_path: Path) -> None:
    settings = home_of(own_log, tmp_path / "home")
    command = new_command("pause", {}, "a test", command_id="endless")
    command.issued_by = "e" * 1_000_000
    producer = make_producer(settings.kafka)
    producer.send(CONTROL, key=b"endless", value=command.SerializeToString()).get(timeout=30)
    producer.close()
    settle(settings)
    results = [pb.CommandResult.FromString(value) for value in read_topic(settings, CONTROL_RESULTS)]
    (result,) = {result.reason for result in results if result.command_id == "endless"}
    assert result == "issued_by has 1000000 bytes, at most 1024 are allowed"
