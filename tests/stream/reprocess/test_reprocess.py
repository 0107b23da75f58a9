"""Claims about reprocess, with a small pipeline in place of the process: other rules, the stream going on, kills."""

import logging
import os
import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from neardup_platform.matching import Matching
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.writer import Store
from neardup_platform.stream.built_files import built_path
from neardup_platform.testing import BLOCK_IMAGES, InMemoryWorker, families, image
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.topics import DECISIONS
from tests.stream.control_machine import Killed, command
from tests.stream.reprocess.conftest import LOOSE, STRICT, Make

IMAGES = families(20, 4)


def fresh(home: Path, matching: Matching) -> store_pb.StoreState:
    """The totals of a store in which all images were decided by these rules from the start."""
    with closing(InMemoryWorker(home)) as worker:
        worker.pipeline.use_classifier(worker.pipeline.scorer, matching)
        worker.decide(IMAGES)
        return worker.store.state()


def assert_agrees(store: Store) -> None:
    heads = {image_id: record.head for image_id, record in store.images.all()}
    members = {m: head for head, _ in store.clusters.all() for _, m in store.members.all(head)}
    assert members == heads
    assert sum(cluster.size for _, cluster in store.clusters.all()) == store.state().images == len(heads)


def test_the_state_is_that_of_a_store_decided_by_these_rules_from_the_start(make: Make, tmp_path: Path) -> None:
    one = make(command("reprocess"))
    one.decide(IMAGES)
    before = one.store.state()
    one.run_until_replaced()
    two = make()
    state, expected = two.store.state(), fresh(tmp_path / "fresh", STRICT)
    assert (state.digest, state.clusters, state.images) == (expected.digest, expected.clusters, expected.images)
    assert state.digest != before.digest
    assert_agrees(two.store)
    assert two.run() == []
    (result,) = two.published()
    assert (result.accepted, result.values["digest_before"]) == (True, before.digest.hex())
    assert int(result.values["changed"]) > 0


def damage_nothing(_files: Path) -> None:
    """The files stay as they are."""


def cut_vectors(files: Path) -> None:
    for path in (files / "vectors").glob("*.f16"):
        os.truncate(path, 10)


def cut_segments(files: Path) -> None:
    for path in (files / "index").glob("*.segment"):
        os.truncate(path, 10)


def remove_manifests(files: Path) -> None:
    for path in files.glob("*/manifest.json"):
        path.unlink()


@pytest.mark.parametrize(
    ("damage", "vectors_read", "all_hashed"),
    [
        (damage_nothing, False, False),
        (cut_vectors, True, False),
        (cut_segments, False, True),
        (remove_manifests, True, True),
    ],
)
def test_the_next_worker_takes_over_what_the_store_was_made_with(
    make: Make,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path], None],
    vectors_read: bool,
    all_hashed: bool,
) -> None:
    caplog.set_level(logging.INFO, "neardup_platform.stream.recovery")
    one = make(command("reprocess"))
    one.decide(IMAGES)
    one.run_until_replaced()
    kept = built_path(tmp_path / "home" / "store")
    damage(kept)
    two = make()
    read, hashed = map(int, re.findall(r"vectors of (\d+) read from the store, (\d+) hashed", caplog.text)[-1])
    assert (read > 0, hashed == len(IMAGES)) == (vectors_read, all_hashed)
    assert all_hashed or hashed <= 2 * BLOCK_IMAGES
    assert not kept.exists()
    more = [image(f"more/{each.image_id}", each.lsh.vector) for each in IMAGES[::9]]
    two.decide(more)
    with closing(InMemoryWorker(tmp_path / "fresh")) as worker:
        worker.pipeline.use_classifier(worker.pipeline.scorer, STRICT)
        worker.decide(IMAGES)
        worker.pipeline.use_classifier(worker.pipeline.scorer, two.pipeline.matching)
        worker.decide(more)
        assert two.store.state().digest == worker.store.state().digest


