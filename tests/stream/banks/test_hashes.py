"""Claims about PDQ hashes of banks, in a worker without Kafka: what they match and label, and what that survives."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neardup_platform.errors import BadCommand, Conflict, NotFound
from neardup_platform.records import JoinedImage, Label, PdqHash
from neardup_platform.stream.banks import bank_hashes, cluster_labels, label_hashes
from neardup_platform.stream.banks.bank_hashes import MAX_DISTANCE, BankHashes
from neardup_platform.testing import InMemoryWorker
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import decode_label
from tests.stream.banks.test_labels import TERMS, assert_labels_follow
from tests.stream.control_machine import Killed, command
from tests.stream.corrections.test_overrides import decision, near
from tests.stream.corrections.test_unmet_links import Operated
from tests.stream.rearranged import assert_sound, heads

HASH = bytes(range(32))
OTHER = bytes(range(100, 132))


def flipped(pdq: bytes, *bits: int) -> bytes:
    """A hash with some bits flipped, counted from the first."""
    changed = np.unpackbits(np.frombuffer(pdq, np.uint8))
    changed[list(bits)] ^= 1
    return np.packbits(changed).tobytes()


def hashed(image: JoinedImage, pdq: bytes, quality: int = 100) -> JoinedImage:
    lsh, pair = (replace(each, pdq=PdqHash(pdq, quality)) for each in (image.lsh, image.pair))
    return JoinedImage(lsh, pair)


# Distances from HASH: a 3, a1 31, a2 32, b 3 of low quality, lone has none.
IMAGES = [
    hashed(near(0, "a"), flipped(HASH, 0, 1, 255)),
    hashed(near(0, "a1", 10), flipped(HASH, *range(0, 248, 8))),
    hashed(near(0, "a2", 12), flipped(HASH, *range(0, 256, 8))),
    hashed(near(1, "b"), flipped(HASH, 0, 1, 2), quality=49),
    near(2, "lone"),
]


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[InMemoryWorker]:
    with closing(InMemoryWorker(tmp_path / "home")) as worker:
        yield worker
        assert_sound(worker, tmp_path / "scratch")
        assert_labels_follow(worker)
        assert_hashes_follow(worker)


def assert_hashes_follow(worker: InMemoryWorker) -> None:
    """What is in memory, and counted, is what a restart reads."""
    store, held = worker.store, worker.redeciding.labels.hashes
    stored = [decode_label(record.label) for record in store.hashes.all()]
    assert sorted((held.label(row, 0) for row in range(len(held))), key=str) == sorted(stored, key=str)
    banks = [label.bank for label in stored]
    assert store.hashes.counts() == {bank: banks.count(bank) for bank in banks}


def add(worker: InMemoryWorker, *hashes: bytes, bank: str = "known", **more: str) -> pb.CommandResult:
    listed = "\n".join(pdq.hex() for pdq in hashes)
    return worker.run_command("label-hashes", bank=bank, hashes=listed, **(TERMS | more))


def labelled(worker: InMemoryWorker) -> dict[tuple[str, str], int]:
    """Labels by bank and image, with their distances."""
    return {(r.label.bank, r.label.image_id): r.label.distance for r in worker.store.labels.all()}


HASHES = st.binary(min_size=32, max_size=32)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("xyz"), HASHES), max_size=30),
    st.lists(st.tuples(st.integers(0, 29), st.sets(st.integers(0, 255), max_size=40)), min_size=1, max_size=5),
    st.sampled_from([0, 3, MAX_DISTANCE]),
)
def test_the_nearest_hash_of_each_bank_is_found_as_by_comparing_all(
    entries: list[tuple[str, bytes]], asked: list[tuple[int, set[int]]], most: int
) -> None:
    hashes = BankHashes()
    hashes.put(Label("l", bank, "", "p", "a", pdq.hex()) for bank, pdq in entries)
    queries = [flipped(entries[n % len(entries)][1] if entries else HASH, *bits) for n, bits in asked]
    rows, distances = hashes.nearest(bank_hashes.words_of(queries), most)
    banks = list(dict.fromkeys(bank for bank, _ in entries))
    for query, found_rows, found_distances in zip(queries, rows.tolist(), distances.tolist(), strict=True):
        for bank, row, distance in zip(banks, found_rows, found_distances, strict=True):
            apart = [
                ((int.from_bytes(pdq) ^ int.from_bytes(query)).bit_count(), at)
                for at, (of, pdq) in enumerate(entries)
                if of == bank
            ]
            least = min(apart)
            assert (distance, row) == (least if least[0] <= most else (most + 1, -1))


def test_every_block_of_hashes_is_compared() -> None:
    rng = np.random.default_rng(1)
    many = [rng.bytes(32) for _ in range(5_000)]
    hashes = BankHashes()
    hashes.put(Label("l", "b", "", "p", "a", pdq.hex()) for pdq in many)
    for row in (0, 2_047, 2_048, 4_999):
        ((found,),) = hashes.matching([PdqHash(flipped(many[row], *range(MAX_DISTANCE)), 50)])
        assert (found.pdq, found.distance) == (many[row].hex(), MAX_DISTANCE)
    hashes.remove("b", [many[2_048]])
    assert (len(hashes), hashes.matching([PdqHash(many[2_048], 100)])) == (4_999, [[]])


def test_a_new_image_near_a_hash_is_labelled_and_says_by_which_hash(worker: InMemoryWorker) -> None:
    label_id = add(worker, HASH, OTHER).command_id
    worker.decide(IMAGES)
    expected = Label(label_id, "known", "a", "hate", "block", HASH.hex(), 3)
    assert decision(worker, "a").labels == (expected,)
    (record,) = worker.store.labels.all()
    assert (decode_label(record.label), record.issued_by, record.sequence) == (expected, "PDQ hash", 1)
    assert [decision(worker, image_id).labels for image_id in ("b", "lone")] == [(), ()]
    counters = worker.store.state().counters
    assert [counters[name] for name in ("pdq_missing", "pdq_unreliable", "pdq_labelled")] == [1, 1, 1]


@pytest.mark.parametrize("size", [1, 7])
def test_a_cluster_is_labelled_once_and_every_image_that_joins_carries_it(worker: InMemoryWorker, size: int) -> None:
    add(worker, HASH)
    worker.decide([*IMAGES, hashed(near(0, "a3", 3), HASH), near(0, "a4", 4)], size=size)
    assert labelled(worker) == {("known", "a"): 3}
    for image_id in ("a1", "a2", "a3", "a4"):
        assert [label.image_id for label in decision(worker, image_id).labels] == ["a"]


def test_a_hash_counts_up_to_31_bits(worker: InMemoryWorker) -> None:
    add(worker, HASH)
    worker.decide([IMAGES[2]])
    assert labelled(worker) == {}
    worker.decide([hashed(near(3, "edge"), flipped(HASH, *range(0, 248, 8)))])
    assert labelled(worker) == {("known", "edge"): 31}


def test_stored_images_are_found_and_the_answer_names_them(
    worker: InMemoryWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_hashes, "_CHUNK", 2)
    worker.decide([*IMAGES, hashed(near(3, "far"), flipped(OTHER, 7))])
    result = add(worker, OTHER, HASH, reason="from the exchange")
    assert dict(result.values) | {"matches": ""} == {
        "label_id": result.command_id,
        "bank": "known",
        **TERMS,
        "hashes": "2",
        "added": "2",
        "matched": "3",
        "labelled": "2",
        "not_matchable": "2",
        "matches": "",
    }
    assert json.loads(result.values["matches"]) == [
        {"image_id": "far", "head": "far", "pdq": OTHER.hex(), "distance": 1},
        {"image_id": "a", "head": "a", "pdq": HASH.hex(), "distance": 3},
        {"image_id": "a1", "head": "a", "pdq": HASH.hex(), "distance": 31},
    ]
    assert labelled(worker) == {("known", "far"): 1, ("known", "a"): 3}
    assert {record.reason for record in worker.store.labels.all()} == {"from the exchange"}
    worker.decide([near(0, "copy", 3)])
    assert [label.pdq for label in decision(worker, "copy").labels] == [HASH.hex()]


def test_hashes_that_are_there_already_change_nothing_and_other_terms_are_refused(worker: InMemoryWorker) -> None:
    worker.decide(IMAGES)
    first = add(worker, HASH)
    again = add(worker, HASH, OTHER)
    assert [again.values[name] for name in ("added", "matched", "labelled")] == ["1", "2", "0"]
    assert {record.label.label_id for record in worker.store.labels.all()} == {first.command_id}
    with pytest.raises(Conflict, match=f"hash {HASH.hex()} is in bank 'known' with policy 'hate' .* by label"):
        add(worker, HASH, action="review")
    add(worker, HASH, bank="other", action="review")
    assert labelled(worker) == {("known", "a"): 3, ("other", "a"): 3}


def test_a_removed_hash_takes_its_labels_with_it_and_no_others(worker: InMemoryWorker) -> None:
    worker.decide(IMAGES)
    worker.run_command("label", bank="known", image_id="lone", **TERMS)
    add(worker, HASH, OTHER)
    result = worker.run_command("unlabel-hashes", bank="known", hashes=HASH.hex().upper())
    assert dict(result.values) == {"bank": "known", "removed": "1", "labels_removed": "1"}
    assert labelled(worker) == {("known", "lone"): 0}
    worker.decide([hashed(near(3, "new"), HASH)])
    assert decision(worker, "new").labels == ()
    with pytest.raises(NotFound, match=f"1 of 2 hashes are not in bank 'known', the first of them {HASH.hex()}"):
        worker.run_command("unlabel-hashes", bank="known", hashes=f"{OTHER.hex()}\n{HASH.hex()}")
    assert worker.store.hashes.counts() == {"known": 1}


def test_an_operator_can_take_out_an_image_that_a_hash_put_in(worker: InMemoryWorker) -> None:
    add(worker, HASH)
    worker.decide(IMAGES[:1])
    worker.run_command("unlabel", bank="known", image_id="a")
    worker.decide([near(0, "copy", 3)])
    assert (labelled(worker), decision(worker, "copy").labels) == ({}, ())


def test_a_replaced_picture_is_matched_again(worker: InMemoryWorker) -> None:
    worker.decide(IMAGES)
    add(worker, OTHER)
    lsh, pair = (
        replace(each, replaces=True, event_time_ms=each.event_time_ms + 1)
        for each in (near(4, "lone").lsh, near(4, "lone").pair)
    )
    worker.replace(hashed(JoinedImage(lsh, pair), OTHER))
    assert labelled(worker) == {("known", "lone"): 0}
    assert [label.pdq for label in decision(worker, "lone").labels] == [OTHER.hex()]
    record = worker.store.images.find("lone")
    assert record is not None
    assert (record.pdq, record.pdq_quality) == (OTHER, 100)


def test_when_there_are_as_many_labels_as_can_be_decisions_still_say_so(
    worker: InMemoryWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_labels, "MAX_LABELS", 1)
    monkeypatch.setattr(label_hashes, "MAX_LABELS", 1)
    worker.decide(IMAGES)
    worker.run_command("label", bank="one", image_id="lone", **TERMS)
    with pytest.raises(Conflict, match="there are 1 labels, and the images matched need 1 more, above the maximum"):
        add(worker, HASH)
    worker.decide([hashed(near(4, "new"), HASH)])
    assert [(label.bank, label.image_id) for label in decision(worker, "new").labels] == [("known", "")]
    assert labelled(worker) == {("one", "lone"): 0}
    assert worker.store.state().counters["pdq_labelled"] == 1
    monkeypatch.setattr(label_hashes, "MAX_HASHES", 1)
    with pytest.raises(Conflict, match="there are 1 hashes, and 1 more would exceed the maximum of 1"):
        add(worker, OTHER)


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ({"hashes": "f" * 63}, "hash 'f+' is not 64 hexadecimal digits"),
        ({"hashes": "g" * 64}, "is not 64 hexadecimal digits"),
        ({"hashes": ""}, "0 hashes are listed, 1 to 2000 are allowed"),
        ({"hashes": f"{HASH.hex()}\n{HASH.hex().upper()}"}, "is listed twice"),
        ({"action": "never-match"}, "a hash cannot have the action never-match: that keeps images out of a cluster"),
        ({"bank": "Known"}, "bank is 'Known'"),
    ],
)
def test_wrong_hashes_and_terms_are_refused(worker: InMemoryWorker, given_: dict[str, str], says: str) -> None:
    with pytest.raises(BadCommand, match=says):
        worker.run_command("label-hashes", **({"bank": "known", "hashes": HASH.hex()} | TERMS | given_))
    assert worker.store.hashes.counts() == {}


def test_a_bank_of_hashes_is_read_page_by_page(worker: InMemoryWorker) -> None:
    add(worker, OTHER, HASH, flipped(OTHER, 255))
    add(worker, HASH, bank="known-2")
    first = [record.label.pdq for record in worker.store.hashes.page("known", 2)]
    rest = [record.label.pdq for record in worker.store.hashes.page("known", 2, first[-1])]
    assert first + rest == sorted([OTHER, HASH, flipped(OTHER, 255)])
    assert worker.store.hashes.counts() == {"known": 3, "known-2": 1}


@pytest.fixture
def operated(tmp_path: Path) -> Iterator[Operated]:
    with closing(Operated(tmp_path / "home")) as operated:
        operated.machine.decide(IMAGES)
        operated.snapshot()
        yield operated
        assert_labels_follow(operated.machine.worker)
        assert_hashes_follow(operated.machine.worker)


def test_hashes_and_their_labels_survive_a_restart_a_reprocessing_and_a_restore(operated: Operated) -> None:
    assert operated.run_command("label-hashes", bank="known", hashes=HASH.hex(), **TERMS).accepted
    late = hashed(near(4, "late"), flipped(HASH, 9))
    operated.machine.decide([late])
    expected = {("known", "a"): 3, ("known", "late"): 1}
    operated.start()
    assert operated.run_command("reprocess").accepted
    assert labelled(operated.machine.worker) == expected
    assert operated.store.images.find("late").pdq == flipped(HASH, 9)
    operated.roll_back()
    assert "late" not in heads(operated.store)
    operated.machine.decide([late, near(0, "copy", 3)])
    assert labelled(operated.machine.worker) == expected
    assert [label.image_id for label in decision(operated.machine.worker, "copy").labels] == ["a"]
    assert operated.run_command("forget", image_id="late").accepted
    assert labelled(operated.machine.worker) == {("known", "a"): 3}


@pytest.mark.parametrize("point", ["prepared", "stage_committed", "command_committed"])
def test_a_kill_leaves_hashes_whose_images_are_labelled_by_a_restart(operated: Operated, point: str) -> None:
    sent = command("label-hashes", "c-hashes", bank="known", hashes=HASH.hex(), **TERMS)
    operated.machine.kill_at(point)
    operated.machine.log.append(sent)
    with pytest.raises(Killed):
        operated.machine.run()
    operated.start()
    operated.machine.log.append(sent)
    operated.machine.run()
    answers = [found for found in operated.machine.published() if found.command_id == "c-hashes"]
    assert {answer.accepted for answer in answers} == {True}
    assert labelled(operated.machine.worker) == {("known", "a"): 3}
    assert operated.store.hashes.counts() == {"known": 1}


def test_pictures_are_matched_together_each_with_every_bank() -> None:
    hashes = BankHashes()
    hashes.put(Label("l", bank, "", "p", "a", pdq.hex()) for bank, pdq in (("x", HASH), ("y", flipped(HASH, 0))))
    found = hashes.matching([None, PdqHash(HASH, 100), PdqHash(HASH, 49), PdqHash(flipped(HASH, 0, 1), 50)])
    assert [[(label.bank, label.distance) for label in labels] for labels in found] == [
        [],
        [("x", 0), ("y", 1)],
        [],
        [("y", 1), ("x", 2)],
    ]
