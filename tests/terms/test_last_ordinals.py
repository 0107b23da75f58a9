"""Claims about the term index at the end of the ordinals: the last one is found, and no further one is assigned."""

from pathlib import Path

import numpy as np
import pytest

from neardup_platform.errors import SetupError
from neardup_platform.id_space import MAX_ORDINALS, id_space
from neardup_platform.terms.hyperplanes import hamming
from neardup_platform.terms.index import TermIndex
from neardup_platform.terms.json_manifest import Manifest, write_manifest
from neardup_platform.terms.mmap_segment import memory_segment, write_segment
from neardup_platform.terms.window import Rows
from neardup_platform.testing import EXHAUSTIVE, small_term_space
from tests.terms.sealing_process import BLOCK_IMAGES, IMAGES, vectors

HASHED = small_term_space().hash(vectors())
FIRST_BLOCK = BLOCK_IMAGES * 4


def index_from(folder: Path, first: int) -> TermIndex:
    """An index whose first segment starts at an ordinal, as if all older images had been forgotten."""
    folder.mkdir()
    hashed = HASHED[:FIRST_BLOCK]
    rows = Rows.of(np.arange(first, first + FIRST_BLOCK), hashed, small_term_space())
    segment = memory_segment(first, first + FIRST_BLOCK, rows, small_term_space().cells)
    states = np.zeros(FIRST_BLOCK, np.uint8)
    written = write_segment(folder, "old.segment", [segment], states, small_term_space().version)
    assert written.path is not None
    write_manifest(folder, Manifest(small_term_space().version, "s", 1, [written.path.name]))
    return TermIndex(folder, small_term_space(), EXHAUSTIVE, source="s", block_images=BLOCK_IMAGES)


@pytest.mark.parametrize("first", [(1 << 24) - 64, (1 << 31) - 128, MAX_ORDINALS - IMAGES])
def test_images_are_found_sealed_merged_and_deleted_up_to_the_last_ordinal(tmp_path: Path, first: int) -> None:
    index = index_from(tmp_path / "index", first)
    assert len(index) == first + FIRST_BLOCK
    for at in range(FIRST_BLOCK, IMAGES, 8):
        assert index.add(HASHED[at : at + 8]).tolist() == list(range(first + at, first + at + 8))
    deleted = np.arange(3, IMAGES, 29)
    index.delete(first + deleted)
    index.flush()
    assert index.problem == ""
    live = np.setdiff1d(np.arange(IMAGES), deleted)
    found = index.search(HASHED[:50], 10, 0)
    for row, query in enumerate(HASHED.signatures[:50]):
        distances = hamming(HASHED.signatures[live], query)
        best = np.lexsort((live, distances))[:10]
        assert found.ordinals[row].tolist() == (first + live[best]).tolist()
        assert found.distances[row].tolist() == distances[best].tolist()
    index.close()


def test_an_image_beyond_the_last_ordinal_is_rejected_with_the_remedy(tmp_path: Path) -> None:
    index = index_from(tmp_path / "index", MAX_ORDINALS - FIRST_BLOCK - 3)
    index.add(HASHED[:2])
    with pytest.raises(SetupError, match="`neardup reprocess`"):
        index.add(HASHED[2:4])
    assert index.add(HASHED[2:3]).tolist() == [MAX_ORDINALS - 1]
    # Image 2 is stored twice, and the last ordinal did not wrap around.
    assert index.search(HASHED[2:3], 2, 0).ordinals.tolist() == [[MAX_ORDINALS - FIRST_BLOCK - 1, MAX_ORDINALS - 1]]
    index.close()


def test_the_remaining_numbers_of_each_kind_are_reported() -> None:
    gauges = id_space(ordinals=1 << 31, sequence=7, outbox_number=8, commands=9)
    assert gauges["ordinals"] == 1 << 31
    assert gauges["ordinals_limit"] == MAX_ORDINALS == 1 << 32
    assert (gauges["sequence"], gauges["outbox_number"], gauges["command_number"]) == (7, 8, 9)
    assert gauges["id_space_left_ratio"] == 0.5
