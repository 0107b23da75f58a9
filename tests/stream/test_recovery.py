"""Claims about a worker's start over what an earlier one left."""

import logging
import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from neardup_platform.corpus import stored_vectors
from neardup_platform.errors import InvariantBroken, SetupError
from neardup_platform.image_table.checkpoint import remove_checkpoint
from neardup_platform.records import Kind, ModelSpec
from neardup_platform.scoring.mmap_vectors import WrittenVectors
from neardup_platform.scoring.vectors import holds
from neardup_platform.store import layout
from neardup_platform.store.layout import Table
from neardup_platform.store.stored_pairs import StoredPairs
from neardup_platform.store.writer import Batch, Store
from neardup_platform.stream.recovery import fill_vectors, rebuild_corpus
from neardup_platform.terms.index import TermIndex
from neardup_platform.testing import (
    BLOCK_IMAGES,
    EXHAUSTIVE,
    LSH_DIM,
    MODELS,
    PAIR_DIM,
    InMemoryWorker,
    families,
    small_index,
    small_index_space,
    small_term_space,
)

IMAGES = families(12, 9, noise=0.2)


def filled(home: Path, images: int = len(IMAGES)) -> None:
    with closing(InMemoryWorker(home)) as worker:
        worker.decide(IMAGES[:images])


def read_from_the_store(home: Path, caplog: pytest.LogCaptureFixture) -> int:
    """How many images' vectors a start has read from the store."""
    caplog.clear()
    with caplog.at_level(logging.INFO), closing(InMemoryWorker(home)) as worker:
        for ordinal, record in enumerate(worker.store.vectors.all()):
            assert holds(worker.corpus.vectors.rows, ordinal, stored_vectors([(record.lsh, record.pair)]))
    (line,) = [r for r in caplog.records if r.name == "neardup_platform.stream.recovery"]
    return int(line.args[2])  # type: ignore[arg-type, index]


