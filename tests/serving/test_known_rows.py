"""Claims about the rows that a search takes from the worker's checkpoint: those of its store, as they are now."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from time import time_ns

import pytest

from neardup_platform.errors import ServerUnavailable
from neardup_platform.image_table.checkpoint import NAME
from neardup_platform.image_table.mmap_ids import FollowedIds
from neardup_platform.scoring.mmap_vectors import FollowedVectors
from neardup_platform.serving.followed_pairs import FollowedPairs
from neardup_platform.serving.known_rows import KnownRows, known_load, known_rows
from neardup_platform.serving.rocksdb_follower import StoreFollower
from neardup_platform.settings import Settings
from neardup_platform.store import layout
from neardup_platform.store.layout import Table
from neardup_platform.store.writer import Batch, Store
from neardup_platform.stream.loading.given_heads import GivenImage
from neardup_platform.testing import MODELS, eventually
from tests.serving.conftest import Writer, joined, serving, settings_of, vectors_of, wait_for
from tests.stream.loading.hand_made import take_in

IDS = ["cat~1", "dog~1", "cat~2", "owl~1", "cat~3"]


@pytest.fixture
def stopped(tmp_path: Path) -> Settings:
    """Settings of a worker that was stopped after it had decided these images."""
    settings = settings_of(tmp_path)
    writer = Writer(settings)
    writer.decide(IDS)
    writer.worker.close()
    return settings


@contextmanager
def following(settings: Settings) -> Iterator[StoreFollower]:
    follower = StoreFollower(settings.store_path, settings.home, 20)
    follower.start()
    with closing(follower):
        eventually(lambda: follower.is_open)
        yield follower


def rows_of(settings: Settings, source: str = "") -> tuple[KnownRows | None, FollowedIds]:
    with following(settings) as follower:
        source = source or follower.read(lambda store: store.state().store_id)
        vectors = FollowedVectors(settings.vectors_path, source, MODELS, FollowedPairs(follower, source))
        ids = FollowedIds(settings.vectors_path, source)
        found = known_rows(settings.vectors_path, follower, source, vectors, ids)
        assert len(vectors) == len(ids) == (0 if found is None else len(found.alive))
        return found, ids


def test_all_images_of_the_checkpoint_are_known(stopped: Settings) -> None:
    found, ids = rows_of(stopped)
    assert found is not None
    assert [ids.id_of(ordinal) for ordinal in range(len(ids))] == IDS
    assert found.alive.all()
    # Only the first cat represents its cluster.
    assert found.retired.tolist() == [False, False, True, False, True]
    assert found.apart == range(0)


def test_an_image_that_was_forgotten_since_is_dead_even_before_the_worker_erases_its_row(stopped: Settings) -> None:
    writer = Writer(stopped)
    writer.run_command("forget", "f", apply=False, image_id="dog~1")
    writer.worker.close()
    found, ids = rows_of(stopped)
    assert found is not None
    assert ids.id_of(1) == "dog~1"
    assert found.alive.tolist() == [True, False, True, True, True]
    assert found.retired.tolist() == [False, True, True, False, True]


def test_no_row_of_another_store_is_known(stopped: Settings) -> None:
    with pytest.raises(ServerUnavailable, match="the worker writes them when it starts"):
        rows_of(stopped, "another")


def test_a_store_that_somebody_has_written_to_without_noting_it_is_compared(stopped: Settings) -> None:
    with closing(Store(stopped.store_path)) as store:
        state, batch = store.state(), Batch()
        batch.delete(Table.COMMIT, layout.number_key(state.commit))
        state.commit += 1
        batch.put(Table.COMMIT, layout.number_key(state.commit), b"")
        batch.put_state(state)
        store.write(batch)
    assert rows_of(stopped)[0] is None


def test_a_damaged_checkpoint_waits_for_the_worker_to_write_another(stopped: Settings) -> None:
    checkpoint = stopped.vectors_path / NAME
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[:-3])
    with pytest.raises(ServerUnavailable, match="read from the store when the worker starts"):
        rows_of(stopped)


def loaded_rows(settings: Settings, apart: range) -> KnownRows | None:
    with following(settings) as follower:
        source = follower.read(lambda store: store.state().store_id)
        vectors = FollowedVectors(settings.vectors_path, source, MODELS, FollowedPairs(follower, source))
        ids = FollowedIds(settings.vectors_path, source)
        vectors.skip(apart.stop)
        ids.skip(apart.stop)
        return known_load(settings.vectors_path, follower, source, vectors, ids, apart)


def test_a_load_is_known_once_a_checkpoint_is_saved_after_it(stopped: Settings) -> None:
    apart = range(len(IDS), len(IDS) + 4)
    given = [GivenImage(joined(f"fox~{n}", time_ns() // 1_000_000), f"fox~{n - n % 2}") for n in range(4)]
    writer = Writer(stopped)
    writer.limit_representatives(1)
    take_in(writer.worker, stopped, given)
    assert loaded_rows(stopped, apart) is None, "the checkpoint is older than the load"
    assert loaded_rows(stopped, range(apart.start, apart.stop + 1)) is None
    writer.worker.close()
    found = loaded_rows(stopped, apart)
    assert found is not None
    assert found.alive.all()
    with closing(Store(stopped.store_path)) as store:
        records = [store.vectors.get(ordinal) for ordinal in apart]
    assert [record.image_id for record in records] == [each.image.image_id for each in given]
    assert found.retired.tolist() == [record.retired for record in records]
    writer = Writer(stopped)
    writer.run_command("forget", "f", apply=False, image_id="fox~2")
    writer.worker.close()
    found = loaded_rows(stopped, apart)
    assert found is not None
    assert found.alive.tolist() == [True, True, False, True]


def test_a_search_from_a_checkpoint_finds_its_images_and_later_ones(stopped: Settings) -> None:
    with closing(Writer(stopped).worker) as worker, serving(stopped) as client:
        wait_for(client, "/readyz", lambda answer: answer.json()["search"]["ok"])
        assert worker.store.state().images == len(IDS)
        lsh, pair = (vector.tolist() for vector in vectors_of("cat~4"))
        found = client.post("/v1/search", json={"lsh": lsh, "pair": pair}).json()
        assert found["cluster"] == "cat~1"
        assert found["images_searched"] == len(IDS)
