"""The verification finds what it is there to find: a store and a log, each damaged in one way."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from neardup_platform.kafka.publisher import Settled
from neardup_platform.store import layout
from neardup_platform.store.layout import Table
from neardup_platform.store.writer import Batch, Store
from neardup_platform.stream.commit import commit
from neardup_platform.stream.steps import Consumed, StreamStep
from neardup_platform.testing import families, small_pipeline
from neardup_platform.wire import neardup_pb2 as pb
from tests.faults.traffic import Sent
from tests.faults.verification import Log, wrong_at_any_moment, wrong_when_settled

IMAGES = families(4, 3)
SENT = Sent(whole={image.image_id for image in IMAGES}, messages=2 * len(IMAGES))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Everything decided, published and acknowledged."""
    with closing(Store(tmp_path / "store")) as store:
        state, step = (
            store.state(),
            StreamStep(Consumed(counts={"received": 2 * len(IMAGES)}), small_pipeline().decide(IMAGES, 1, 5)),
        )
        outgoing = commit(store, state, step, 0)
        commit(store, state, StreamStep(), 0, [Settled(message.number, message.size) for message in outgoing])
        yield store


def log_of(store: Store) -> Log:
    decisions = [store.history.current(image.image_id) for image in IMAGES]
    return Log(2 * len(IMAGES), [*decisions, decisions[3]], [])


def findings(store: Store, log: Log, sent: Sent = SENT) -> list[str]:
    return list(wrong_when_settled(store, log, sent))


def change(store: Store, table: Table, key: bytes, value: bytes | None) -> None:
    batch = Batch()
    if value is None:
        batch.delete(table, key)
    else:
        batch.put(table, key, value)
    store.write(batch)


def test_nothing_is_found_where_nothing_is_wrong_and_a_repeat_is_none(store: Store) -> None:
    assert findings(store, log_of(store)) == []
    assert list(wrong_at_any_moment(store, log_of(store))) == []


def test_an_image_or_message_that_is_lost_is_found(store: Store) -> None:
    log = log_of(store)
    assert findings(store, log, replace(SENT, whole=SENT.whole | {"another"}))
    assert findings(store, log, replace(SENT, messages=SENT.messages + 1))
    assert findings(store, log, replace(SENT, bad=1))
    assert findings(store, replace(log, decisions=log.decisions[5:-1]))


def test_a_second_decision_of_an_image_is_found(store: Store) -> None:
    one = pb.Decision.FromString(store.history.current(IMAGES[0].image_id))
    one.sequence, one.event_id = 999, "another"
    log = log_of(store)
    assert any(
        "not in the store" in line
        for line in findings(store, replace(log, decisions=[*log.decisions, one.SerializeToString()]))
    )
    change(store, Table.HISTORY, layout.sequence_key(one.image_id, 999), one.SerializeToString())
    assert any("decided 2 times" in line for line in findings(store, log))


def test_two_contents_under_one_event_id_are_found(store: Store) -> None:
    other = pb.Decision.FromString(store.history.current(IMAGES[0].image_id))
    other.head = "elsewhere"
    log = log_of(store)
    found = findings(store, replace(log, decisions=[*log.decisions, other.SerializeToString()]))
    assert any("different contents" in line for line in found)


@pytest.mark.parametrize("what", ["member", "extra member", "record", "head", "digest", "count", "fates", "vectors"])
def test_tables_that_disagree_are_found_at_any_moment(store: Store, what: str) -> None:
    log = log_of(store)
    image_id = IMAGES[-1].image_id
    record = store.images.find(image_id)
    assert record is not None
    state = store.state()
    if what == "member":
        change(store, Table.MEMBERS, layout.sequence_key(record.head, record.sequence), None)
    elif what == "extra member":
        change(store, Table.MEMBERS, layout.sequence_key(record.head, 999), image_id.encode())
    elif what == "record":
        change(store, Table.IMAGES, image_id.encode(), None)
    elif what == "head":
        record.head = image_id if record.head != image_id else IMAGES[0].image_id
        change(store, Table.IMAGES, image_id.encode(), record.SerializeToString())
    elif what == "vectors":
        change(store, Table.VECTORS, layout.number_key(record.ordinal), None)
    else:
        if what == "digest":
            state.digest = bytes(16)
        elif what == "count":
            state.images += 1
        else:
            state.counters["received"] -= 1
        change(store, Table.STATE, b"", state.SerializeToString())
    assert list(wrong_at_any_moment(store, log))
