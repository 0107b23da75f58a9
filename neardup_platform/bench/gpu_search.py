"""Exhaustive search of 256 bits and of 256 dimensions with faiss, as the faiss backends of candidate search do it.

Synthetic vectors in families, and their signs as bits → **`FaissFlat`** → queries per second. On a GPU the answers to
some queries are compared with an exhaustive search on the CPU.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from neardup_platform.bench.synthetic import many_vectors
from neardup_platform.bench.timing import median_seconds
from neardup_platform.errors import InvariantBroken, SetupError
from neardup_platform.terms.faiss_flat import FaissFlat

Rows = NDArray[Any]
Row = dict[str, Any]
Prepare = Callable[[Rows], Rows]

DIM = 256
# Neighbours asked for, about as many as the worker's candidates.
K = 200
# One image, the worker's batch, batches of a bulk load, and one that fills a GPU.
QUERIES = (1, 64, 256, 1_024)
GPU_QUERIES = (4_096,)
# On the CPU 1,024 queries of a million vectors take 10 s.
MOST_CPU_DOCS = 1_000_000
# Of the neighbours found on the CPU; the others differ by the rounding of float16, or are as far away as the last one.
LEAST_EQUAL_SHARE = 0.98
_CHECKED = 16
_CHUNK = 1 << 16
_SEED = 17


def bench_scan(docs: int, on_gpu: bool, report: Callable[[str], None]) -> list[Row]:
    """Returns a row of metrics for each kind of index and number of queries.

    Args:
        docs: images on a GPU; on the CPU at most `MOST_CPU_DOCS`.
        on_gpu: faiss finds one.
        report: called with a line about the current step.

    Raises:
        SetupError: the images do not fit the memory of the GPU or of the machine.
        InvariantBroken: the GPU finds other neighbours than the CPU.
    """
    docs, counts = (docs, QUERIES + GPU_QUERIES) if on_gpu else (min(docs, MOST_CPU_DOCS), QUERIES)
    rows = []
    for name, host, prepare in (
        ("256 bits", faiss.IndexBinaryFlat(DIM), _signs),
        (f"256 dimensions, float{16 if on_gpu else 32}", faiss.IndexFlatIP(DIM), np.ascontiguousarray),
    ):
        report(f"{docs:,} images of {name}")
        shared = {"measured": "search", "device": "gpu" if on_gpu else "cpu", "vectors": name, "docs": docs}
        try:
            flat = _filled(host, docs, prepare)
            queries = prepare(many_vectors(np.random.default_rng(_SEED), max(counts), DIM))
            equal = _equal_share(host, flat, queries[:_CHECKED]) if on_gpu else 1.0
            rows += [shared | {"equal_to_cpu": equal} | _speed(flat, queries, count) for count in counts]
            flat.reset()
        except (RuntimeError, MemoryError) as error:
            reason = str(error).strip().splitlines()[0][:200]
            raise SetupError(f"faiss cannot search {docs:,} images of {name} ({reason}): lower --docs") from error
    return rows


def _filled(host: Any, docs: int, prepare: Prepare) -> FaissFlat:
    flat = FaissFlat(host)
    for rows in _chunks(docs):
        flat.add(prepare(rows))
    return flat


def _chunks(docs: int) -> Iterator[Rows]:
    """Vectors of all images, made by one thread a core."""
    threads = os.cpu_count() or 1

    def make(first: int) -> Rows:
        return many_vectors(np.random.default_rng([_SEED, first]), min(_CHUNK, docs - first), DIM)

    with ThreadPoolExecutor(threads, "bench-vectors") as pool:
        for start in range(0, docs, threads * _CHUNK):
            yield from pool.map(make, range(start, min(docs, start + threads * _CHUNK), _CHUNK))


def _signs(rows: Rows) -> Rows:
    return np.packbits(rows > 0, axis=1)


def _speed(flat: FaissFlat, queries: Rows, count: int) -> Row:
    batches = [queries[start : start + count] for start in range(0, len(queries), count)]
    seconds = median_seconds(lambda number: flat.nearest(batches[number % len(batches)], K))
    return {"queries": count, "ms": round(1e3 * seconds, 3), "queries_per_s": round(count / seconds, 1)}


def _equal_share(host: Any, flat: FaissFlat, queries: Rows) -> float:
    """The share of neighbours that are at most as far away as the last one that the CPU finds."""
    expected, _ = host.search(queries, K)
    numbers, _ = flat.nearest(queries, K)
    stored = flat.rows()
    equal = 0
    for query, last, found in zip(queries, expected[:, -1], numbers, strict=True):
        if stored.dtype == np.uint8:
            equal += int((np.bitwise_count(stored[found] ^ query).sum(axis=1) <= last).sum())
        else:
            equal += int((stored[found] @ query >= last - 1e-6).sum())
    share = equal / numbers.size
    if share < LEAST_EQUAL_SHARE:
        raise InvariantBroken(
            f"the GPU finds {share:.1%} of the neighbours that the CPU finds: its speed means nothing"
        )
    return round(share, 4)