def test_a_start_over_good_files_reads_no_vectors_from_the_store(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    filled(tmp_path)
    assert read_from_the_store(tmp_path, caplog) == 0


def test_a_start_after_a_crash_reads_what_was_not_synced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    filled(tmp_path, 40)
    crashed = InMemoryWorker(tmp_path)
    crashed.decide(IMAGES[40:])
    crashed.index.close()
    crashed.store.close()
    assert read_from_the_store(tmp_path, caplog) == len(IMAGES) - 40


@pytest.mark.parametrize("other", [True, False], ids=["of another store", "lost"])
def test_unusable_files_are_rebuilt(tmp_path: Path, caplog: pytest.LogCaptureFixture, other: bool) -> None:
    filled(tmp_path / "home")
    shutil.rmtree(tmp_path / "home" / "vectors")
    if other:
        filled(tmp_path / "other", 60)
        shutil.copytree(tmp_path / "other" / "vectors", tmp_path / "home" / "vectors")
    assert read_from_the_store(tmp_path / "home", caplog) == len(IMAGES)
    assert read_from_the_store(tmp_path / "home", caplog) == 0


def test_ids_heads_representatives_and_sizes_are_those_before_the_restart(tmp_path: Path) -> None:
    with closing(InMemoryWorker(tmp_path)) as worker:
        worker.decide(IMAGES)
        before, everything = worker.corpus, np.arange(len(IMAGES))
    with closing(InMemoryWorker(tmp_path)) as restarted:
        after = restarted.corpus
        assert after.ids() == before.ids()
        assert (after.heads_of(everything) == before.heads_of(everything)).all()
        assert (after.retired(everything) == before.retired(everything)).all()
        assert before.retired(everything).any()
        heads = np.unique(before.heads_of(everything)).tolist()
        assert [after.representatives_of(h) for h in heads] == [before.representatives_of(h) for h in heads]
        assert [after.size_of(h) for h in heads] == [before.size_of(h) for h in heads]
        assert sum(after.size_of(h) for h in heads) == len(IMAGES)


def test_a_crash_between_writing_vectors_and_committing_costs_nothing(tmp_path: Path) -> None:
    filled(tmp_path / "one")
    filled(tmp_path / "two", 50)
    crashed = InMemoryWorker(tmp_path / "two")
    crashed.decide_uncommitted(IMAGES[90:])
    crashed.corpus.close()
    crashed.store.close()
    with closing(InMemoryWorker(tmp_path / "one")) as one, closing(InMemoryWorker(tmp_path / "two")) as two:
        two.decide(IMAGES[50:])
        assert two.store.state().digest == one.store.state().digest
        rows = (each.corpus.vectors.rows.at(np.arange(len(IMAGES))).all for each in (two, one))
        for found, expected in zip(*rows, strict=True):
            assert np.array_equal(found, expected)


def test_a_store_that_lacks_vectors_is_refused(tmp_path: Path) -> None:
    filled(tmp_path)
    with closing(Store(tmp_path / "store")) as store:
        batch = Batch()
        batch.delete(Table.VECTORS, layout.number_key(len(IMAGES) - 1))
        store.write(batch)
        with (
            closing(WrittenVectors(tmp_path / "new", "any", MODELS, 0, StoredPairs(store))) as vectors,
            pytest.raises(InvariantBroken, match=f"to {len(IMAGES) - 1} the store has 1 images and vectors of 0"),
        ):
            fill_vectors(store, vectors, np.ones(len(IMAGES), np.bool_))


@pytest.mark.parametrize(
    ("table", "key", "match"),
    [
        (Table.IMAGES, IMAGES[3].image_id.encode(), "counts 120 images and has records of 119"),
        (Table.IMAGES, b"nobody", r"another.s, or not below 120"),
    ],
)
def test_a_store_whose_images_contradict_its_count_is_refused(
    tmp_path: Path, table: Table, key: bytes, match: str
) -> None:
    filled(tmp_path)
    with closing(Store(tmp_path / "store")) as store:
        batch = Batch()
        if key == b"nobody":
            batch.put(table, key, b"")
        else:
            batch.delete(table, key)
        store.write(batch)
        remove_checkpoint(tmp_path / "vectors")
        with pytest.raises(InvariantBroken, match=match):
            rebuild_corpus(store, small_term_space(), MODELS, small_index, tmp_path / "vectors")


def test_vectors_of_other_dimensions_than_the_models_are_refused_in_one_line(tmp_path: Path) -> None:
    filled(tmp_path)
    wider = {Kind.LSH: MODELS[Kind.LSH], Kind.PAIR: ModelSpec("wider", PAIR_DIM + 1)}
    with (
        closing(Store(tmp_path / "store")) as store,
        pytest.raises(SetupError, match=f"{LSH_DIM} and {PAIR_DIM} dimensions .* {LSH_DIM} and {PAIR_DIM + 1}"),
    ):
        rebuild_corpus(store, small_term_space(), wider, small_index, tmp_path / "vectors")


def test_a_start_reports_the_progress_of_each_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path)
    told: list[tuple[str, int, int]] = []

    def start() -> list[str]:
        told.clear()
        with closing(Store(tmp_path / "store")) as store:
            rebuild_corpus(
                store,
                small_term_space(),
                MODELS,
                lambda source: TermIndex(
                    tmp_path / "index",
                    small_index_space(),
                    EXHAUSTIVE,
                    source=source,
                    block_images=BLOCK_IMAGES,
                    progress=lambda *seen: told.append(seen),
                ),
                tmp_path / "vectors",
                lambda *seen: told.append(seen),
            ).close()
        return list(dict.fromkeys(doing for doing, _, _ in told))

    monkeypatch.setattr("neardup_platform.stream.recovery._CHUNK", 10)
    monkeypatch.setattr("neardup_platform.corpus._CHUNK", 10)
    monkeypatch.setattr("neardup_platform.stream.known_corpus._CHUNK", 10)
    assert start() == ["reading changed images", "opening the term index", "hashing images"]
    for folder in ("index", "vectors"):
        shutil.rmtree(tmp_path / folder)
    assert start() == ["reading images", "reading clusters", "writing vectors", "hashing images"]
    for doing in ("reading images", "writing vectors", "hashing images"):
        counts = [(done, of) for stage, done, of in told if stage == doing]
        assert len(counts) > 5
        assert counts == sorted(counts)
        assert {of for _, of in counts} == {len(IMAGES)}