def test_the_stream_runs_meanwhile_except_for_the_last_images(make: Make, tmp_path: Path) -> None:
    one = make(command("reprocess"))
    one.decide(IMAGES[:50])
    later, held = [IMAGES[50:80], IMAGES[80:98], IMAGES[98:]], []

    def stream() -> None:
        held.append(one.control.holds)
        if not one.control.holds and later:
            one.decide(later.pop(0))

    one.run_until_replaced(between=stream)
    assert held[-1]
    assert not any(held[:-1])
    assert not later
    two = make()
    assert two.store.state().digest == fresh(tmp_path / "fresh", STRICT).digest
    assert_agrees(two.store)
    assert not two.control.holds


def test_what_did_not_change_is_not_published_and_history_is_kept(make: Make) -> None:
    one = make(command("reprocess"))
    one.decide(IMAGES[:50])
    later = [IMAGES[50:]]
    heads = {}

    def stream() -> None:
        if later:
            one.decide(later.pop())
            heads.update({i: r.head for i, r in one.store.images.all()})

    one.run_until_replaced(between=stream)
    two = make()
    said = [pb.Decision.FromString(e.value) for _, e in two.store.outbox.pending() if e.topic == DECISIONS]
    again = [d for d in said if d.cause == "reprocess"]
    now = {i: r.head for i, r in two.store.images.all()}
    assert {d.image_id: d.head for d in again} == {i: now[i] for i in now if now[i] != heads[i]}
    for each in IMAGES:
        first, second = map(pb.Decision.FromString, two.store.history.all(each.image_id))
        assert (first.cause, second.cause) == ("", "reprocess")
        assert second.sequence == two.store.images.find(each.image_id).sequence  # type: ignore[union-attr]
    sequences = [s for image in IMAGES for s in two.store.history.sequences(image.image_id)]
    assert len(set(sequences)) == 2 * len(IMAGES)
    assert max(sequences) <= two.store.state().sequence


def test_heads_that_are_members_now_are_redirected(make: Make) -> None:
    one = make(command("reprocess"), matching=LOOSE)
    one.pipeline.use_classifier(one.pipeline.scorer, STRICT)
    one.decide(IMAGES)
    heads = [head for head, _ in one.store.clusters.all()]
    one.run_until_replaced()
    two = make()
    gone = [head for head in heads if not two.store.clusters.exists(head)]
    assert gone
    for head in gone:
        assert two.store.redirects.resolve(head) == two.store.images.find(head).head  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "kill_at", ["prepared:1", "stage_committed:1", "stage_committed:2", "prepared:3", "prepared:4", "command_committed"]
)
def test_a_kill_anywhere_ends_in_the_same_state(make: Make, tmp_path: Path, kill_at: str) -> None:
    one = make(command("reprocess"), kill_at=kill_at)
    one.decide(IMAGES)
    with pytest.raises(Killed):
        one.run()
    again = make()
    assert again.store.state().images == len(IMAGES)
    again.run_until_replaced()
    two = make()
    assert two.store.state().digest == fresh(tmp_path / "fresh", STRICT).digest
    assert_agrees(two.store)
    assert [r.command_id for r in two.published()] == ["c1"]


def test_a_cancelled_one_leaves_nothing_behind_and_the_stream_is_not_held(make: Make, tmp_path: Path) -> None:
    one = make(command("reprocess"))
    one.decide(IMAGES[:4])
    digest = one.store.state().digest

    def cancel() -> None:
        if one.control.holds:
            one.log.append(command("cancel", "c2", command_id="c1"))

    refused, cancelled = one.run(between=cancel)
    assert (refused.accepted, cancelled.accepted) == (False, True)
    assert not one.control.holds
    assert one.store.state().digest == digest
    assert {path.name for path in (tmp_path / "home").iterdir()} <= {"store", "index", "vectors"}
