"""The tasks of a load: what waits for vectors runs as soon as they are read."""

import threading
from collections.abc import Iterator
from functools import partial

import pytest

from neardup_platform.bootstrap.work import Work
from neardup_platform.errors import PermanentError


def test_one_thread_does_what_is_possible_before_it_reads_on() -> None:
    done: list[str] = []

    def reading() -> Iterator[int]:
        for upto in (4, 8, 12):
            done.append(f"read {upto}")
            yield upto

    waiting = [(last, partial(done.append, f"needs {last}")) for last in (3, 4, 9, 11)]
    others = [partial(done.append, f"other {number}") for number in range(2)]
    Work(reading(), 0, waiting, others).run(1)
    assert done == [
        *("read 4", "needs 3", "read 8", "needs 4", "read 12", "needs 9", "needs 11"),
        *("other 0", "other 1"),
    ]


def test_what_was_read_before_needs_no_reading() -> None:
    done: list[str] = []
    Work(iter(()), 5, [(4, partial(done.append, "read before")), (5, partial(done.append, "at the end"))], []).run(1)
    assert done == ["read before", "at the end"]


def test_one_thread_reads_while_others_work() -> None:
    both, reading_now = threading.Barrier(2, timeout=180), threading.Semaphore(1)

    def reading() -> Iterator[int]:
        for upto in range(1, 50):
            assert reading_now.acquire(blocking=False)
            if upto == 1:
                both.wait()
            reading_now.release()
            yield upto

    done: list[int] = []
    Work(reading(), 0, [(n, partial(done.append, n)) for n in range(49)], [lambda: void(both.wait())]).run(3)
    assert sorted(done) == list(range(49))


def void(_: object) -> None:
    """Discards a value."""


def test_the_first_failure_ends_the_others_and_is_raised() -> None:
    failed = threading.Event()

    def fail() -> None:
        failed.set()
        raise ValueError("no room")

    def until_stopped() -> None:
        assert failed.wait(180)
        while True:
            work.check()

    after: list[int] = []
    work = Work(iter(()), 0, [(0, until_stopped), (0, fail), *((0, partial(after.append, n)) for n in range(9))], [])
    with pytest.raises(ValueError, match="no room"):
        work.run(2)
    assert after == []
    with pytest.raises(PermanentError, match="stopped"):
        work.check()


def test_a_failure_of_the_reading_is_raised() -> None:
    def reading() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        Work(reading(), 0, [(5, lambda: None)], []).run(3)
