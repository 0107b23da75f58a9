"""Claims about fitted cells: what they are, what a query scans by them, and indexes that are sorted again."""

import logging
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neardup_platform.errors import BadArtefact, ServerUnavailable
from neardup_platform.learning.terms.fit_cells import LEAST_PER_CELL, fit_cells
from neardup_platform.progress import no_progress
from neardup_platform.settings import Settings, TermSettings
from neardup_platform.terms.cells import Cells, load_cells, save_cells
from neardup_platform.terms.effort import Effort
from neardup_platform.terms.hyperplanes import SHARED_ROWS, TermSpace, hamming, save_term_space
from neardup_platform.terms.index import TermIndex
from neardup_platform.terms.json_manifest import read_manifest
from neardup_platform.terms.opening import load_search_space, open_index
from neardup_platform.terms.parts import EARLY
from neardup_platform.terms.sort_again import sort_again
from neardup_platform.testing import EXHAUSTIVE, small_term_space
from tests.terms.sealing_process import BLOCK_IMAGES, IMAGES, vectors
from tests.terms.test_segments import HASHED, filled, restore_missing, segment_files

PLAIN = small_term_space()
CELLS = fit_cells(PLAIN, HASHED.unit)
FITTED = replace(PLAIN, fitted=CELLS)
# Another ten, which no image was fitted to.
OTHER = replace(PLAIN, fitted=Cells(PLAIN.version, HASHED.signatures[:10].copy()))


def opened(folder: Path | None, space: TermSpace = FITTED, effort: Effort = EXHAUSTIVE) -> TermIndex:
    return TermIndex(folder, space, effort, source="s", block_images=BLOCK_IMAGES, retry_s=0.0)


def answers(index: TermIndex) -> list[list[int]]:
    return index.search(HASHED[np.arange(0, IMAGES, 37)], 10, 0).ordinals.tolist()


def cell_of_each(index: TermIndex) -> dict[int, int]:
    parts = [segment.part for segment in index.segments]
    return {
        int(ordinal): cell
        for part in parts
        for cell in range(len(part.starts) - 1)
        for ordinal in part.ordinals[part.starts[cell] : part.starts[cell + 1]]
    }


def test_the_same_sample_gives_the_same_cells_and_one_for_every_few_images() -> None:
    assert fit_cells(PLAIN, HASHED.unit).version == CELLS.version
    assert len(CELLS) == pytest.approx(IMAGES / LEAST_PER_CELL, rel=0.2)
    with pytest.raises(ValueError, match="at least 16 are needed"):
        fit_cells(PLAIN, HASHED.unit[:15])


