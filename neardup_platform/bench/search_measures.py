"""How an engine is measured: one query at a time, micro-batches on one core and on two, while images are added."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from neardup_platform.bench.search_engine import Engine
from neardup_platform.terms.hyperplanes import Hashed

# Like the stream worker: its largest batch, and what arrives in one of its polls at 200 images/s.
BATCH_QUERIES = 64
ADDED_PER_S = 200
ADDED_AT_ONCE = 10
# A phase ends after this time, or when every query was run once.
PHASE_S = 10.0
ADDING_S = 3.0


@dataclass(frozen=True)
class Load:
    """The queries for the engines.

    Attributes:
        queries: of planted pictures.
        newcomers: images to add during the measurement, used repeatedly.
        k: hits requested; the query itself is one of them.
    """

    queries: Hashed
    newcomers: Hashed
    k: int


def search_all(engine: Engine, load: Load) -> NDArray[np.int64]:
    """The results of every query, int64 [q, k]."""
    return np.concatenate([engine.search(batch, load.k) for batch in _batches(load.queries, BATCH_QUERIES)])


def measure_speed(engine: Engine, setting: str, load: Load) -> dict[str, float | bool]:
    """The time metrics of one row; meanwhile 200 images/s are added, if the engine supports it."""
    speed: dict[str, float | bool] = {"adds_running": engine.grows}
    for threads in (1, 2):
        engine.use(setting, threads)
        with _adding(engine, load):
            times = _time_each(engine, load, BATCH_QUERIES)
        queries = len(times) * min(BATCH_QUERIES, len(load.queries))
        speed[f"qps_{threads}"] = round(queries / float(times.sum()), 1)
    with _adding(engine, load):
        times = _time_each(engine, load, 1)
    p50, p99 = np.percentile(times, [50, 99])
    return speed | {"p50_ms": round(1e3 * float(p50), 3), "p99_ms": round(1e3 * float(p99), 3)}


def measure_adds(engine: Engine, load: Load) -> float | None:
    """Images added per second at full speed, while another thread searches; None if the engine cannot do it."""
    if not engine.grows:
        return None
    batch = load.queries[:BATCH_QUERIES]
    with _adding(engine, load, pause_s=0.0) as added:
        started = time.perf_counter()
        while time.perf_counter() < started + ADDING_S:
            engine.search(batch, load.k)
        return round(added() / (time.perf_counter() - started), 1)


def _batches(images: Hashed, size: int) -> Iterator[Hashed]:
    for first in range(0, len(images), size):
        yield images[first : first + size]


def _time_each(engine: Engine, load: Load, size: int) -> NDArray[np.float64]:
    """Seconds of each full batch of queries, float64 [≥ 1]; the first batch runs once before, to warm the caches."""
    seconds: list[float] = []
    end = time.perf_counter() + PHASE_S
    batches = [batch for batch in _batches(load.queries, size) if len(batch) == min(size, len(load.queries))]
    for batch in (batches[0], *batches):
        started = time.perf_counter()
        engine.search(batch, load.k)
        seconds.append(time.perf_counter() - started)
        if time.perf_counter() > end and len(seconds) > 1:
            break
    return np.array(seconds[1:])


@contextmanager
def _adding(engine: Engine, load: Load, pause_s: float = ADDED_AT_ONCE / ADDED_PER_S) -> Iterator[Callable[[], int]]:
    """Another thread that adds images, if the engine grows; yields a function that returns how many it has added.

    Raises:
        Exception: an error while adding, raised at the end.
    """
    stop, failed, added = threading.Event(), list[BaseException](), [0]

    def work() -> None:
        started = time.perf_counter()
        try:
            for number in count():
                first = number * ADDED_AT_ONCE % (len(load.newcomers) - ADDED_AT_ONCE + 1)
                engine.add(load.newcomers[first : first + ADDED_AT_ONCE])
                added[0] += ADDED_AT_ONCE
                if stop.wait(max(0.0, started + (number + 1) * pause_s - time.perf_counter())):
                    return
        except BaseException as error:  # noqa: BLE001 -- raised by the measuring thread
            failed.append(error)

    adder = threading.Thread(target=work, name="bench-adder")
    if engine.grows:
        adder.start()
    try:
        yield lambda: added[0]
    finally:
        stop.set()
        if engine.grows:
            adder.join()
    if failed:
        raise failed[0]
