"""Claims about the term index of a store that takes over the files of the one it replaced."""

from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neardup_platform.terms.inherit_segments import inherit_segments
from neardup_platform.testing import small_term_space
from tests.terms.sealing_process import BLOCK_IMAGES, IMAGES
from tests.terms.test_segments import assert_answers_are_exact, filled, opened, restore_missing, segment_files

VERSION = small_term_space().version


def inherited(folder: Path, wanted: np.ndarray, replaced: str = "s") -> int:
    return inherit_segments(folder, VERSION, "restored", replaced, wanted, BLOCK_IMAGES)


def everything(images: int) -> np.ndarray:
    return np.ones(images, np.bool_)


@settings(max_examples=40, deadline=None)
@given(
    shared=st.integers(40, IMAGES),
    deleted=st.frozensets(st.integers(0, IMAGES - 1), max_size=6),
    unwanted=st.frozensets(st.integers(0, IMAGES - 1), max_size=6),
    merged=st.booleans(),
)
def test_answers_are_those_of_the_present_store(
    shared: int, deleted: frozenset[int], unwanted: frozenset[int], merged: bool
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        with closing(filled(folder)) as index:
            index.delete(np.array(sorted(deleted), np.int64))
            if merged:
                index.flush()
        wanted = everything(shared)
        wanted[np.array([each for each in unwanted if each < shared], np.int64)] = False
        inherited(folder, wanted)
        with closing(opened(folder, source="restored")) as index:
            assert index.rewind(shared) == 0
            restore_missing(index, unwanted, shared)
            assert_answers_are_exact(index, unwanted, shared)


def test_only_the_window_is_hashed_again_where_the_stores_part_within_a_segment(tmp_path: Path) -> None:
    filled(tmp_path).close()
    shared = IMAGES - 5 * BLOCK_IMAGES + 3
    assert inherited(tmp_path, everything(shared))
    with closing(opened(tmp_path, source="restored")) as index:
        assert index.missing(shared) == [(index.segments[-1].end, shared)]
        assert index.segments[-1].end == (shared // BLOCK_IMAGES - 1) * BLOCK_IMAGES


def test_a_deleted_image_that_is_wanted_again_is_found_again(tmp_path: Path) -> None:
    with closing(filled(tmp_path)) as index:
        index.delete(np.array([7]))
    assert inherited(tmp_path, everything(IMAGES))
    with closing(opened(tmp_path, source="restored")) as index:
        restore_missing(index)
        assert_answers_are_exact(index)


@pytest.mark.parametrize("damage", ["segment", "manifest", "other store"])
def test_what_cannot_be_used_is_made_again(tmp_path: Path, damage: str) -> None:
    filled(tmp_path).close()
    if damage == "segment":
        path = segment_files(tmp_path)[0]
        path.write_bytes(path.read_bytes()[:-1])
    if damage == "manifest":
        (tmp_path / "manifest.json").write_text("{}")
    inherited(tmp_path, everything(IMAGES), "t" if damage == "other store" else "s")
    with closing(opened(tmp_path, source="restored")) as index:
        assert index.missing(IMAGES)[0][0] == 0
        restore_missing(index)
        assert_answers_are_exact(index)
