"""Cells fitted to the images of a store, from its vectors to a worker that uses them."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neardup_platform.errors import SetupError
from neardup_platform.learning.terms.store_cells import write_fitted_cells
from neardup_platform.progress import no_progress
from neardup_platform.settings import Settings
from neardup_platform.settings.stages import TermSettings
from neardup_platform.stream.sample_vectors import sample_vectors
from neardup_platform.terms.cells import load_cells
from neardup_platform.terms.hyperplanes import TermSpace, save_term_space
from neardup_platform.terms.index import TermIndex
from neardup_platform.terms.sort_again import sort_again
from neardup_platform.testing import EXHAUSTIVE, small_index_space, small_term_space
from neardup_platform.testing.images import families
from neardup_platform.testing.pipeline import BLOCK_IMAGES
from neardup_platform.testing.worker import InMemoryWorker

SPACE, COSINE = small_term_space(), small_index_space()
IMAGES = families(60, 4, noise=0.4)


def settings_of(home: Path) -> Settings:
    space = home.parent / "space.npz"
    save_term_space(SPACE, space)
    return Settings(home=home, terms=TermSettings(space=space))


def sampled(settings: Settings, images: int = 1 << 16) -> np.ndarray:
    return sample_vectors(settings, SPACE, images, lambda _: None)


def index_of(space: TermSpace, source: str, folder: Path) -> TermIndex:
    sort_again(folder, space, no_progress)
    return TermIndex(folder, space, EXHAUSTIVE, source=source, block_images=BLOCK_IMAGES)


def test_a_worker_goes_over_to_fitted_cells_at_a_start_and_decides_as_before(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "home")
    with pytest.raises(SetupError, match="no worker has run yet"):
        sampled(settings)
    with closing(InMemoryWorker(tmp_path / "other")) as without:
        without.decide(IMAGES)
        expected = without.heads()
    with closing(InMemoryWorker(settings.home)) as worker:
        worker.decide(IMAGES[:200])
        vectors = worker.pipeline.corpus.vectors.rows.lsh.astype(np.float32)
        retired = {record.image_id for record in worker.store.vectors.all() if record.retired}
        kept = np.array([image_id not in retired for image_id in worker.pipeline.corpus.ids()])
        unit = sampled(settings)
        assert np.array_equal(unit, SPACE.centre(vectors[kept]))
    cells, path = write_fitted_cells(SPACE, unit, settings.home / "cells", least=100)
    assert path == settings.home / "cells" / f"{cells.version}.npz"
    fitted = replace(COSINE, fitted=load_cells(path, SPACE.version, SPACE.words))
    with closing(
        InMemoryWorker(settings.home, space=fitted, open_index=lambda source, folder: index_of(fitted, source, folder))
    ) as worker:
        assert worker.pipeline.corpus.index.missing(200) == []
        worker.decide(IMAGES[200:])
        assert worker.heads() == expected


def test_a_worker_goes_over_to_an_index_by_cosine_at_a_start_and_decides_as_before(tmp_path: Path) -> None:
    with closing(InMemoryWorker(tmp_path / "other")) as without:
        without.decide(IMAGES)
        expected = without.heads()
    signed = {"space": SPACE, "open_index": lambda source, folder: index_of(SPACE, source, folder)}
    by_cosine = {"space": COSINE, "open_index": lambda source, folder: index_of(COSINE, source, folder)}
    for images, kind in ((IMAGES[:100], signed), (IMAGES[100:200], by_cosine), (IMAGES[200:], signed)):
        with closing(InMemoryWorker(tmp_path / "home", **kind)) as worker:
            worker.decide(images)
            assert worker.pipeline.corpus.index.by_cosine is (kind is by_cosine)
            decided = worker.heads()
    assert decided == expected


def test_too_few_images_and_a_store_of_other_terms_are_refused(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "home")
    with closing(InMemoryWorker(settings.home)) as worker:
        worker.decide(IMAGES[:20])
    with pytest.raises(SetupError, match="at least 100,000 are needed"):
        write_fitted_cells(SPACE, sampled(settings), tmp_path, 100_000)
    with pytest.raises(SetupError, match="the store holds terms of"):
        sample_vectors(settings, replace(SPACE, mean=SPACE.mean + 1), 1_024, lambda _: None)
