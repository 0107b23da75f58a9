"""A store that an earlier version damaged is repaired: by the doctor, and by a rollback to its snapshot."""

import json
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from neardup_platform.cli import doctor
from neardup_platform.cli.main import cli
from neardup_platform.errors import HomeInUse, InvariantBroken
from neardup_platform.settings import Settings
from neardup_platform.store import layout
from neardup_platform.store.layout import Table, listed_under
from neardup_platform.store.writer import Batch, Store
from neardup_platform.testing import InMemoryWorker
from neardup_platform.wire.codec import decode_decision, encode_decision
from tests.stream.control_machine import Machines, command
from tests.stream.corrected import corrections, give_up, snapshot
from tests.stream.corrections.test_overrides import near
from tests.stream.rearranged import assert_sound, assert_store_agrees, heads

IMAGES = [near(0, "a0"), near(0, "a1", 10), near(1, "b0"), near(1, "b1", 10), near(1, "b2", 12)]
HEADS = {"a0": "a0", "a1": "a0", "b0": "b0", "b1": "a0", "b2": "b0"}


def as_the_version_before_left_it(store: Store, *, bereft: bool) -> None:
    """What a link of b1 to a0 wrote while one of a1 to b1 was unmet; `bereft`: and two corrections after it."""
    batch, state = Batch(), store.state()
    a1, b1 = store.images.find("a1"), store.images.find("b1")
    assert a1 is not None
    assert b1 is not None
    a0, b0 = store.clusters.get("a0"), store.clusters.get("b0")
    a0.size, b0.size, a0.updated_sequence = a0.size + 2, b0.size - 2, state.sequence + 2
    batch.delete(Table.MEMBERS, layout.sequence_key("b0", listed_under(b1)))
    for number, (image_id, record) in enumerate((("b1", b1), ("a1", a1)), start=state.sequence + 1):
        batch.put(Table.MEMBERS, layout.sequence_key("a0", number), image_id.encode())
        made = replace(decode_decision(store.history.current(image_id)), head="a0", sequence=number)
        batch.put(Table.HISTORY, layout.sequence_key(image_id, number), encode_decision(made))
        record.head, record.sequence = "a0", number
        batch.put(Table.IMAGES, image_id.encode(), record.SerializeToString())
    batch.put(Table.CLUSTERS, b"a0", a0.SerializeToString())
    batch.put(Table.CLUSTERS, b"b0", b0.SerializeToString())
    if bereft:
        batch.delete(Table.CLUSTERS, b"b0")
        batch.delete(Table.IMAGES, b"b0")
        batch.delete(Table.VECTORS, layout.number_key(2))
        batch.delete(Table.MEMBERS, layout.sequence_key("b0", 3))
        for sequence in store.history.sequences("b0"):
            batch.delete(Table.HISTORY, layout.sequence_key("b0", sequence))
        state.images, state.clusters = state.images - 1, state.clusters - 1
    state.sequence += 2
    state.digest = layout.digest_after(state.digest, 12345)
    batch.put_state(state)
    store.write(batch)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    home = tmp_path / "home"
    with closing(InMemoryWorker(home)) as worker:
        worker.decide(IMAGES)
    return Settings(home=home)


@pytest.fixture
def damaged(settings: Settings) -> Settings:
    with closing(Store(settings.store_path)) as store:
        as_the_version_before_left_it(store, bereft=False)
    return settings


def test_the_doctor_reports_what_is_wrong_and_changes_nothing(damaged: Settings) -> None:
    before = {path.name: path.read_bytes() for path in damaged.store_path.glob("*.log")}
    check = doctor._run("clusters", doctor._clusters, damaged)
    assert not check.ok
    assert "neardup doctor --repair" in check.detail
    assert any("'a0' lists image 'a1', which is listed there a second time" in line for line in check.damage)
    assert any("the cluster of 'b0' says it has 1 members and has 2" in line for line in check.damage)
    assert any(line.startswith("the digest ") for line in check.damage)
    assert str(check).count("\n") == len(check.damage)
    assert {path.name: path.read_bytes() for path in damaged.store_path.glob("*.log")} == before


