"""Claims about the control topic: a real worker, a real Kafka and S3, and a classifier exchanged without a stop."""

from pathlib import Path

import pytest

from neardup_platform.kafka.control import new_command, run_command, send_command
from neardup_platform.kafka.publisher import make_producer
from neardup_platform.learning.classifier.s3_registry import publish as publish_classifier
from neardup_platform.s3_client import open_s3
from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card
from neardup_platform.settings import Settings
from neardup_platform.store.secondary import SecondaryStore
from neardup_platform.supervise.heartbeat import read_heartbeat
from neardup_platform.testing import eventually
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.topics import CONTROL, CONTROL_RESULTS, DEAD_LETTER
from tests.scoring.variants import variant
from tests.stream.test_worker import assert_accounted_for
from tests.stream.worker_process import PATIENCE_S, images, log_tail, publish, read_topic, reading, running, start

pytestmark = pytest.mark.slow

SHIPPED = read_card(SHIPPED_FOLDER)
FIRST, SECOND, WORSE = "aaaaaaaaaaa1", "aaaaaaaaaaa2", "aaaaaaaaaaa3"


@pytest.fixture
def registry(empty_log: Settings, tmp_path: Path) -> Settings:
    """The registry has two classifiers as good as the shipped one, and a worse one."""
    for version, threshold, recall in ((FIRST, 0.61, None), (SECOND, 0.62, None), (WORSE, 0.63, 0.5)):
        variant(tmp_path / version, version, threshold=threshold, recall=recall, threshold_table=None)
        publish_classifier(open_s3(empty_log.s3), empty_log.s3, tmp_path / version)
    return empty_log


def load_model(version: str, **more: str) -> pb.Command:
    return new_command("load-model", {"version": version, **more}, "a test")


def results(settings: Settings) -> list[pb.CommandResult]:
    return [pb.CommandResult.FromString(value) for value in read_topic(settings, CONTROL_RESULTS)]


def decisions(reader: SecondaryStore) -> list[pb.Decision]:
    reader.refresh()
    return [pb.Decision.FromString(reader.history.current(record.image_id)) for record in reader.vectors.all()]


def said(settings: Settings, text: str) -> bool:
    log = settings.home / "worker.log"
    return log.exists() and text in log.read_text()


def test_decisions_carry_the_old_version_before_and_the_new_one_after(registry: Settings) -> None:
    with running(registry), reading(registry) as reader:
        publish(registry, range(20))
        eventually(lambda: images(reader) == 20)
        command = load_model(FIRST)
        result = run_command(registry.kafka, command, PATIENCE_S)
        assert (result.accepted, result.values["version"], result.values["replaced"]) == (True, FIRST, SHIPPED.version)
        publish(registry, range(20, 40))
        eventually(lambda: images(reader) == 40)
        made = decisions(reader)
        assert {(d.classifier_version, round(d.threshold, 4)) for d in made[:20]} == {
            (SHIPPED.version, round(SHIPPED.threshold, 4))
        }
        assert {(d.classifier_version, round(d.threshold, 4)) for d in made[20:]} == {(FIRST, 0.61)}
        (promotion,) = reader.commands.promotions()
        assert (promotion.version, promotion.replaced, promotion.sequence) == (FIRST, SHIPPED.version, 20)
        assert (promotion.issued_by, promotion.command_id, promotion.forced) == ("a test", command.command_id, False)
        heartbeat = read_heartbeat(registry.home)
        assert heartbeat is not None
        eventually(lambda: read_heartbeat(registry.home).classifier_version == FIRST)  # type: ignore[union-attr]
        assert_accounted_for(reader, registry)
        back = run_command(registry.kafka, load_model(SHIPPED.version), PATIENCE_S)
        assert back.accepted
        assert [p.version for p in refreshed(reader).commands.promotions()] == [FIRST, SHIPPED.version]


def refreshed(reader: SecondaryStore) -> SecondaryStore:
    reader.refresh()
    return reader


def test_refused_commands_change_nothing_and_say_why(registry: Settings) -> None:
    bad_dimension, untrained = "bbbbbbbbbbb1", "bbbbbbbbbbb2"
    publish_classifier(open_s3(registry.s3), registry.s3, made(registry, bad_dimension, lsh_dim=128))
    smuggle(registry, made(registry, untrained, metrics={}), untrained)
    stale = load_model(FIRST)
    stale.issued_ms -= 25 * 3_600_000
    ahead = load_model(FIRST)
    ahead.issued_ms += 2 * 3_600_000
    refused = {
        "is worse than": load_model(WORSE),
        "[128]": load_model(bad_dimension),
        "never measured": load_model(untrained),
        "not in the registry": load_model("cccccccccccc"),
        "12 hex digits": load_model("../../secrets"),
        "takes the arguments": new_command("load-model", {}, "a test"),
        "'colour'": load_model(FIRST, colour="red"),
        "`true` or `false`": load_model(FIRST, force="yes"),
        "is no command": new_command("fly", {}, "a test"),
        "25.0 hours ago": stale,
        "the worker's clock": ahead,
    }
    garbage = [b"\xff\x00garbage", b"", pb.Command(name="load-model").SerializeToString()]
    with running(registry), reading(registry) as reader:
        producer = make_producer(registry.kafka)
        for value in garbage:
            producer.send(CONTROL, key=b"k", value=value).get(timeout=30)
        producer.close()
        for command in refused.values():
            send_command(registry.kafka, command)
        again = run_command(registry.kafka, load_model(SHIPPED.version), PATIENCE_S)
        assert again.accepted
        found = {result.command_id: result for result in results(registry)}
        assert len(found) == len(refused) + 1
        for reason, command in refused.items():
            assert not found[command.command_id].accepted
            assert reason in found[command.command_id].reason
        state = refreshed(reader).state()
        assert (state.classifier_version, list(reader.commands.promotions())) == ("", [])
        assert state.counters["commands_refused"] == len(refused)
        assert state.counters["commands_garbage"] == len(garbage)
        letters = [pb.DeadLetter.FromString(value) for value in read_topic(registry, DEAD_LETTER)]
        assert [(letter.topic, letter.value) for letter in letters] == [(CONTROL, value) for value in garbage]
        publish(registry, range(3))
        eventually(lambda: images(reader) == 3)
        assert {d.classifier_version for d in decisions(reader)} == {SHIPPED.version}
        forced = run_command(registry.kafka, load_model(WORSE, force="true"), PATIENCE_S)
        assert (forced.accepted, forced.values["forced"]) == (True, "true")
        assert [p.forced for p in refreshed(reader).commands.promotions()] == [True]


