"""Where RocksDB puts the files of a load: not at the top, where a few dozen stop every write."""

from pathlib import Path

import pytest
from rocksdict import Rdict, SstFileWriter

from neardup_platform.store.layout import Table
from neardup_platform.store.view import rocksdb_options
from neardup_platform.store.writer import IngestBatch, Store
from neardup_platform.testing import eventually

# RocksDB's level0_stop_writes_trigger.
STOPPED = 36
TABLES = (Table.IMAGES, Table.CLUSTERS, Table.MEMBERS, Table.VECTORS)


@pytest.mark.parametrize("dynamic", [False, True])
def test_a_load_of_many_files_stops_no_write_whatever_the_store_was_created_with(tmp_path: Path, dynamic: bool) -> None:
    created = rocksdb_options()
    created.set_level_compaction_dynamic_level_bytes(dynamic)
    with Rdict(str(tmp_path / "store"), created) as db:
        for table in TABLES:
            for number in range(2_000):
                db[table.value + b"live%06d" % number] = bytes(100)
        # One file from the first table to the last.
        db.compact_range(None, None)
    store = Store(tmp_path / "store")
    files = [write_table(tmp_path, table, number) for table in TABLES for number in range(12)]
    assert len(files) > STOPPED
    # Of withheld images: it counts before the file that it overlaps.
    deletions = write_table(tmp_path, TABLES[0], 3, deletes=True)
    store.write(IngestBatch([*files, deletions], tmp_path / "changes"))
    db = store._tables.db
    assert at_top(db) < 5
    assert db.get(TABLES[0].value + b"load0003-001") is None
    for table in TABLES:
        assert db[table.value + b"load0002-001"] == b"taken in"
        assert db[table.value + b"live000001"] == bytes(100)
    store.close()


def write_table(folder: Path, table: Table, number: int, *, deletes: bool = False) -> Path:
    """A file with a range of keys of its own among the files of a load, all between those of the store."""
    path = folder / f"{table.name}-{number}-{deletes}.sst"
    writer = SstFileWriter(rocksdb_options())
    writer.open(str(path))
    for key in range(20):
        name = table.value + b"load%04d-%03d" % (number, key)
        if deletes:
            del writer[name]
        else:
            writer[name] = b"taken in"
    writer.finish()
    return path


def test_no_compaction_begins_while_they_are_held(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    db = store._tables.db
    store.compactions.hold()
    for number in range(8):
        db[b"\x7f%d" % number] = b"a commit"
        store.flush()
    assert at_top(db) == 8, "by default the fourth begins a compaction"
    assert not store.compactions.running
    store.close()
    # A process that ends meanwhile leaves nothing held.
    store = Store(tmp_path / "store")
    db = store._tables.db
    assert not store.compactions.held
    eventually(lambda: at_top(db) < 4)
    store.compactions.hold()
    store.compactions.release()
    for number in range(8):
        db[b"\x7f%d" % number] = b"another commit"
        store.flush()
    eventually(lambda: at_top(db) < 4)
    store.close()


def test_files_at_the_top_stop_no_write(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    # Each has the keys of the one before, so they can be nowhere else.
    db = store._tables.db
    # So that none is compacted during the test.
    db.set_options({"level0_file_num_compaction_trigger": "1000"})
    for number in range(STOPPED + 10):
        copy = tmp_path / str(number)
        copy.mkdir()
        store.write(IngestBatch([write_table(copy, Table.IMAGES, 0)], copy / "changes"))
        assert db.property_value("rocksdb.is-write-stopped") == "0"
        assert db.property_value("rocksdb.actual-delayed-write-rate") == "0"
        db[b"\x7f%d" % number] = b"a commit between them"
    assert at_top(db) > STOPPED
    store.close()


def at_top(db: Rdict) -> int:
    """How many files are on level 0."""
    return int(db.property_value("rocksdb.num-files-at-level0") or 0)
