import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import faiss
import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from neardup_platform.terms.candidates import CandidateIndex
from tests.terms.contract import (
    BACKENDS,
    COPIES,
    FAMILIES,
    NOTHING,
    POOL,
    TABLES,
    Backend,
    BruteForce,
    pooled,
    rows_of,
)

EVERYTHING = range(FAMILIES * COPIES)


@pytest.fixture(autouse=True)
def one_thread_of_faiss() -> Iterator[None]:
    """Thousands of tiny scans: faiss's threads would mostly wait for each other."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(threads)


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.name)
def backend(request: pytest.FixtureRequest) -> Backend:
    return request.param


@pytest.fixture
def index(backend: Backend, tmp_path: Path) -> Iterator[CandidateIndex]:
    index = backend.open(tmp_path)
    yield index
    index.close()


def test_an_empty_index_finds_nothing(index: CandidateIndex) -> None:
    assert len(index) == 0
    found = index.search(POOL[:3], 5)
    assert rows_of(found) == [[], [], []]
    assert found.ordinals.shape == found.distances.shape == found.overlaps.shape == (3, 5)
    assert (found.ordinals.dtype, found.distances.dtype, found.overlaps.dtype) == (np.int64, np.uint16, np.uint8)


def test_no_queries_give_no_answers(index: CandidateIndex) -> None:
    index.add(POOL)
    assert index.search(POOL[:0], 5).ordinals.shape == (0, 5)


def test_adding_no_images_changes_nothing(index: CandidateIndex) -> None:
    assert index.add(POOL[:0]).tolist() == []
    index.add(POOL[:2])
    assert index.add(POOL[:0]).tolist() == []
    assert len(index) == 2


def test_ordinals_are_consecutive_and_the_length_counts_deleted_images(index: CandidateIndex) -> None:
    assert index.add(POOL[:3]).tolist() == [0, 1, 2]
    index.delete(np.array([0, 2]))
    assert len(index) == 3
    added = index.add(POOL[3:5])
    assert added.tolist() == [3, 4]
    assert added.dtype == np.int64


def test_the_answer_equals_brute_force(index: CandidateIndex, backend: Backend) -> None:
    model = BruteForce(backend.best_first)
    model.add(EVERYTHING)
    index.add(POOL)
    for k in (1, 7, 100, len(POOL), len(POOL) + 50):
        assert rows_of(index.search(POOL, k)) == [model.search(number, k, 1, None) for number in EVERYTHING]


@pytest.mark.parametrize("min_overlap", [0, 1, 3, TABLES])
def test_exactly_the_candidates_with_the_minimum_overlap_are_found(
    index: CandidateIndex, backend: Backend, min_overlap: int
) -> None:
    model = BruteForce(backend.best_first)
    model.add(EVERYTHING)
    index.add(POOL)
    assert rows_of(index.search(POOL, 4, min_overlap)) == [model.search(n, 4, min_overlap, None) for n in EVERYTHING]


def test_an_overlap_beyond_the_tables_finds_nothing(index: CandidateIndex) -> None:
    index.add(POOL)
    assert rows_of(index.search(POOL[:2], 5, TABLES + 1)) == [[], []]


def test_older_images_come_first_among_equals(index: CandidateIndex) -> None:
    """There are more of them than any first fetch returns, so the cut runs through the ties."""
    index.add(pooled([50, *[0] * 3_000, 60]))
    assert [o for o, _, _ in rows_of(index.search(pooled([0]), 20))[0]] == list(range(1, 21))
    assert [o for o, _, _ in rows_of(index.search(pooled([0] * 40), 20))[-1]] == list(range(1, 21))


def test_images_of_one_batch_see_earlier_ones_and_no_later_ones(index: CandidateIndex) -> None:
    index.add(pooled([0, 0, 0]))
    ordinals = index.add(pooled([0] * 4))
    found = rows_of(index.search(pooled([0] * 4), 10, before=ordinals))
    assert [[o for o, _, _ in row] for row in found] == [list(range(o)) for o in ordinals]


def test_limits_far_below_or_above_the_corpus_hold(index: CandidateIndex) -> None:
    index.add(pooled([0] * 200))
    found = rows_of(index.search(pooled([0] * 4), 3, before=np.array([-5, 0, 2, 1_000])))
    assert [[o for o, _, _ in row] for row in found] == [[], [], [0, 1], [0, 1, 2]]


def test_the_next_search_finds_an_added_image(index: CandidateIndex, backend: Backend) -> None:
    for number in EVERYTHING:
        (ordinal,) = index.add(pooled([number]))
        assert (ordinal, 0, TABLES) in rows_of(index.search(pooled([number]), 10))[0]


def test_the_next_search_finds_all_images_but_a_deleted_one(index: CandidateIndex) -> None:
    index.add(pooled([0] * 600))
    index.delete(np.arange(1, 600))
    assert rows_of(index.search(pooled([0]), 5)) == [[(0, 0, TABLES)]]
    index.delete(np.array([0]))
    assert rows_of(index.search(pooled([0]), 5)) == [[]]
    (again,) = index.add(pooled([0]))
    assert rows_of(index.search(pooled([0]), 5)) == [[(again, 0, TABLES)]]


def test_deleting_unknown_or_deleted_images_is_ignored(index: CandidateIndex) -> None:
    index.delete(np.array([0, 5]))
    index.add(pooled([0, 0]))
    index.delete(np.array([-1, 1, 1, 99, 2]))
    index.delete(np.array([1]))
    index.delete(NOTHING)
    index.add(pooled([0]))
    assert rows_of(index.search(pooled([0]), 5)) == [[(0, 0, TABLES), (2, 0, TABLES)]]


@pytest.mark.parametrize("k", [0, -3])
def test_k_below_one_is_rejected_with_its_value(index: CandidateIndex, k: int) -> None:
    with pytest.raises(ValueError, match=f"k.*{k}"):
        index.search(POOL[:1], k)


def test_signatures_of_another_width_are_rejected_with_it(index: CandidateIndex) -> None:
    index.add(POOL[:2])
    narrow = replace(POOL, signatures=POOL.signatures[:, :-1].copy())
    for call in (index.add, lambda hashed: index.search(hashed, 1)):
        with pytest.raises(ValueError, match=rf"{narrow.signatures.shape[1]}.*{POOL.signatures.shape[1]}"):
            call(narrow)
    assert len(index) == 2


def test_signatures_of_another_dtype_are_rejected_with_it(index: CandidateIndex) -> None:
    for dtype in (np.int64, np.uint32):
        other = replace(POOL, signatures=POOL.signatures.astype(dtype))
        for call in (index.add, lambda hashed: index.search(hashed, 1)):
            with pytest.raises(ValueError, match=f"{np.dtype(dtype)}"):
                call(other)


def test_a_wrong_number_of_limits_is_rejected(index: CandidateIndex) -> None:
    index.add(POOL[:2])
    with pytest.raises(ValueError, match=r"1.*2"):
        index.search(POOL[:2], 1, before=np.array([1]))


def test_later_changes_do_not_change_an_answer(index: CandidateIndex) -> None:
    index.add(POOL)
    found = index.search(POOL[:4], 10)
    kept = rows_of(found)
    index.delete(np.arange(len(POOL)))
    index.add(POOL)
    index.search(POOL[4:8], 10)
    assert rows_of(found) == kept


def test_searches_beside_a_writer_find_all_earlier_images_and_no_deleted_one(index: CandidateIndex) -> None:
    """Twenty exact copies exist from the start, and one is deleted, while the index keeps growing."""
    index.add(pooled([0] * 20))
    index.delete(np.array([7]))
    expected = [o for o in range(20) if o != 7]
    done, wrong = threading.Event(), []

    def search() -> None:
        while not done.is_set():
            (row,) = rows_of(index.search(pooled([0]), 19))
            if [o for o, _, _ in row] != expected:
                wrong.append(row)
                return

    readers = [threading.Thread(target=search) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(60):
        index.add(POOL)
    done.set()
    for reader in readers:
        reader.join()
    assert not wrong


NUMBERS = st.integers(0, FAMILIES * COPIES - 1)


class AnyOrder(RuleBasedStateMachine):
    """Adds (which seal and merge), deletions, restarts, readers and searches in any order, compared with the model."""

    backend: Backend

    @initialize()
    def begin(self) -> None:
        self._folder = TemporaryDirectory(prefix="neardup-contract-")
        self.index = self.backend.open(Path(self._folder.name))
        self.model = BruteForce(self.backend.best_first)

    def teardown(self) -> None:
        self.index.close()
        self._folder.cleanup()

    @invariant()
    def holds_every_image_that_was_not_deleted(self) -> None:
        """Searches with so many candidates and so little overlap find the whole pool."""
        everything = self.index.search(pooled([0]), len(self.model) + 1, min_overlap=0)
        assert rows_of(everything) == [self.model.search(0, len(self.model) + 1, 0, None)]

    @rule(first=NUMBERS, size=st.integers(0, 60), step=st.integers(0, 9))
    def add(self, first: int, size: int, step: int) -> None:
        numbers = [(first + step * i) % len(POOL) for i in range(size)]
        assert self.index.add(pooled(numbers)).tolist() == self.model.add(numbers)
        assert len(self.index) == len(self.model)

    @rule(percent=st.integers(0, 100), count=st.integers(1, 20), step=st.integers(1, 3))
    def delete(self, percent: int, count: int, step: int) -> None:
        """Deletes a run of images anywhere, sometimes beyond the newest."""
        first = percent * len(self.model) // 100
        ordinals = [first + step * i for i in range(count)]
        self.index.delete(np.array(ordinals[::-1], np.int64))
        self.model.deleted |= {ordinal for ordinal in ordinals if ordinal < len(self.model)}

    @rule(
        numbers=st.lists(NUMBERS, min_size=1, max_size=4),
        k=st.integers(1, 60),
        min_overlap=st.integers(1, 6),
        limits=st.none() | st.lists(st.integers(0, 400), min_size=4, max_size=4),
    )
    def search(self, numbers: list[int], k: int, min_overlap: int, limits: list[int] | None) -> None:
        before = None if limits is None else np.array(limits[: len(numbers)], np.int64)
        expected = [
            self.model.search(number, k, min_overlap, None if limits is None else limits[row])
            for row, number in enumerate(numbers)
        ]
        found = self.index.search(pooled(numbers), k, min_overlap, before)
        assert rows_of(found) == expected

    @rule()
    def wait(self) -> None:
        self.backend.wait(self.index)

    @rule()
    def restart(self) -> None:
        self.index.close()
        self.index = self.backend.open(Path(self._folder.name))
        self._restore(self.index)

    @rule(number=NUMBERS)
    def read_beside_the_writer(self, number: int) -> None:
        if self.backend.follow is None:
            return
        reader = self.backend.follow(Path(self._folder.name))
        self._restore(reader)
        assert rows_of(reader.search(pooled([number]), 50)) == [self.model.search(number, 50, 1, None)]
        reader.close()

    def _restore(self, index: CandidateIndex) -> None:
        self.backend.restore(index, pooled(self.model.numbers), np.array(sorted(self.model.deleted), np.int64))
        assert len(index) == len(self.model)


def test_any_sequence_of_operations_gives_the_answers_of_brute_force(backend: Backend) -> None:
    machine = type(f"AnyOrder_{backend.name}", (AnyOrder,), {"backend": backend})
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=100, stateful_step_count=40, deadline=None),
    )
