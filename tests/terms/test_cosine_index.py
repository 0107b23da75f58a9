"""Claims about an index that ranks by cosine: it holds heads only, and the vectors are the caller's."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from neardup_platform.progress import no_progress
from neardup_platform.scoring.compact import Layout, pack, unpack
from neardup_platform.scoring.nearness import CosineNearness
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.settings import TermSettings
from neardup_platform.terms.effort import Effort
from neardup_platform.terms.equal_terms import EqualTerms
from neardup_platform.terms.heads import HEAD_BITS, directions, heads_of
from neardup_platform.terms.hyperplanes import TermSpace
from neardup_platform.terms.index import TermIndex
from neardup_platform.terms.opening import searched_space
from neardup_platform.terms.sort_again import sort_again
from neardup_platform.terms.window import Rows
from neardup_platform.testing import small_index_space, small_term_space
from tests.terms.sealing_process import vectors

SPACE, PLAIN = small_index_space(), small_term_space()
LSH = vectors().astype(np.float16)
COPIES = np.array([5, 60, 200])
LSH[COPIES] = LSH[4]
HASHED = SPACE.hash(LSH.astype(np.float32))
NO_PAIR = np.empty((len(LSH), 0), np.float16)
COMPACT = pack(LSH, NO_PAIR, Layout(LSH.shape[1], 0))
NEARNESS = CosineNearness(ImageVectors(LSH, NO_PAIR, compact=COMPACT), SPACE.mean)
EFFORT, K = Effort(1 << 30, 40), 20
# The first words of the heads of unit vectors.
GOLDEN = [346451879, 2921704902, 1081171463, 3642957071]


def opened(folder: Path | None, block_images: int, space: TermSpace = SPACE) -> TermIndex:
    return TermIndex(folder, space, EFFORT, source="s", block_images=block_images)


def filled(folder: Path | None, block_images: int = 32, space: TermSpace = SPACE) -> TermIndex:
    index = opened(folder, block_images, space)
    for first in range(0, len(LSH), 8):
        index.add(HASHED[first : first + 8])
    index.flush()
    return index


def answers(index: TermIndex) -> list[list[int]]:
    return index.search(HASHED, K, nearness=NEARNESS).ordinals.tolist()


@pytest.fixture(scope="module")
def expected() -> NDArray[np.float32]:
    """The cosines of all images with each other, of what compact rows hold."""
    found = unpack(COMPACT, Layout(LSH.shape[1], 0))[0]
    return HASHED.unit @ SPACE.centre(found).T


@pytest.fixture
def index(tmp_path: Path) -> Iterator[TermIndex]:
    with closing(filled(tmp_path)) as index:
        yield index


def test_the_directions_of_heads_are_orthogonal_and_the_same_everywhere() -> None:
    whole = directions(256)
    assert (whole.T @ whole == np.eye(HEAD_BITS) * 256.0**3).all()
    assert (whole == np.rint(whole)).all()
    narrow, wide = directions(100), directions(300)
    assert narrow.shape == (100, HEAD_BITS)
    assert np.linalg.matrix_rank(narrow) == 100
    assert wide.shape == (300, HEAD_BITS)
    assert heads_of(np.eye(4, 256, dtype=np.float32)).view(np.uint32)[:, 0].tolist() == GOLDEN


def test_heads_are_equal_in_any_batch() -> None:
    heads = heads_of(HASHED.unit)
    assert (HASHED[7:9].heads == heads[7:9]).all()
    for row in range(0, len(heads), 17):
        assert (heads_of(HASHED.unit[row : row + 1]) == heads[row]).all()


def test_distances_are_those_of_the_vectors_and_equal_in_any_batch(expected: NDArray[np.float32]) -> None:
    ordinals = np.arange(len(LSH), dtype=np.uint64)
    keys = np.tile(ordinals, (len(LSH), 1))
    NEARNESS.rank(HASHED.unit, keys, np.full(len(LSH), len(LSH)))
    assert (keys & np.uint64(0xFFFFFFFF) == ordinals).all()
    distances = (keys >> np.uint64(32)) / 2.0**30
    np.testing.assert_allclose(distances, 1 - expected, atol=2e-6)
    for row in (0, 33, 151):
        alone = ordinals[None, ::-3].copy()
        NEARNESS.rank(HASHED.unit[row : row + 1], alone, np.array([alone.shape[1]]))
        assert (alone[0] == keys[row, ::-3]).all()


def test_without_compact_rows_distances_are_equal_to_the_last_bit() -> None:
    keys = np.tile(np.arange(3, len(LSH), 5, dtype=np.uint64), (6, 1))
    bare, filled_to = keys.copy(), np.array([keys.shape[1]] * 5 + [2])
    NEARNESS.rank(HASHED.unit[:6], keys, filled_to)
    CosineNearness(ImageVectors(LSH, NO_PAIR), SPACE.mean).rank(HASHED.unit[:6], bare, filled_to)
    assert (bare == keys).all()


def test_an_image_without_a_row_is_farthest() -> None:
    keys = np.array([[3, len(LSH) + 5]], np.uint64)
    NEARNESS.rank(HASHED.unit[:1], keys, np.array([2]))
    assert keys[0, 1] == (0xFFFFFFFF << 32) + len(LSH) + 5


def test_the_nearest_by_head_are_ranked_by_cosine_with_the_older_first_among_equals(
    index: TermIndex, expected: NDArray[np.float32]
) -> None:
    apart = np.bitwise_count(HASHED.heads[:, None] ^ HASHED.heads[None]).sum(axis=2, dtype=np.int64)
    ages = np.arange(len(LSH))
    for row, found in enumerate(answers(index)):
        shortlist = np.lexsort((ages, apart[row]))[: EFFORT.shortlist]
        best = -np.sort(-expected[row, shortlist])[:K]
        np.testing.assert_allclose(expected[row, found], best, atol=2e-6)
    assert index.search(HASHED[4:5], 4, nearness=NEARNESS).ordinals.tolist() == [[4, *COPIES.tolist()]]


def test_answers_do_not_depend_on_segments_or_batches(index: TermIndex, tmp_path: Path) -> None:
    expected = answers(index)
    for folder, block_images in ((None, 16), (tmp_path / "other", 128)):
        with closing(filled(folder, block_images)) as other:
            assert answers(other) == expected
    singly = [index.search(HASHED[row : row + 1], K, nearness=NEARNESS).ordinals[0].tolist() for row in range(40)]
    assert singly == expected[:40]


def test_an_index_holds_forty_bytes_an_image_and_finds_them_after_opening(index: TermIndex, tmp_path: Path) -> None:
    with closing(opened(tmp_path, 32)) as again:
        assert again.segments
        for segment in again.segments:
            assert segment.bytes - segment.part.starts.nbytes == 36 * segment.images
        index.delete(np.array([60]))
    assert 60 not in np.array(answers(index))


def test_nearness_is_needed_for_cosines_and_refused_with_signatures(index: TermIndex) -> None:
    with pytest.raises(ValueError, match="by cosine is searched with `nearness`"):
        index.search(HASHED[:1], 1)
    with closing(opened(None, 32, PLAIN)) as plain, pytest.raises(ValueError, match="one by signature without"):
        plain.search(HASHED[:1], 1, nearness=NEARNESS)


@pytest.mark.parametrize(("before", "now"), [(PLAIN, SPACE), (SPACE, PLAIN)])
def test_an_index_that_holds_something_else_is_made_again(
    tmp_path: Path, before: TermSpace, now: TermSpace, caplog: pytest.LogCaptureFixture
) -> None:
    filled(tmp_path, space=before).close()
    sort_again(tmp_path, now, no_progress)
    assert f"is of {before.index_version}, and {now.index_version} is wanted: it is made again" in caplog.text
    with closing(opened(tmp_path, 32, now)) as index:
        assert index.missing(len(LSH)) == [(0, len(LSH))]
        index.restore(0, len(LSH), np.arange(len(LSH)), HASHED, np.zeros(len(LSH), np.bool_))
        index.flush()
        assert {segment.part.signatures.shape[1] for segment in index.segments} == {now.kept_words}


@pytest.mark.parametrize(
    ("settings", "by_cosine"),
    [({}, True), ({"ranking": "hamming"}, False), ({"ranking": "overlap"}, False), ({"min_overlap": 1}, False)],
)
def test_signatures_are_held_where_equal_terms_are_asked_for(settings: dict[str, str | int], by_cosine: bool) -> None:
    assert searched_space(PLAIN, TermSettings(**settings)).by_cosine is by_cosine
    assert replace(SPACE, by_cosine=False).index_version == PLAIN.version


def test_equal_terms_of_candidates_follow_from_their_vectors() -> None:
    likely = np.array([9, 4, 4, 100])
    terms = EqualTerms(PLAIN, HASHED.signatures, lambda ordinals: LSH[ordinals].astype(np.float32), likely)
    for asked in (likely, np.array([5]), np.array([100, 7]), np.zeros(0, np.int64)):
        expected = PLAIN.overlap(HASHED.signatures[5], HASHED.signatures[asked])
        assert terms.of(5, asked).tolist() == expected.tolist()
    assert terms.of(5, np.array([4])).tolist() == [terms.tables]


def test_an_erased_vector_has_terms_too() -> None:
    with np.errstate(all="raise"):
        erased = EqualTerms(
            PLAIN, HASHED.signatures, lambda n: np.zeros((len(n), PLAIN.dim), np.float32), np.array([3])
        )
        assert 0 <= erased.of(0, np.array([3]))[0] <= PLAIN.tables


@pytest.mark.parametrize("space", [SPACE, PLAIN], ids=["cosine", "signatures"])
def test_images_that_are_only_kept_are_hashed_to_the_same_rows(space: TermSpace) -> None:
    ordinals = np.arange(len(LSH))
    kept, hashed = (
        Rows.of(ordinals, found, space)
        for found in (space.hash_to_keep(LSH.astype(np.float32)), space.hash(LSH.astype(np.float32)))
    )
    for field in fields(Rows):
        assert np.array_equal(getattr(kept, field.name), getattr(hashed, field.name)), field.name