def made(settings: Settings, version: str, **changes: object) -> Path:
    folder = settings.home / "made" / version
    variant(folder, version, **changes)
    return folder


def smuggle(settings: Settings, folder: Path, version: str) -> None:
    """Put a classifier where `publish` would not."""
    for file in folder.iterdir():
        key = f"classifiers/{version}/{file.name}"
        open_s3(settings.s3).put_object(Bucket=settings.s3.bucket, Key=key, Body=file.read_bytes())


def test_a_repeated_command_is_answered_alike_and_done_once(registry: Settings) -> None:
    with running(registry), reading(registry) as reader:
        command = load_model(FIRST)
        first = run_command(registry.kafka, command, PATIENCE_S)
        assert run_command(registry.kafka, load_model(SECOND), PATIENCE_S).accepted
        assert run_command(registry.kafka, command, PATIENCE_S) == first
        assert [p.version for p in refreshed(reader).commands.promotions()] == [FIRST, SECOND]
        assert reader.state().counters["commands_repeated"] == 1


def test_an_outage_of_s3_refuses_the_command_and_the_stream_continues(registry: Settings) -> None:
    away = registry.model_copy(update={"s3": registry.s3.model_copy(update={"endpoint": "http://127.0.0.1:1"})})
    with running(away), reading(away) as reader:
        publish(away, range(5))
        eventually(lambda: images(reader) == 5)
        send_command(away.kafka, load_model(FIRST))
        publish(away, range(5, 10))
        eventually(lambda: images(reader) == 10)
        eventually(lambda: results(away))
        (result,) = results(away)
        assert not result.accepted
        assert FIRST in result.reason
        assert {d.classifier_version for d in decisions(reader)} == {SHIPPED.version}
        assert list((away.home / "classifiers").iterdir()) == []


def test_kill_9_at_any_point_gives_one_result_and_the_right_classifier(registry: Settings) -> None:
    """Killed before, while and after it prepares each command; images arrive all the while."""
    points = ("worker ready", "load-model", "prepared in", "in place of")
    commands = [load_model(version) for version in (FIRST, SECOND, FIRST, SECOND)]
    for number, (point, command) in enumerate(zip(points, commands, strict=True)):
        (registry.home / "worker.log").unlink(missing_ok=True)
        process = start(registry)
        try:
            send_command(registry.kafka, command)
            publish(registry, range(30 * number, 30 * number + 30))
            eventually(lambda: said(registry, point), lambda: log_tail(registry.home))  # noqa: B023
        finally:
            process.kill()
            process.wait()
    with running(registry), reading(registry) as reader:
        eventually(lambda: len({r.command_id for r in results(registry)}) == len(commands))
        eventually(lambda: images(reader) == 120)
        publish(registry, range(120, 125))
        eventually(lambda: images(reader) == 125)
        said_of = {command.command_id: set() for command in commands}
        for value in read_topic(registry, CONTROL_RESULTS):
            said_of[pb.CommandResult.FromString(value).command_id].add(value)
        assert [len(values) for values in said_of.values()] == [1, 1, 1, 1]
        assert all(pb.CommandResult.FromString(v).accepted for values in said_of.values() for v in values)
        promotions = refreshed(reader).commands.promotions()
        assert [p.command_id for p in promotions] == [c.command_id for c in commands]
        assert [p.version for p in promotions] == [FIRST, SECOND, FIRST, SECOND]
        assert [p.replaced for p in promotions] == [SHIPPED.version, FIRST, SECOND, FIRST]
        in_force = {p.sequence: p.version for p in promotions}
        for decision in decisions(reader):
            since = max((s for s in in_force if s < decision.sequence), default=None)
            assert decision.classifier_version == (SHIPPED.version if since is None else in_force[since])
        assert decisions(reader)[-1].classifier_version == SECOND
        assert_accounted_for(reader, registry)


def test_a_restarted_worker_finds_the_promoted_classifier_again_where_its_copy_is_gone(registry: Settings) -> None:
    with running(registry):
        assert run_command(registry.kafka, load_model(FIRST), PATIENCE_S).accepted
    for file in (registry.home / "classifiers" / FIRST).iterdir():
        file.unlink()
    with running(registry), reading(registry) as reader:
        publish(registry, range(3))
        eventually(lambda: images(reader) == 3)
        assert {d.classifier_version for d in decisions(reader)} == {FIRST}
