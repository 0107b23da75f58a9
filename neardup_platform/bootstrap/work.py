"""Runs the tasks of a load on a few threads, in an order that keeps what waits on the disk short.

    vectors read so far ──▶ tasks that need them, as soon as they are there ──▶ other tasks, while nothing else can run

One thread at a time reads; after each batch it does what has become possible before it reads on. So vectors that are
read in order are used at once, while they are in memory.
"""

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from neardup_platform.errors import PermanentError

Task = Callable[[], None]


class Work:
    """Tasks that are left to do.

    Args:
        reading: reads vectors, and yields the number of the row up to which they are read, ascending.
        read: the number of the row up to which they were read before.
        waiting: tasks in their order, each with the number of the last row whose vectors it needs.
        others: tasks that need no vectors, in their order.
    """

    def __init__(
        self, reading: Iterator[int], read: int, waiting: Iterable[tuple[int, Task]], others: Iterable[Task]
    ) -> None:
        self._reading: Iterator[int] | None = reading
        self._is_reading = False
        self._read, self._waiting, self._others = read, list(waiting), deque(others)
        self._changed = threading.Condition()
        self._error: BaseException | None = None

    def run(self, threads: int) -> None:
        """Do all of it; the first failure ends the other tasks and is raised."""
        with ThreadPoolExecutor(threads) as pool:
            for _ in range(threads):
                pool.submit(self._run)
        if self._error is not None:
            raise self._error

    def check(self) -> None:
        """End a task where another one has failed; called by tasks now and then."""
        if self._error is not None:
            raise PermanentError("the building was stopped")

    def _run(self) -> None:
        try:
            while task := self._next():
                task()
        except BaseException as error:  # noqa: BLE001 -- `run` raises it
            with self._changed:
                self._error = self._error or error
                self._changed.notify_all()

    def _next(self) -> Task | None:
        """Wait for a task; None where nothing is left to start."""
        with self._changed:
            while self._error is None:
                if task := self._possible():
                    return task
                if not self._is_reading:
                    return None
                self._changed.wait()
        return None

    def _possible(self) -> Task | None:
        for at, (last, task) in enumerate(self._waiting):
            if last < self._read:
                del self._waiting[at]
                return task
        if self._reading is not None and not self._is_reading:
            self._is_reading = True
            return self._read_on
        return self._others.popleft() if self._others else None

    def _read_on(self) -> None:
        upto = next(self._reading, None) if self._reading is not None else None
        with self._changed:
            self._is_reading = False
            if upto is None:
                self._reading = None
            self._read = sys.maxsize if upto is None else upto
            self._changed.notify_all()
