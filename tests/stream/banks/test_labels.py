"""Claims about labels, in a worker without Kafka: what is answered, who carries them, and what they survive."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neardup_platform.errors import BadCommand, Conflict, NotFound
from neardup_platform.records import Label
from neardup_platform.stream.banks import cluster_labels
from neardup_platform.stream.banks import label as handlers
from neardup_platform.stream.banks.cluster_labels import MAX_LABELS_EACH, ClusterLabels
from neardup_platform.testing import InMemoryWorker, families
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import decode_decision
from neardup_platform.wire.topics import DECISIONS
from tests.stream.control_machine import Killed, command
from tests.stream.corrections.test_overrides import IMAGES, decision, near, newer
from tests.stream.corrections.test_unmet_links import Operated
from tests.stream.rearranged import assert_gone, assert_sound, heads

TERMS = {"policy": "hate", "action": "block"}


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[InMemoryWorker]:
    with closing(InMemoryWorker(tmp_path / "home")) as worker:
        worker.decide(IMAGES)
        yield worker
        assert_sound(worker, tmp_path / "scratch")
        assert_labels_follow(worker)


def assert_labels_follow(worker: InMemoryWorker) -> None:
    """What is in memory is what a restart reads, and each label is where its image is."""
    store, labels = worker.store, worker.redeciding.labels
    stored = [record.label for record in store.labels.all()]
    assert {(label.bank, label.image_id) for label in labels} == {(label.bank, label.image_id) for label in stored}
    assert len(labels) == len(stored)
    fresh = ClusterLabels(store.labels.all(), store, worker.corpus)
    for head, _ in store.clusters.all():
        ordinal = store.images.find(head).ordinal
        inside = {(label.bank, label.image_id) for label in stored if heads(store).get(label.image_id) == head}
        for found in (labels, fresh):
            carried = {(label.bank, label.image_id) for label in found("nobody", 1 << 40, ordinal)}
            assert carried == inside if len(inside) <= MAX_LABELS_EACH else len(carried) == MAX_LABELS_EACH


def add(worker: InMemoryWorker, image_id: str, bank: str = "hate-2026", **more: str) -> pb.CommandResult:
    return worker.run_command("label", bank=bank, image_id=image_id, **(TERMS | more))


def test_the_answer_names_the_cluster_and_the_images_that_are_there(worker: InMemoryWorker) -> None:
    result = add(worker, "a1", reason="reported")
    assert dict(result.values) == {
        "label_id": result.command_id,
        "bank": "hate-2026",
        "image_id": "a1",
        **TERMS,
        "head": "a",
        "size": "3",
        "members": "a\na1\na2",
    }
    (stored,) = worker.store.labels.all()
    assert (stored.reason, stored.issued_by, stored.sequence) == ("reported", "a test", len(IMAGES))
    assert heads(worker.store) == {"a": "a", "a1": "a", "a2": "a", "b": "b", "b1": "b", "lone": "lone"}


def test_the_answer_lists_the_first_images_and_how_many_there_are(
    worker: InMemoryWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "SHOWN", 2)
    values = add(worker, "a1").values
    assert (values["members"], values["size"]) == ("a\na1", "3")


def test_new_images_that_join_carry_the_labels_and_others_do_not(worker: InMemoryWorker) -> None:
    label_id = add(worker, "a1").command_id
    worker.decide([near(0, "copy", 3), near(1, "b2", 3), near(4, "else")])
    expected = (Label(label_id, "hate-2026", "a1", "hate", "block"),)
    assert decision(worker, "copy").labels == expected
    assert (decision(worker, "b2").labels, decision(worker, "else").labels) == ((), ())
    published = [decode_decision(e.value) for _, e in worker.store.outbox.pending() if e.topic == DECISIONS]
    assert [d.labels for d in published if d.labels] == [expected]


def test_every_image_of_a_labelled_cluster_is_in_the_answer_or_carries_the_label(worker: InMemoryWorker) -> None:
    known = add(worker, "a").values["members"].splitlines()
    worker.decide([near(0, f"new{n}", 2) for n in range(9)], size=2)
    carrying = [image_id for image_id in heads(worker.store) if decision(worker, image_id).labels]
    assert sorted([*known, *carrying]) == sorted(member for _, member in worker.store.members.all("a"))


def test_a_removed_label_is_carried_no_more(worker: InMemoryWorker) -> None:
    added = add(worker, "a")
    add(worker, "a", "other")
    removed = worker.run_command("unlabel", bank="hate-2026", image_id="a")
    assert removed.values["label_id"] == added.command_id
    worker.decide([near(0, "copy", 3)])
    assert [label.bank for label in decision(worker, "copy").labels] == ["other"]


def test_a_label_follows_its_image_and_its_cluster(worker: InMemoryWorker) -> None:
    add(worker, "a1")
    worker.override("alone", "a")
    worker.decide([near(0, "one", 11)])
    assert [label.image_id for label in decision(worker, "one").labels] == ["a1"]
    worker.run_command("override", action="merge", image_id="a1", other_id="b")
    worker.decide([near(1, "two", 3)])
    assert [label.image_id for label in decision(worker, "two").labels] == ["a1"]
    worker.override("move", "lone", "b")
    assert [label.image_id for label in decision(worker, "lone").labels] == ["a1"]
    assert decision(worker, "a").labels == ()


def test_a_label_follows_an_image_that_is_embedded_again(worker: InMemoryWorker) -> None:
    add(worker, "a1")
    worker.re_embed(newer("a1", 1, 3))
    assert heads(worker.store)["a1"] == "b"
    worker.decide([near(0, "one", 3), near(1, "two", 3)])
    assert (decision(worker, "one").labels, len(decision(worker, "two").labels)) == ((), 1)
    assert [label.image_id for label in decision(worker, "a1").labels] == ["a1"]


def test_the_labels_of_a_forgotten_image_pass_to_the_head_of_its_cluster(worker: InMemoryWorker) -> None:
    add(worker, "a")
    add(worker, "a", "other")
    add(worker, "a1", "other")
    add(worker, "lone")
    worker.forget("a")
    worker.forget("lone")
    assert {(r.label.bank, r.label.image_id) for r in worker.store.labels.all()} == {
        ("hate-2026", "a1"),
        ("other", "a1"),
    }
    assert_gone(worker.store, "a")
    worker.decide([near(0, "copy", 11)])
    assert {label.image_id for label in decision(worker, "copy").labels} == {"a1"}


def test_a_decision_carries_a_bounded_number_of_labels(worker: InMemoryWorker) -> None:
    for number in range(MAX_LABELS_EACH + 3):
        add(worker, "a", f"bank-{number}")
    worker.decide([near(0, "copy", 3)])
    assert len(decision(worker, "copy").labels) == MAX_LABELS_EACH


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ({"bank": "Hate"}, "bank is 'Hate', 1 to 64 of a-z, 0-9 and - are expected"),
        ({"bank": ""}, "bank is ''"),
        ({"policy": ""}, "policy is '', 1 to 64 printable characters"),
        ({"action": "x" * 65}, "action is 'xxx"),
        ({"policy": "two\nlines"}, "printable"),
    ],
)
def test_wrong_terms_are_refused(worker: InMemoryWorker, given_: dict[str, str], says: str) -> None:
    with pytest.raises(BadCommand, match=says):
        worker.run_command("label", **({"bank": "b", "image_id": "a"} | TERMS | given_))


def test_another_label_of_a_bank_and_one_too_many_are_refused_and_a_repeat_is_not(
    worker: InMemoryWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = add(worker, "a")
    with pytest.raises(Conflict, match=f"with policy 'hate' and action 'block', by label {first.command_id}: remove"):
        add(worker, "a", action="review")
    assert add(worker, "a").values == first.values
    with pytest.raises(NotFound, match="'nobody' has not been decided"):
        add(worker, "nobody")
    with pytest.raises(NotFound, match="'a1' is not in bank 'hate-2026'"):
        worker.run_command("unlabel", bank="hate-2026", image_id="a1")
    monkeypatch.setattr(cluster_labels, "MAX_LABELS", 1)
    with pytest.raises(Conflict, match="there are 1 labels, the maximum"):
        add(worker, "b")


def test_a_bank_is_read_page_by_page(worker: InMemoryWorker) -> None:
    for image_id in ("b1", "a", "lone", "a1"):
        add(worker, image_id, "one")
    add(worker, "a", "one-more")
    labels = worker.store.labels
    first = labels.page("one", 3)
    assert [record.label.image_id for record in first] == ["a", "a1", "b1"]
    assert [record.label.image_id for record in labels.page("one", 3, "b1")] == ["lone"]
    assert labels.page("on", 3) == []


@pytest.fixture
def operated(tmp_path: Path) -> Iterator[Operated]:
    with closing(Operated(tmp_path / "home")) as operated:
        operated.machine.decide(IMAGES)
        operated.snapshot()
        yield operated
        assert_labels_follow(operated.machine.worker)


def test_labels_survive_a_restart_a_reprocessing_and_a_restore(operated: Operated) -> None:
    operated.machine.decide([near(4, "late")])
    for image_id in ("a1", "late"):
        assert operated.run_command("label", bank="kept", image_id=image_id, **TERMS).accepted
    operated.start()
    assert operated.run_command("reprocess").accepted
    assert decision_of(operated, "a2") == ["a1"]
    operated.roll_back()
    assert "late" not in heads(operated.store)
    operated.machine.decide([near(4, "late"), near(4, "later", 3), near(0, "copy", 3)])
    assert [decision_of(operated, image_id) for image_id in ("late", "later", "copy")] == [["late"], ["late"], ["a1"]]


def decision_of(operated: Operated, image_id: str) -> list[str]:
    return [label.image_id for label in decision(operated.machine.worker, image_id).labels]


@pytest.mark.parametrize("point", ["prepared", "command_committed"])
def test_a_kill_leaves_all_of_a_label_or_nothing_and_a_repeat_is_answered(operated: Operated, point: str) -> None:
    sent = command("label", "c-label", bank="kept", image_id="a1", **TERMS)
    operated.machine.kill_at(point)
    operated.machine.log.append(sent)
    with pytest.raises(Killed):
        operated.machine.run()
    operated.start()
    operated.machine.log.append(sent)
    operated.machine.run()
    answers = [found for found in operated.machine.published() if found.command_id == "c-label"]
    assert {answer.accepted for answer in answers} == {True}
    assert len({tuple(sorted(answer.values.items())) for answer in answers}) == 1
    operated.machine.decide([near(0, "copy", 3)])
    assert decision_of(operated, "copy") == ["a1"]


MOVES = st.one_of(
    st.tuples(st.just("label"), st.integers(0, 11), st.sampled_from(("one", "two"))),
    st.tuples(st.just("unlabel"), st.integers(0, 11), st.sampled_from(("one", "two"))),
    st.tuples(st.just("alone"), st.integers(0, 11), st.just("")),
    st.tuples(st.just("move"), st.integers(0, 11), st.sampled_from([str(n) for n in range(12)])),
    st.tuples(st.just("forget"), st.integers(0, 11), st.just("")),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(MOVES, max_size=14), st.integers(0, 99))
def test_after_any_corrections_every_label_is_where_its_image_is(moves: list[tuple[str, int, str]], seed: int) -> None:
    images = families(4, 2, seed=seed)
    with TemporaryDirectory() as folder, closing(InMemoryWorker(Path(folder))) as worker:
        worker.decide(images[:9])
        for action, number, more in moves:
            image_id = images[number].image_id
            try:
                if action in ("label", "unlabel"):
                    terms = TERMS if action == "label" else {}
                    worker.run_command(action, bank=more, image_id=image_id, **terms)
                elif action == "forget":
                    worker.forget(image_id)
                else:
                    worker.override(action, image_id, images[int(more)].image_id if more else "")
            except (NotFound, Conflict):
                continue
            assert_labels_follow(worker)
        worker.decide(images[9:])
        assert_labels_follow(worker)


def never_match(worker: InMemoryWorker, image_id: str) -> str:
    result = add(worker, image_id, "templates", policy="template", action="never-match")
    return str(result.command_id)


def test_a_negative_bank_keeps_new_images_out_until_its_label_is_removed(worker: InMemoryWorker) -> None:
    label_id = never_match(worker, "a1")
    worker.decide([near(0, "page", 3), near(1, "b2", 3)])
    made = decision(worker, "page")
    assert made.guard is not None
    assert (made.head, made.guard.reason, made.guard.head, made.override_id) == ("page", "quarantined", "a", label_id)
    assert made.labels == ()
    assert heads(worker.store)["b2"] == "b"
    assert worker.store.state().counters["quarantined"] == 1
    (override,) = worker.store.overrides.all()
    assert (override.override_id, override.action, override.bank) == (label_id, "quarantine", "templates")
    with pytest.raises(Conflict, match="is the label of image 'a1' in bank 'templates'"):
        worker.run_command("override", action="remove", override_id=label_id)
    worker.run_command("unlabel", bank="templates", image_id="a1")
    assert worker.store.overrides.all() == []
    worker.decide([near(0, "later", 10)])
    assert heads(worker.store)["later"] == "a"


@pytest.mark.parametrize("heir_is_labelled", [False, True])
def test_a_negative_label_of_a_forgotten_image_acts_as_long_as_it_exists(
    worker: InMemoryWorker, heir_is_labelled: bool
) -> None:
    label_id = never_match(worker, "a1")
    kept = never_match(worker, "a") if heir_is_labelled else label_id
    worker.forget("a1")
    assert [record.label.label_id for record in worker.store.labels.all()] == [kept]
    assert [override.override_id for override in worker.store.overrides.all()] == [kept]
    worker.decide([near(0, "page", 3)])
    assert decision(worker, "page").override_id == kept
    worker.run_command("unlabel", bank="templates", image_id="a")
    assert worker.store.overrides.all() == []


def test_a_negative_bank_survives_a_reprocessing_and_a_restore(operated: Operated) -> None:
    terms = {"policy": "template", "action": "never-match"}
    assert operated.run_command("label", bank="templates", image_id="a1", **terms).accepted
    operated.machine.decide([near(0, "page", 3)])
    for run in (lambda: operated.run_command("reprocess"), operated.roll_back):
        run()
        operated.machine.decide([] if "page" in heads(operated.store) else [near(0, "page", 3)])
        assert heads(operated.store)["page"] == "page"
        assert heads(operated.store)["a2"] == "a"
