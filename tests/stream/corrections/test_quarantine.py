"""Claims about clusters in quarantine, in a worker without Kafka: what stays apart and is counted, what still acts."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from neardup_platform.errors import Conflict
from neardup_platform.serving.answers.explanations import summary
from neardup_platform.testing import InMemoryWorker
from neardup_platform.wire.codec import decode_decision
from neardup_platform.wire.topics import DECISIONS
from tests.stream.corrections.test_overrides import IMAGES, decision, members, near, newer
from tests.stream.rearranged import assert_sound, heads


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[InMemoryWorker]:
    with closing(InMemoryWorker(tmp_path / "home")) as worker:
        worker.decide(IMAGES)
        yield worker
        assert_sound(worker, tmp_path / "scratch")


def quarantine(worker: InMemoryWorker, image_id: str) -> str:
    result = worker.run_command("override", action="quarantine", image_id=image_id)
    assert (result.values["moved"], result.values["decisions"]) == ("0", "0")
    return str(result.values["override_id"])


def counted(worker: InMemoryWorker) -> tuple[int, int]:
    counters = worker.store.state().counters
    return counters["quarantined"], counters["held_apart"]


def test_new_images_that_match_only_the_cluster_stay_apart_and_say_so(worker: InMemoryWorker) -> None:
    override_id = quarantine(worker, "a1")
    worker.decide([near(0, "flood", 3), near(1, "b2", 3), near(3, "else")])
    now = heads(worker.store)
    assert (now["flood"], now["b2"], now["else"]) == ("flood", "b", "else")
    made = decision(worker, "flood")
    assert made.guard is not None
    assert (made.guard.reason, made.guard.head, made.guard.size, made.override_id) == (
        "quarantined",
        "a",
        3,
        override_id,
    )
    published = [decode_decision(e.value) for _, e in worker.store.outbox.pending() if e.topic == DECISIONS]
    assert [d.guard for d in published if d.guard] == [made.guard]
    assert counted(worker) == (1, 0)
    assert "Held apart from the cluster of a, which is in quarantine and had 3 members." in summary(made)


def test_a_copy_stays_apart_too_and_later_images_join_it(worker: InMemoryWorker) -> None:
    quarantine(worker, "a")
    worker.decide([near(0, "copy"), near(0, "copy2")])
    assert (heads(worker.store)["copy"], members(worker, "copy")) == ("copy", ["copy", "copy2"])
    assert "by override" not in summary(decision(worker, "copy2"))


def test_an_image_held_apart_joins_the_next_best_cluster(worker: InMemoryWorker) -> None:
    worker.override("alone", "a2")
    quarantine(worker, "a")
    worker.decide([near(0, "flood", 3)])
    assert heads(worker.store)["flood"] == "a2"
    assert summary(decision(worker, "flood")).startswith("Joined the cluster of a2")


def test_links_still_act_and_images_decided_before_may_come_back(worker: InMemoryWorker) -> None:
    quarantine(worker, "a")
    worker.override("move", "lone", "a")
    worker.re_embed(newer("a1", 0, 5))
    assert members(worker, "a") == ["a", "a1", "a2", "lone"]
    worker.decide([near(4, "late")])
    worker.re_embed(newer("late", 0, 3))
    assert heads(worker.store)["late"] == "late"


def test_a_quarantine_follows_the_cluster_when_it_has_another_head(worker: InMemoryWorker) -> None:
    quarantine(worker, "a1")
    worker.override("alone", "a")
    (head,) = {heads(worker.store)["a1"], heads(worker.store)["a2"]}
    worker.decide([near(0, "flood", 11)])
    assert decision(worker, "flood").guard is not None
    assert heads(worker.store)["flood"] != head
    worker.forget("a1")
    (stored,) = [o for o in worker.store.overrides.all() if o.action == "quarantine"]
    assert stored.image_id == heads(worker.store)["a2"]


def test_a_removed_quarantine_lets_images_join_again(worker: InMemoryWorker) -> None:
    override_id = quarantine(worker, "a")
    worker.run_command("override", action="remove", override_id=override_id)
    worker.decide([near(0, "a3", 3)])
    assert heads(worker.store)["a3"] == "a"


def test_a_second_quarantine_of_a_cluster_is_refused_by_the_name_of_the_first(worker: InMemoryWorker) -> None:
    override_id = quarantine(worker, "a")
    with pytest.raises(Conflict, match=f"{override_id} the cluster of 'a' is in quarantine already"):
        quarantine(worker, "a2")


def test_a_quarantine_holds_after_a_restart(tmp_path: Path) -> None:
    with closing(InMemoryWorker(tmp_path / "home")) as worker:
        worker.decide(IMAGES)
        quarantine(worker, "a")
    with closing(InMemoryWorker(tmp_path / "home")) as worker:
        worker.decide([near(0, "flood", 3)])
        assert heads(worker.store)["flood"] == "flood"
        assert_sound(worker, tmp_path / "scratch")
