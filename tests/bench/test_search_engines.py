"""Common behaviour of every engine of the search benchmark, ours and the peers."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neardup_platform.bench.faiss_peers import FlatPeer, HnswPeer, IvfPeer, MultiHashPeer
from neardup_platform.bench.search_engine import Engine, KeptImages, compact_rows
from neardup_platform.bench.tantivy_peer import TantivyPeer
from neardup_platform.bench.term_index_engine import FittedCellsEngine, SignatureEngine, TermIndexEngine
from neardup_platform.bench.vector_peers import ProductPeer, RaBitQPeer, UsearchPeer, VectorGraphPeer
from neardup_platform.terms.effort import Effort
from neardup_platform.terms.hyperplanes import WORD_BITS, hamming
from tests.bench.planting import planted, small_space

SPACE = small_space()
BY_COSINE = replace(SPACE, by_cosine=True)
IMAGES = SPACE.hash(planted(groups=1_000, copies=2, distractors=0, dim=32).unit)
KEPT = KeptImages(
    *(IMAGES.signatures, IMAGES.cells, IMAGES.heads, compact_rows(IMAGES, SPACE.mean)), IMAGES.unit.astype(np.float16)
)
QUERIES = IMAGES[:40]
NEWCOMERS = SPACE.hash(planted(groups=50, copies=0, distractors=0, dim=32, seed=8).unit)
_BITS = WORD_BITS * SPACE.words

MAKERS: dict[str, Callable[[Path], Engine]] = {
    "neardup": lambda folder: TermIndexEngine(
        BY_COSINE, folder / "index", len(IMAGES), Effort(10_000, 512), min_overlap=0
    ),
    "fitted": lambda folder: FittedCellsEngine(
        BY_COSINE, folder / "index", len(IMAGES), Effort(10_000, 512), min_overlap=0
    ),
    "signature": lambda folder: SignatureEngine(
        SPACE, folder / "index", len(IMAGES), Effort(10_000, 512), min_overlap=0
    ),
    "flat": lambda folder: FlatPeer(_BITS, folder),
    "ivf": lambda folder: IvfPeer(_BITS, folder),
    "multihash": lambda folder: MultiHashPeer(_BITS, folder),
    "hnsw": lambda folder: HnswPeer(_BITS, folder),
    "product": lambda folder: ProductPeer(SPACE, folder),
    "rabitq": lambda folder: RaBitQPeer(SPACE, folder),
    "graph": lambda folder: VectorGraphPeer(SPACE, folder),
    "usearch": lambda folder: UsearchPeer(SPACE, folder),
    "tantivy": lambda folder: TantivyPeer(SPACE, folder / "index"),
}


def built(name: str, folder: Path) -> Engine:
    engine = MAKERS[name](folder)
    engine.prepare(KEPT, len(KEPT))
    for first in range(0, len(KEPT), 700):
        engine.add(KEPT[first : first + 700])
    engine.save()
    engine.open()
    return engine


@pytest.fixture(params=MAKERS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    made = built(request.param, tmp_path)
    yield made
    made.close()


def test_an_image_is_found_first_by_itself_at_every_setting(engine: Engine) -> None:
    for setting in engine.settings:
        for threads in (1, 2):
            engine.use(setting, threads)
            found = engine.search(QUERIES, 5)
            assert found.shape == (len(QUERIES), 5)
            assert found.dtype == np.int64
            assert (found[:, 0] == np.arange(len(QUERIES))).mean() > 0.9, setting


def test_the_most_expensive_setting_finds_near_copies(engine: Engine) -> None:
    engine.use(engine.settings[-1], 2)
    found = engine.search(QUERIES, 20)
    copies = 1_000 + 2 * np.arange(len(QUERIES))[:, None] + np.arange(2)
    assert np.isin(copies, found).mean() > 0.9


@pytest.mark.parametrize("name", ["neardup", "fitted", "signature", "tantivy"])
def test_the_next_search_finds_what_was_added_to_an_engine_that_grows(name: str, tmp_path: Path) -> None:
    engine = built(name, tmp_path)
    assert engine.grows
    engine.use(engine.settings[-1], 1)
    engine.add(NEWCOMERS)
    found = engine.search(NEWCOMERS, 3)
    assert (found[:, 0] == len(IMAGES) + np.arange(len(NEWCOMERS))).all()
    engine.close()


def test_our_index_is_complete_again_at_another_setting(tmp_path: Path) -> None:
    engine = built("neardup", tmp_path)
    engine.add(NEWCOMERS)
    for setting in engine.settings:
        engine.use(setting, 2)
        newest = engine.search(IMAGES[-3:], 1)
        assert newest[:, 0].tolist() == [len(IMAGES) - 3, len(IMAGES) - 2, len(IMAGES) - 1], setting
    engine.close()


@pytest.mark.parametrize("name", ["flat", "signature"])
def test_comparing_everything_is_exact(name: str, tmp_path: Path) -> None:
    engine = built(name, tmp_path)
    engine.use(engine.settings[-1], 2)
    distances = hamming(QUERIES.signatures[:, None], IMAGES.signatures[None])
    found = engine.search(QUERIES, 10)
    np.testing.assert_array_equal(np.take_along_axis(distances, found, axis=1), np.sort(distances, axis=1)[:, :10])
    engine.close()


@pytest.mark.parametrize("name", ["neardup", "fitted"])
def test_comparing_everything_by_cosine_is_as_exact_as_compact_rows(name: str, tmp_path: Path) -> None:
    engine = built(name, tmp_path)
    engine.use(engine.settings[-1], 2)
    cosines = QUERIES.unit @ IMAGES.unit.T
    found = np.take_along_axis(cosines, engine.search(QUERIES, 10), axis=1)
    np.testing.assert_allclose(found, -np.sort(-cosines, axis=1)[:, :10], atol=0.02)
    engine.close()


def test_tantivy_ranks_by_overlap(tmp_path: Path) -> None:
    engine = built("tantivy", tmp_path)
    engine.use(engine.settings[-1], 2)
    overlaps = SPACE.overlap(QUERIES.signatures[:, None], IMAGES.signatures[None])
    found = engine.search(QUERIES, 10)
    by_row = np.where(found >= 0, np.take_along_axis(overlaps, np.maximum(found, 0), axis=1), 0)
    np.testing.assert_array_equal(by_row, -np.sort(-overlaps, axis=1)[:, :10])
    engine.close()
