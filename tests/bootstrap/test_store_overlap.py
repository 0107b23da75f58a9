"""What a store knows of a data set is found by whichever way is faster, and both say the same."""

from pathlib import Path

import pyarrow as pa

from neardup_platform.bootstrap.store_overlap import StoreOverlap
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.writer import Batch, Store


def store_of(folder: Path, *names: str) -> Store:
    store, batch = Store(folder), Batch()
    for name in names:
        batch.put(Table.IMAGES, name.encode(), store_pb.ImageRecord(head=name).SerializeToString())
    batch.put(Table.FORGOTTEN, layout.hash_key("gone"), b"")
    override = store_pb.Override(override_id="o", action="merge", image_id="named", first_ids=["also named"])
    batch.put(Table.OVERRIDES, b"o", override.SerializeToString())
    state = store.state()
    state.images, state.forgotten = len(names), 1
    batch.put_state(state)
    store.write(batch)
    return store


def ids(*names: str) -> pa.Array:
    return pa.array([name.encode() for name in names], pa.large_binary())


def test_known_images_are_found_by_lookup_and_by_scan(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", *(f"image {number}" for number in range(40)))
    wanted = ids("image 7", "image 70", "imag", "image 39")
    more = ids(*wanted.cast(pa.string()).to_pylist(), *(f"other {number}" for number in range(100)))
    overlap = StoreOverlap(store)
    assert overlap.known(wanted).tolist() == [True, False, False, True]
    assert overlap.known(more).tolist() == [True, False, False, True] + [False] * 100
    store.close()


def test_forgotten_and_overridden_images_count_as_touched(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", "known")
    found = StoreOverlap(store).touched(ids("known", "gone", "named", "also named", "new"))
    assert found.tolist() == [True, True, True, True, False]
    store.close()


def test_an_empty_store_knows_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    assert StoreOverlap(store).touched(ids("a", "b")).tolist() == [False, False]
    store.close()