def test_an_image_belongs_to_the_cell_whose_signature_is_nearest_however_it_is_hashed() -> None:
    distances = hamming(HASHED.signatures[:, None], CELLS.signatures[None])
    whole = FITTED.hash(np.tile(vectors(), (-(-(SHARED_ROWS + 1) // IMAGES), 1)))
    assert whole.distances is None
    assert FITTED.cells_of(whole)[:IMAGES].tolist() == distances.argmin(axis=1).tolist()
    few = FITTED.hash(vectors()[5:25])[3:9]
    assert few.distances is not None
    assert few.distances.tolist() == distances[8:14].tolist()
    assert FITTED.cells_of(few).tolist() == distances[8:14].argmin(axis=1).tolist()
    assert FITTED.nearest_cells(few, 4) == np.argsort(distances[8], kind="stable")[:4].tolist()


@settings(deadline=None)
@given(
    distances=st.lists(st.integers(0, 30), min_size=1, max_size=40),
    early=st.integers(0, 100),
    scan=st.integers(0, 200),
    seed=st.integers(0, 9),
)
def test_the_cells_within_the_least_distance_that_holds_enough_images_are_scanned(
    distances: list[int], early: int, scan: int, seed: int
) -> None:
    sizes = np.random.default_rng(seed).integers(0, 9, len(distances))
    cells = Cells("x", np.zeros((len(distances), 4), np.uint64))
    plan = cells.plan(np.array([distances], np.uint16), sizes, early, scan)
    found = plan.cells[0, : plan.counts[0]].tolist()

    def within(wanted: int) -> list[int]:
        reach = min(
            (d for d in range(257) if sum(s for s, of in zip(sizes, distances, strict=True) if of <= d) >= wanted),
            default=256,
        )
        return [cell for cell, of in enumerate(distances) if of <= reach]

    assert found == within(scan)
    assert plan.images[0] == sizes[found].sum()
    first = plan.cells[0, : plan.counts[0]][plan.turns[0, : plan.counts[0]] == EARLY].tolist()
    assert first == [cell for cell in within(early) if cell in found]


def test_answers_are_exact_over_the_cells_that_are_scanned_however_images_are_divided_into_segments() -> None:
    effort, wanted = Effort(scan=200, shortlist=1 << 10), np.arange(0, IMAGES, 37)
    found = []
    for step in (1, 8, BLOCK_IMAGES):
        with closing(opened(None, effort=effort)) as index:
            for first in range(0, IMAGES, step):
                index.add(HASHED[first : first + step])
            index.flush()
            found.append(index.search(HASHED[wanted], 10, 0, wanted))
            sizes, window = index.view().sizes, index.view().window.ordinals[: index.view().window.starts[-1]]
    assert found[0].ordinals.tolist() == found[1].ordinals.tolist() == found[2].ordinals.tolist()
    own = CELLS.of(HASHED.signatures)
    plan = CELLS.plan(CELLS.distances(HASHED.signatures[wanted]), sizes, 1, 200)
    for row, number in enumerate(wanted):
        scanned = np.isin(own, plan.cells[row, : plan.counts[row]]) | np.isin(np.arange(IMAGES), window)
        others = np.flatnonzero(scanned & (np.arange(IMAGES) < number))
        best = np.lexsort((others, hamming(HASHED.signatures[others], HASHED.signatures[number])))[:10]
        assert [each for each in found[0].ordinals[row].tolist() if each >= 0] == others[best].tolist()


@pytest.mark.parametrize("before", [PLAIN, OTHER])
def test_an_index_sorted_by_other_cells_is_sorted_again_with_a_line_in_the_log(
    tmp_path: Path, before: TermSpace, caplog: pytest.LogCaptureFixture
) -> None:
    deleted = np.array([3, 40, 41])
    with closing(filled(tmp_path) if before is PLAIN else opened(tmp_path, OTHER)) as index:
        if before is OTHER:
            index.add(HASHED)
            index.flush()
        index.delete(deleted)
        index.flush()
        held = frozenset(cell_of_each(index)) - frozenset(deleted.tolist())
        expected = answers(index)
    with caplog.at_level(logging.WARNING):
        sort_again(tmp_path, FITTED, no_progress, piece=3 * BLOCK_IMAGES)
    assert f"sorted by {FITTED.index_version} instead of {before.index_version}" in caplog.text
    with closing(opened(tmp_path)) as index:
        own = CELLS.of(HASHED.signatures)
        assert cell_of_each(index) == {each: own[each] for each in held}
        restore_missing(index, frozenset(deleted.tolist()))
        assert answers(index) == expected
        index.flush()
        assert len(segment_files(tmp_path)) == len(index.segments)
    sort_again(tmp_path, FITTED, no_progress)
    with closing(opened(tmp_path)) as index:
        assert answers(index)


def test_without_its_fitted_cells_an_index_is_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(opened(tmp_path)) as index:
        index.add(HASHED)
        index.flush()
    sort_again(tmp_path, PLAIN, no_progress)
    assert f"and {PLAIN.index_version} is wanted: it is made again" in caplog.text
    with closing(opened(tmp_path, PLAIN)) as index:
        assert index.missing(IMAGES) == [(0, IMAGES)]


def test_a_damaged_segment_is_named_and_only_its_images_are_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    filled(tmp_path).close()
    sort_again(tmp_path, OTHER, no_progress, piece=10 * BLOCK_IMAGES)
    manifest = read_manifest(tmp_path)
    assert manifest is not None
    damaged = tmp_path / manifest.segments[1]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    sort_again(tmp_path, FITTED, no_progress)
    assert str(damaged) in caplog.text
    with closing(opened(tmp_path)) as index:
        assert (10 * BLOCK_IMAGES, 20 * BLOCK_IMAGES) in index.missing(IMAGES)
        restore_missing(index)
        assert answers(index)


def test_an_index_is_opened_by_the_cells_of_the_settings_and_a_reader_with_others_is_told(tmp_path: Path) -> None:
    space, cells, folder = tmp_path / "space.npz", tmp_path / "cells" / "c.npz", tmp_path / "index"
    save_term_space(PLAIN, space)
    save_cells(CELLS, cells)
    asked = TermSettings(space=space, cells=cells, ranking="hamming")
    loaded = load_search_space(Settings(home=tmp_path, terms=asked))
    assert loaded.index_version == FITTED.index_version
    assert Effort.of(asked, fitted=True).scan < Effort.of(asked).scan
    filled(folder).close()
    with pytest.raises(ServerUnavailable, match=r"set terms\.cells, terms\.ranking and"):
        open_index(folder, loaded, asked, "s", writable=False)
    with closing(open_index(folder, loaded, asked, "s")) as index:
        assert len(index)
    manifest = read_manifest(folder)
    assert manifest is not None
    assert manifest.version == FITTED.index_version
    with closing(open_index(folder, loaded, asked, "s", writable=False)) as reader:
        assert len(reader)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "fit them again"),
        (b"PK", "fit them again"),
        ({"terms_version": np.array("x")}, "signatures"),
        (
            {"terms_version": np.array("x"), "signatures": np.zeros((3, 5), np.uint64)},
            r"expected uint64 \[1…32768, 6\]",
        ),
        ({"terms_version": np.array("x"), "signatures": np.zeros((3, 6), np.uint64)}, "they are of terms x"),
        ({"terms_version": np.array("x"), "signatures": np.array([None])}, "fit them again"),
    ],
)
def test_a_file_that_is_none_of_cells_is_refused_with_the_next_step(tmp_path: Path, content: object, why: str) -> None:
    path = tmp_path / "cells.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.savez(path, **content)  # type: ignore[arg-type]
    with pytest.raises(BadArtefact, match=why):
        load_cells(path, PLAIN.version, 6)
    with pytest.raises(BadArtefact, match=r"unset terms\.cells"):
        load_cells(tmp_path / "none.npz", PLAIN.version, 6)
