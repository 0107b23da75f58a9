"""Claims about a store that an earlier version wrote: it reads the same, byte for byte, and a worker continues on it.

The file was written by the last version whose stored messages were declared in wire/neardup.proto.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from neardup_platform.records import Kind
from neardup_platform.store import layout
from neardup_platform.store.layout import Table
from neardup_platform.store.secondary import SecondaryStore
from neardup_platform.store.view import StoreView, open_checkpoint
from neardup_platform.store.writer import Store
from neardup_platform.testing import InMemoryWorker, image
from neardup_platform.wire.codec import Log, decode_decision, encode_decision
from neardup_platform.wire.topics import CONTROL, EMBEDDINGS
from tests.store.golden_store import IMAGES, MESSAGES, read, records, restore
from tests.stream.rearranged import assert_sound, heads

# Tables that came after the file.
LATER = (Table.MOVES, Table.LABELS, Table.HASHES, Table.TOUCHED)
KEPT = read(Path(__file__).parent / "data" / "store-format-4.jsonl.gz")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    restore(KEPT, tmp_path / "home" / "store")
    return tmp_path / "home"


@pytest.fixture
def view(home: Path) -> Iterator[StoreView]:
    with closing(open_checkpoint(home / "store")) as opened:
        yield opened


def test_every_kind_of_record_that_there_was_is_in_the_file() -> None:
    assert {record["table"] for record in KEPT} == {table.name for table in Table if table not in LATER}


def test_every_record_reads_as_it_was_written(view: StoreView) -> None:
    assert list(records(view)) == KEPT


def test_no_byte_of_a_record_is_unknown() -> None:
    for record in KEPT:
        if (message_type := MESSAGES.get(Table[str(record["table"])])) is not None:
            value = bytes.fromhex(str(record["value"]))
            assert message_type.FromString(value).ByteSize() == len(value)


def test_earlier_decisions_were_not_guarded_and_are_written_again_as_they_are(view: StoreView) -> None:
    written = [value for table in (Table.HISTORY, Table.CHANGED) for _, value in view.scan(table)]
    assert len(written) > len(IMAGES)
    for value in written:
        decision = decode_decision(value)
        assert decision.guard is None
        assert encode_decision(decision) == value
    assert not any(record.held_apart for _, record in view.images.all())


def test_the_digest_matches_the_clusters(view: StoreView) -> None:
    digest = bytes(16)
    for image_id, record in view.images.all():
        digest = layout.digest_after(digest, layout.assignment_digest(image_id, record.head))
    assert view.state().digest == digest
    assert view.state().images == len(IMAGES) - 1


def test_a_secondary_reads_it_before_a_writer_has_opened_it(home: Path, tmp_path: Path) -> None:
    with closing(SecondaryStore(home / "store", tmp_path / "scratch")) as reader:
        assert list(records(reader)) == KEPT


def test_opening_it_for_writing_changes_nothing_and_completes_the_purge(home: Path) -> None:
    with closing(Store(home / "store")) as store:
        store.purged()
        assert list(records(store)) == [record for record in KEPT if record["table"] != Table.PURGES.name]


def test_every_reader_finds_its_records(view: StoreView) -> None:
    assert {override.action for override in view.overrides.all()} == {"link", "alone", "forbid"}
    assert view.overrides.deferred() == ["link"]
    assert [promotion.version for promotion in view.commands.promotions()] == ["v2"]
    forget = view.commands.find("forget")
    assert forget is not None
    assert view.commands.id_of(forget.number) == "forget"
    assert (view.commands.progress("long").done, view.commands.read_offset((CONTROL, 0))) == (7, 5)
    assert view.commands.handled_ahead().of == b"long"
    (gone,) = {image.image_id for image in IMAGES} - heads(view).keys()
    assert view.images.forgotten_upto_ms(gone) > 0
    assert view.clusters.exists(view.redirects.resolve(gone))
    assert {unpaired.offset for unpaired in view.unpaired.all()} == {37, 38}
    assert view.positions.next_offsets()[EMBEDDINGS[Kind.LSH], 1] == 40
    assert view.positions.logs()[EMBEDDINGS[Kind.LSH], 1] == Log("a" * 32, 3)
    assert len(list(view.outbox.pending())) == 7
    assert view.state().paused.command_id == "pause"


def test_a_worker_continues_on_it(home: Path, tmp_path: Path) -> None:
    with closing(InMemoryWorker(home)) as worker:
        before, digest = heads(worker.store), worker.store.state().digest
        known = next(each for each in IMAGES if before.get(each.image_id) == each.image_id)
        worker.decide([image("like a known one", known.lsh.vector), image("unlike", -known.lsh.vector)])
        after = heads(worker.store)
        assert after.items() >= before.items()
        assert (after["like a known one"], after["unlike"]) == (known.image_id, "unlike")
        assert worker.store.state().digest != digest
        worker.run_command("override", action="remove", override_id="link")
        worker.run_command("forget", image_id="unlike")
        worker.run_command("forget", image_id="like a known one")
        assert worker.store.state().digest == digest
        assert_sound(worker, tmp_path / "scratch")
