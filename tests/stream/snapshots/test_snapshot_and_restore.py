"""Claims about snapshot and restore: a real S3 server, a small worker, killed where it matters."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from neardup_platform.errors import BadArtefact, HomeInUse, InvariantBroken, NotFound
from neardup_platform.files import replace_file
from neardup_platform.s3_client import open_s3
from neardup_platform.servers.embedded_servers import running_servers
from neardup_platform.settings import Settings
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store import swap as store_swap
from neardup_platform.store.layout import Table
from neardup_platform.store.secondary import SecondaryStore
from neardup_platform.store.swap import before_path, complete_swap, decide_swap, next_path
from neardup_platform.store.writer import Batch
from neardup_platform.stream.control.command import RegisteredCommand, register
from neardup_platform.stream.control.pause import Pause
from neardup_platform.stream.snapshots.restore import Restore
from neardup_platform.stream.snapshots.s3_snapshots import list_snapshots, read_manifest
from neardup_platform.stream.snapshots.snapshot import Snapshot
from neardup_platform.stream.snapshots.snapshot_manifest import BadSnapshotId, Manifest, encode_manifest, manifest_key
from neardup_platform.testing import MODELS, families
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.command_arguments import PauseArguments, RestoreArguments, SnapshotArguments
from neardup_platform.wire.topics import DECISIONS
from tests.stream.control_machine import ControlMachine, Killed, Machines, command
from tests.stream.small_files import SmallFiles

IMAGES = families(20, 4)
Make = Callable[..., ControlMachine]


@pytest.fixture(scope="module")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with running_servers(Settings(home=tmp_path_factory.mktemp("s3")), kafka=False) as settings:
        yield settings


@pytest.fixture
def settings(s3_server: Settings, tmp_path: Path) -> Settings:
    bucket = "b" + "".join(c for c in tmp_path.name.lower() if c.isalnum())[-40:]
    return s3_server.model_copy(
        update={"home": tmp_path / "home", "s3": s3_server.s3.model_copy(update={"bucket": bucket})}
    )


class Log:
    """What is no longer in Kafka, as the worker would hear."""

    deleted: Mapping[str, int] = {}

    def since(self, positions: Mapping[tuple[str, int], int], _logs: object) -> Mapping[str, int]:
        return self.deleted


@pytest.fixture
def make(settings: Settings) -> Iterator[Make]:
    """Workers over one home, one after the other."""

    def commands(machine: ControlMachine) -> Sequence[RegisteredCommand]:
        store, pipeline, clock = machine.store, machine.pipeline, machine.clock
        restore = Restore(
            *(settings, store, pipeline, "cosine", lambda _: None, Log().since),
            clock,
            models=MODELS,
            launch=lambda _: SmallFiles(),
        )
        return [
            register(SnapshotArguments, Snapshot(settings, store, pipeline, clock)),
            register(RestoreArguments, restore),
            register(PauseArguments, Pause(store, clock)),
        ]

    def give_up(machine: ControlMachine) -> None:
        unfinished = machine.commands["restore"].handler
        assert isinstance(unfinished, Restore)
        unfinished.close()

    machines = Machines(settings.home, give_up)
    yield partial(machines.start, commands)
    machines.end()


def taken(machine: ControlMachine, command_id: str = "s1") -> str:
    machine.log.append(command("snapshot", command_id))
    (result,) = machine.run()
    assert result.accepted, result.reason
    return str(result.values["snapshot"])


def restored(make: Make, machine: ControlMachine, **arguments: str) -> ControlMachine:
    """The worker after a restore."""
    machine.log.append(command("restore", "r1", **arguments))
    machine.run_until_replaced()
    return make()


def assert_whole(machine: ControlMachine) -> None:
    """Vectors, terms and heads in memory are those of the store."""
    ids = [record.image_id for record in machine.store.vectors.all()]
    corpus = machine.pipeline.corpus
    assert list(corpus.ids()) == ids
    for ordinal, image_id in enumerate(ids):
        record = machine.store.images.find(image_id)
        assert record is not None
        assert corpus.id_of(corpus.head_of(ordinal)) == record.head
    stored = [record.lsh for record in machine.store.vectors.all()]
    assert [row.tobytes() for row in corpus.vectors.rows.lsh] == stored


def test_a_snapshot_is_of_one_moment_while_the_stream_runs(make: Make, settings: Settings) -> None:
    one = make(command("snapshot", "s1"))
    one.decide(IMAGES[:40])
    before = one.store.state()
    (result,) = one.run(between=lambda: one.decide(IMAGES[40:60]))
    (manifest,) = list_snapshots(open_s3(settings.s3), settings.s3.bucket)
    assert isinstance(manifest, Manifest)
    assert (manifest.images, manifest.digest, manifest.sequence) == (40, before.digest.hex(), 40)
    assert (manifest.snapshot, manifest.classifier_version) == (result.values["snapshot"], "cosine")
    assert one.store.state().images == 60
    assert list(settings.home.glob("checkpoint-*")) == []


def test_what_two_snapshots_share_is_uploaded_once(make: Make) -> None:
    one = make(command("snapshot", "s1"), command("snapshot", "s2"))
    one.decide(IMAGES)
    first, second = one.run()
    tables = sum(1 for entry in settings_files(one, second.values["snapshot"]) if entry.name.endswith(".sst"))
    assert tables
    assert int(first.values["uploaded_bytes"]) == int(first.values["bytes"])
    assert int(second.values["uploaded_bytes"]) < int(second.values["bytes"])


def settings_files(machine: ControlMachine, snapshot: str) -> tuple[object, ...]:
    handler = machine.commands["snapshot"].handler
    assert isinstance(handler, Snapshot)
    s3 = handler._settings.s3
    return read_manifest(open_s3(s3), s3.bucket, snapshot).files


def test_a_restore_brings_back_the_state_and_later_decisions_are_what_they_would_have_been(make: Make) -> None:
    one = make()
    one.decide(IMAGES[:50])
    then = one.store.state()
    snapshot = taken(one)
    one.decide(IMAGES[50:])
    last = one.store.state()
    two = restored(make, one, snapshot=snapshot)
    state = two.store.state()
    assert (state.images, state.clusters, state.digest) == (50, then.clusters, then.digest)
    assert state.store_id != then.store_id
    assert_whole(two)
    two.decide(IMAGES[50:])
    assert (two.store.state().digest, two.store.state().images) == (last.digest, last.images)
    assert_whole(two)


def test_numbers_results_and_a_pause_do_not_go_back(make: Make) -> None:
    one = make()
    one.decide(IMAGES[:50])
    snapshot = taken(one)
    one.decide(IMAGES[50:60])
    one.log.append(command("pause", "p1"))
    one.run()
    last, outbox = one.store.state(), dict(one.store.outbox.pending())
    two = restored(make, one, snapshot=snapshot)
    state = two.store.state()
    # Ten images are unknown again, and their decisions have been published.
    assert (state.sequence, state.commands) == (last.sequence + 10, last.commands + 1)
    assert state.paused.command_id == "p1"
    assert two.store.commands.find("p1") is not None
    assert two.store.commands.progress("r1") is None
    assert {n: e for n, e in two.store.outbox.pending() if n in outbox} == outbox
    result = two.published()[-1]
    assert (result.command_id, result.accepted, result.values["images"]) == ("r1", True, "50")
    assert two.run() == []
    two.decide(IMAGES[50:60])
    earlier = {pb.Decision.FromString(e.value).event_id for e in outbox.values() if e.topic == "neardup.decisions"}
    again = {pb.Decision.FromString(two.store.history.current(image.image_id)).event_id for image in IMAGES[50:60]}
    assert not earlier & again


@pytest.mark.parametrize("kill_at", ["prepared", "command_committed"])
def test_a_kill_before_the_exchange_is_decided_does_it_again(make: Make, kill_at: str) -> None:
    one = make()
    one.decide(IMAGES[:50])
    snapshot = taken(one)
    one.decide(IMAGES[50:])
    with pytest.raises(Killed):
        make(command("restore", "r1", snapshot=snapshot), kill_at=kill_at).run()
    again = make()
    assert again.store.state().images == len(IMAGES)
    again.run_until_replaced()
    after = make()
    assert after.store.state().images == 50
    assert after.run() == []
    assert [r.command_id for r in after.published()].count("r1") == 1


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_a_kill_amid_the_renames_is_completed_by_the_next_start(
    make: Make, monkeypatch: pytest.MonkeyPatch, settings: Settings, renames: int
) -> None:
    one = make()
    one.decide(IMAGES[:50])
    snapshot = taken(one)
    one.decide(IMAGES[50:])
    one.log.append(command("restore", "r1", snapshot=snapshot))
    one.run_until_replaced()
    one.close()
    done = 0
    rename = Path.rename

    def killed(self: Path, target: Path) -> Path:
        nonlocal done
        if self.parent == settings.home:
            if done == renames:
                raise Killed
            done += 1
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        if renames == 2:
            patched.setattr(Path, "unlink", partial(_kill, Path.unlink))
        with pytest.raises(Killed):
            complete_swap(settings.store_path)
    assert done == renames
    assert complete_swap(settings.store_path)
    assert not complete_swap(settings.store_path)
    assert make().store.state().images == 50


def _kill(_unlink: object, *_arguments: object, **_more: object) -> None:
    raise Killed


def test_undo_brings_back_what_the_restore_replaced_and_can_be_undone(make: Make) -> None:
    one = make()
    one.decide(IMAGES[:50])
    snapshot = taken(one)
    one.decide(IMAGES[50:])
    last = one.store.state()
    two = restored(make, one, snapshot=snapshot)
    two.log.append(command("restore", "r2", undo="true"))
    two.run_until_replaced()
    three = make()
    assert (three.store.state().digest, three.store.state().images) == (last.digest, last.images)
    assert_whole(three)
    three.log.append(command("restore", "r3", undo="true"))
    three.run_until_replaced()
    assert make().store.state().images == 50


def test_overrides_and_forgotten_ids_hold_on(make: Make) -> None:
    one = make()
    one.decide(IMAGES[:50])
    snapshot = taken(one)
    a, b = (next(d for d in one.worker.decisions() if d.founded == founded) for founded in (True, False))
    batch = Batch()
    override = store_pb.Override(override_id="o1", action="link", image_id=a.image_id, other_id=b.image_id)
    if a.image_id == b.head:
        override.action = "forbid"
    batch.put(Table.OVERRIDES, b"o1", override.SerializeToString())
    one.store.write(batch)
    two = restored(make, one, snapshot=snapshot)
    assert [o.override_id for o in two.store.overrides.all()] == ["o1"]
    result = two.published()[-1]
    assert (result.values["overrides_kept"], result.values["overrides_unmet"]) == ("1", "1")


def test_images_forgotten_since_are_forgotten_again(make: Make) -> None:
    one = make()
    one.decide(IMAGES[:50])
    snapshot = taken(one)
    head = next(d.head for d in one.worker.decisions() if not d.founded)
    member = next(d.image_id for d in one.worker.decisions() if not d.founded and d.head != head)
    batch = Batch()
    for image_id in (head, member):
        forgotten = store_pb.Forgotten(upto_ms=1 << 42)
        batch.put(Table.FORGOTTEN, layout.hash_key(image_id), forgotten.SerializeToString())
    state = one.store.state()
    state.forgotten = 2
    batch.put_state(state)
    one.store.write(batch)
    sequence = one.store.state().sequence
    two = restored(make, one, snapshot=snapshot)
    result = two.published()[-1]
    assert (result.values["forgotten_again"], result.values["images"]) == ("2", "48")
    assert [two.store.images.find(image_id) for image_id in (head, member)] == [None, None]
    assert two.store.redirects.resolve(head) != head
    assert two.store.state().images == len(list(two.store.vectors.all())) == 48
    said = [pb.Decision.FromString(e.value) for _, e in two.store.outbox.pending() if e.topic == DECISIONS]
    assert {d.image_id for d in said if d.cause == "forget"} == {head, member}
    assert min(d.sequence for d in said if d.cause) > sequence
    assert two.store.images.forgotten(head) is not None
    assert two.store.state().forgotten == 2


def test_embeddings_that_kafka_lost_refuse_a_restore_unless_forced(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Log, "deleted", {"neardup.embeddings.lsh[0]": 7})
    one = make()
    one.decide(IMAGES[:50])
    snapshot = taken(one)
    one.log.append(command("restore", "r0", snapshot=snapshot))
    (result,) = one.run()
    assert "7 embeddings that came since" in result.reason
    two = restored(make, one, snapshot=snapshot, force="true")
    assert two.published()[-1].values["embeddings_lost"] == "7"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({}, "either `snapshot`"),
        ({"snapshot": "1700000000000-0123abcd", "undo": "true"}, "either `snapshot`"),
        ({"snapshot": "../../secrets"}, "is not a snapshot"),
        ({"snapshot": "1700000000000-0123abcd"}, "there is no snapshot"),
        ({"undo": "true"}, "no restore was done"),
        ({"undo": "perhaps"}, "`true` or `false`"),
    ],
)
def test_a_restore_that_cannot_be_is_refused(make: Make, arguments: dict[str, str], reason: str) -> None:
    one = make(command("restore", "r1", **arguments))
    (result,) = one.run()
    assert not result.accepted
    assert reason in result.reason


def test_damage_on_s3_is_found_before_anything_is_replaced(make: Make, settings: Settings) -> None:
    one = make()
    one.decide(IMAGES)
    snapshot = taken(one)
    s3, bucket = open_s3(settings.s3), settings.s3.bucket
    manifest = read_manifest(s3, bucket, snapshot)
    # Tables that the active store still holds are not downloaded.
    file = next(file for file in manifest.files if file.name.startswith("MANIFEST-"))
    s3.put_object(Bucket=bucket, Key=file.key, Body=bytes(file.bytes))
    one.log.append(command("restore", "r1", snapshot=snapshot))
    assert "is damaged" in one.run()[0].reason
    s3.delete_object(Bucket=bucket, Key=file.key)
    one.log.append(command("restore", "r2", snapshot=snapshot))
    assert "is missing" in one.run()[0].reason
    s3.put_object(Bucket=bucket, Key=manifest_key(snapshot), Body=encode_manifest(manifest)[:-9])
    with pytest.raises(BadArtefact):
        read_manifest(s3, bucket, snapshot)
    assert list_snapshots(s3, bucket) == [snapshot]
    other = replace(manifest, snapshot="1700000000001-0123abcd", terms_version="other", store_format=99)
    s3.put_object(Bucket=bucket, Key=manifest_key(other.snapshot), Body=encode_manifest(other))
    one.log.append(command("restore", "r3", snapshot=other.snapshot))
    assert "has format 99" in one.run()[0].reason
    assert one.store.state().images == len(IMAGES)


def test_tables_that_the_active_store_holds_are_linked_and_others_downloaded(make: Make, settings: Settings) -> None:
    one = make()
    one.decide(IMAGES)
    snapshot = taken(one)
    manifest = read_manifest(open_s3(settings.s3), settings.s3.bucket, snapshot)
    tables = [file for file in manifest.files if file.name.endswith(".sst")]
    changed = settings.store_path / tables[0].name
    inodes = {file.name: (settings.store_path / file.name).stat().st_ino for file in tables}
    damaged = bytearray(changed.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    replace_file(changed, bytes(damaged))
    one.log.append(command("restore", "r1", snapshot=snapshot))
    one.run_until_replaced()
    two = make()
    linked = {file.name for file in tables if (settings.store_path / file.name).stat().st_ino == inodes[file.name]}
    assert linked == {file.name for file in tables[1:]}
    assert_whole(two)


def test_a_restored_store_takes_over_the_derived_files(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    images = families(60, 4)
    one = make()
    one.decide(images[:200])
    snapshot = taken(one)
    # Afterwards an image leaves its ordinal, which it has again once the snapshot is restored.
    one.worker.replace(images[5])
    one.decide(images[200:])
    expected = one.worker.heads()
    caplog.set_level(logging.INFO, "neardup_platform.stream.recovery")
    two = restored(make, one, snapshot=snapshot)
    assert_whole(two)
    # Before the exchange, the window and a piece of a segment that is shorter than a block; then the window.
    assert read_and_hashed(caplog) == [(200, 40 + 6), (0, 40)]
    caplog.clear()
    two.decide(images[200:])
    two.log.append(command("restore", "r2", undo="true"))
    two.run_until_replaced()
    three = make()
    assert three.worker.heads() == expected
    # The first 200 ordinals mean the same images in all three stores, and their vectors are synced.
    assert read_and_hashed(caplog) == [(301 - 200, 301 - 160), (0, 45)]


def read_and_hashed(caplog: pytest.LogCaptureFixture) -> list[tuple[int, int]]:
    """Images whose vectors were read from the store, and images that were hashed, each time that a corpus was made."""
    lines = [record.args for record in caplog.records if record.name == "neardup_platform.stream.recovery"]
    return [(int(str(args[2])), int(str(args[3]))) for args in lines if isinstance(args, tuple)]


def test_a_reader_follows_to_the_store_in_force(make: Make, settings: Settings, tmp_path: Path) -> None:
    one = make()
    one.decide(IMAGES[:50])
    snapshot = taken(one)
    one.decide(IMAGES[50:])
    reader = SecondaryStore(settings.store_path, tmp_path / "reader")
    assert reader.state().images == len(IMAGES)
    two = restored(make, one, snapshot=snapshot)
    reader.refresh()
    assert (reader.state().images, reader.state().store_id) == (50, two.store.state().store_id)
    two.decide(IMAGES[50:60])
    reader.refresh()
    assert reader.state().images == 60
    reader.close()


def test_a_store_that_is_open_elsewhere_is_not_exchanged(tmp_path: Path) -> None:
    import subprocess
    import sys

    store = tmp_path / "store"
    code = (
        "import sys, pathlib; from neardup_platform.store.writer import Store\n"
        f"s = Store(pathlib.Path({str(store)!r})); print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        next_path(store).mkdir()
        decide_swap(store, "a test")
        with pytest.raises(HomeInUse):
            complete_swap(store)
        assert other.stdin is not None
        other.stdin.close()
    assert complete_swap(store)
    assert before_path(store).exists()


def test_a_next_store_without_a_decided_exchange_is_removed(tmp_path: Path) -> None:
    store = tmp_path / "store"
    next_path(store).mkdir()
    assert not complete_swap(store)
    assert not next_path(store).exists()


def test_ids_that_are_none_and_markers_that_are_damaged_are_refused(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(BadSnapshotId):
        manifest_key("x/../y")
    with pytest.raises(NotFound):
        read_manifest(open_s3(settings.s3), settings.s3.bucket, "1700000000000-0123abcd")
    store_swap._marker(tmp_path / "store").write_text("{}")
    with pytest.raises(InvariantBroken):
        complete_swap(tmp_path / "store")