def test_a_worker_does_not_start_over_it_and_names_the_way_out(damaged: Settings) -> None:
    with pytest.raises(InvariantBroken, match=r"'a0' records 4 members and has 3.*neardup doctor --repair"):
        InMemoryWorker(damaged.home)


def test_it_is_repaired_and_the_worker_continues_with_rebuilt_files(damaged: Settings, tmp_path: Path) -> None:
    done = doctor.repair_clusters(damaged)
    assert (done.left, done.decisions) == ([], 0)
    assert doctor._run("clusters", doctor._clusters, damaged).detail == "5 images in 2 clusters agree in every table"
    with closing(InMemoryWorker(damaged.home)) as worker:
        assert heads(worker.store) == HEADS
        assert worker.store.members.page("a0", 9).image_ids == ("a0", "b1", "a1")
        worker.decide([near(1, "b3", 1)])
        assert heads(worker.store)["b3"] == "b0"
        worker.run_command("override", action="alone", image_id="b2")
        worker.run_command("forget", image_id="b0")
        assert_sound(worker, tmp_path / "scratch")
    assert doctor.repair_clusters(damaged).mended == []


def test_members_without_a_head_become_a_cluster_and_history_shows_it(settings: Settings, tmp_path: Path) -> None:
    with closing(Store(settings.store_path)) as store:
        as_the_version_before_left_it(store, bereft=True)
    done = doctor.repair_clusters(settings)
    assert (done.left, done.decisions) == ([], 1)
    assert any("image 'b2' is under 'b0', which heads no cluster: it moves to 'b2'" in f.what for f in done.mended)
    with closing(InMemoryWorker(settings.home)) as worker:
        assert heads(worker.store) == {"a0": "a0", "a1": "a0", "b1": "a0", "b2": "b2"}
        assert worker.store.redirects.resolve("b0") == "b2"
        made = decode_decision(worker.store.history.current("b2"))
        assert (made.head, made.cause, made.sequence) == ("b2", "repair", len(IMAGES) + 3)
        assert len(worker.store.history.all("b2")) == 2
        assert_sound(worker, tmp_path / "scratch")


def test_the_worker_must_be_stopped(damaged: Settings) -> None:
    with closing(Store(damaged.store_path)), pytest.raises(HomeInUse, match="stop it"):
        doctor.repair_clusters(damaged)


def test_the_command_line_repairs_and_answers_as_json(damaged: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARDUP_HOME", str(damaged.home))
    result = CliRunner().invoke(cli, ["doctor", "--repair", "--json"])
    answer = json.loads(result.output)
    assert (answer["healthy"], answer["left"], answer["decisions"]) == (True, [], 0)
    assert {"stray", "size", "digest"} <= {found["kind"] for found in answer["mended"]}
    again = CliRunner().invoke(cli, ["doctor", "--repair"])
    assert (again.exit_code, again.output) == (0, "nothing was wrong\n")


def test_damage_that_cannot_be_repaired_is_named_and_counts_as_failure(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Store(settings.store_path)) as store:
        record, batch = store.images.find("b2"), Batch()
        assert record is not None
        record.ordinal = 0
        batch.put(Table.IMAGES, b"b2", record.SerializeToString())
        store.write(batch)
    monkeypatch.setenv("NEARDUP_HOME", str(settings.home))
    result = CliRunner().invoke(cli, ["doctor", "--repair"], standalone_mode=False)
    assert result.return_value == 1
    assert "FAILED  image 'b2' has the ordinal 0 of another: restore a snapshot" in result.output


def test_a_snapshot_of_a_damaged_store_is_repaired_when_it_is_restored(settings: Settings) -> None:
    machines = Machines(settings.home, give_up)
    with closing(machines.start(partial(corrections, settings))) as machine:
        as_the_version_before_left_it(machine.store, bereft=False)
        snapshot(machine.store, settings.home / "then")
    assert doctor.repair_clusters(settings).left == []
    machine = machines.start(partial(corrections, settings), command("restore", "r1", snapshot="then"))
    machine.run_until_replaced()
    after = machines.start(partial(corrections, settings))
    assert_store_agrees(after.store)
    assert heads(after.store) == HEADS
    assert int(after.published()[-1].values["mended"]) > 0
    machines.end()
