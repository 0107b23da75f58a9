"""`neardup bench stream`: from produce to readable, with real Kafka, a real worker and a real reader.

A corpus that is large enough gets cells of its own first (`neardup cells fit`), as a platform does by itself.

There are three processes besides the broker: a producer at a fixed rate, the stream worker, and this one, which reads
the store like a consumer (a RocksDB secondary) and records when each image becomes visible in it. Latency is that time
minus the image's event time; `published_…_ms` is the time until the decision is handed to Kafka, which waits for the
disk unless `worker.durability` is `process`. Then the worker is killed; recovery is the time from the start of a new
one until an image sent in the meantime is readable. Finally the worker is stopped and a backlog is published; the time
in which a new worker drains it gives the sustained rate.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
from kafka import KafkaConsumer, TopicPartition
from numpy.typing import NDArray

from neardup_platform.bench.disk_room import require_room
from neardup_platform.bench.machine import result
from neardup_platform.bench.seed_store import seed_store
from neardup_platform.bench.stream_processes import (
    PATIENCE_S,
    patience_s,
    producing,
    running_worker,
    use_fitted_cells,
    wait_until,
    wait_until_idle,
)
from neardup_platform.bench.synthetic import image_id
from neardup_platform.errors import ServerUnavailable
from neardup_platform.kafka.topics import connection, ensure_topics
from neardup_platform.servers.embedded_servers import running_servers
from neardup_platform.settings import Settings
from neardup_platform.store.secondary import SecondaryStore
from neardup_platform.supervise.heartbeat import read_heartbeat
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.topics import DECISIONS

# The reader's catch-up interval: the resolution of the latencies.
REFRESH_S = 0.005
# The first images, decided while code is compiled and caches are cold, are not counted.
WARMUP_S = 3.0
# Images to look up at a time, in the order sent.
LOOKUP_IMAGES = 16
# Interval between two checks of a backlog: a reader that catches up more often takes processor time from the worker.
DRAIN_CHECK_S = 0.1
# A long stream is flat if its last third is like its first.
THIRDS = 3
# An image in the store, in mapped files and, for a time, twice in tables that are compacted.
IMAGE_BYTES = 6_500

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Load:
    """The load on the stream."""

    rate_per_s: float
    seconds: float
    corpus: int
    candidates: int
    backlog: int


def bench_stream(load: Load, report: Report) -> dict[str, Any]:
    """Run the benchmark with its own servers and store.

    Raises:
        ServerUnavailable: the worker did not become ready, or stopped deciding.
        SetupError: the disk has no room for the corpus.
    """
    require_room(
        load.corpus + load.backlog, IMAGE_BYTES, "in the store and in mapped files", "measure a smaller corpus"
    )
    with TemporaryDirectory(prefix="neardup-bench-") as folder:
        settings = Settings(home=Path(folder))
        settings = settings.model_copy(
            update={"terms": settings.terms.model_copy(update={"max_candidates": load.candidates})}
        )
        with running_servers(settings, s3=False) as resolved:
            ensure_topics(resolved.kafka)
            row = _measure(load, resolved, report)
    return result("stream", settings.masked(), [row])


def _measure(load: Load, settings: Settings, report: Report) -> dict[str, Any]:
    if load.corpus:
        report(f"seeding a corpus of {load.corpus} images")
        seed_store(settings, load.corpus)
    images, most_s = round(load.rate_per_s * load.seconds), patience_s(load.corpus)
    fit_from = settings.terms.fit_cells_from
    fitted = bool(load.corpus) and 0 < fit_from <= load.corpus and settings.terms.cells is None
    with running_worker(settings, most_s) as worker:
        if fitted:
            report("fitting cells to the corpus")
            use_fitted_cells(settings)
        wait_until_idle(worker, most_s)
        reader = SecondaryStore(settings.store_path, settings.home / "bench-reader")
        report(f"{images} images at {load.rate_per_s:g} a second")
        used_s, started = _processor_s(worker.pid), time.monotonic()
        with producing(load.corpus, images, load.rate_per_s, settings):
            latencies_ms, memory = _follow(reader, load.corpus, images, psutil.Process(worker.pid))
        cores = (_processor_s(worker.pid) - used_s) / (time.monotonic() - started)
        metrics = read_heartbeat(settings.home).metrics  # type: ignore[union-attr]
        worker.kill()
    published_ms = _published(settings)
    report("killing the worker")
    recovery_s = _recover(load.corpus + images, settings, reader, most_s)
    reader.close()
    report(f"publishing a backlog of {load.backlog} images")
    with producing(load.corpus + images + 1, load.backlog, 0, settings) as producer:
        producer.wait()
    sustained = _drain(settings, load.backlog)
    warm = round(min(WARMUP_S, load.seconds / 2) * load.rate_per_s)
    counted = latencies_ms[warm:]
    p50, p99 = np.percentile(counted, [50, 99])
    published_p50, published_p99 = np.percentile(published_ms[warm:], [50, 99])
    return {
        "engine": "neardup",
        "corpus": load.corpus,
        "rate_per_s": load.rate_per_s,
        "candidates": load.candidates,
        "cells": "fitted" if fitted or settings.terms.cells else "of the term space",
        "images": len(counted),
        "p50_ms": round(float(p50), 1),
        "p99_ms": round(float(p99), 1),
        "max_ms": round(float(np.max(counted)), 1),
        "durability": settings.worker.durability,
        "published_p50_ms": round(float(published_p50), 1),
        "published_p99_ms": round(float(published_p99), 1),
        "durable_p50_ms": metrics.get("durable_p50_ms"),
        "durable_p99_ms": metrics.get("durable_p99_ms"),
        "lag_end": metrics["lag"],
        "worker_cores": round(cores, 3),
        "sustained_images_per_s": round(sustained, 1),
        "recovery_s": round(recovery_s, 1),
        "rss_mb": memory[-1].rss_mb,
        "private_mb": memory[-1].private_mb,
        "thirds": [_third(*each) for each in zip(np.array_split(counted, THIRDS), memory, strict=True)],
    }


def _processor_s(pid: int) -> float:
    """Processor time of a process so far, in seconds."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


@dataclass(frozen=True, slots=True)
class _Memory:
    """Resident memory of the worker in MB, with and without pages of mapped files."""

    rss_mb: float
    private_mb: float


def _third(latencies_ms: NDArray[np.int64], memory: _Memory) -> dict[str, float]:
    p50, p99 = np.percentile(latencies_ms, [50, 99])
    return {"p50_ms": round(float(p50), 1), "p99_ms": round(float(p99), 1), **asdict(memory)}


def _memory(worker: psutil.Process) -> _Memory:
    used = worker.memory_info()
    return _Memory(round(used.rss / 1e6, 1), round((used.rss - getattr(used, "shared", 0)) / 1e6, 1))


def _follow(
    reader: SecondaryStore, first: int, images: int, worker: psutil.Process
) -> tuple[NDArray[np.int64], list[_Memory]]:
    """Latency in ms of the images with these numbers, in the order in which they become readable.

    Returns:
        also the worker's memory after each third of them.
    """
    pending = deque(image_id(number) for number in range(first, first + images))
    latencies_ms: list[int] = []
    memory: list[_Memory] = []
    deadline = time.monotonic() + PATIENCE_S
    while pending:
        reader.refresh()
        now_ms = time.time_ns() // 1_000_000
        ids = [pending.popleft() for _ in range(min(LOOKUP_IMAGES, len(pending)))]
        records = dict(zip(ids, reader.images.find_many(ids), strict=True))
        found = [record.event_time_ms for record in records.values() if record is not None]
        pending.extendleft(reversed([name for name, record in records.items() if record is None]))
        latencies_ms += [now_ms - event_time_ms for event_time_ms in found]
        while len(memory) < THIRDS and len(latencies_ms) * THIRDS >= images * (len(memory) + 1):
            memory.append(_memory(worker))
        if found:
            deadline = time.monotonic() + PATIENCE_S
        elif time.monotonic() > deadline:
            raise ServerUnavailable(f"no image became readable for {PATIENCE_S:.0f} s, {len(pending)} are missing")
        time.sleep(REFRESH_S)
    return np.array(latencies_ms), memory


def _published(settings: Settings) -> NDArray[np.int64]:
    """Time in ms from an image's event to the handover of its decision to Kafka, by event time."""
    consumer = KafkaConsumer(**connection(settings.kafka), enable_auto_commit=False, metrics_enabled=False)
    partitions = [TopicPartition(DECISIONS, number) for number in consumer.partitions_for_topic(DECISIONS) or ()]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    ends = consumer.end_offsets(partitions)
    times: list[tuple[int, int]] = []
    while any(consumer.position(partition) < end for partition, end in ends.items()):
        for records in consumer.poll(timeout_ms=500).values():
            times += [(pb.Decision.FromString(record.value).event_time_ms, record.timestamp) for record in records]
    consumer.close()
    return np.array([published - event for event, published in sorted(times)])


def _recover(number: int, settings: Settings, reader: SecondaryStore, most_s: float) -> float:
    """Seconds from the start of a worker until an image that was sent before is readable."""
    with producing(number, 1, 0, settings) as producer:
        producer.wait()
    reader.refresh()
    before = reader.state().ordinals

    def is_readable() -> bool:
        reader.refresh()
        return reader.state().ordinals > before

    started = time.monotonic()
    with running_worker(settings, most_s) as worker:
        wait_until(is_readable, worker, settings)
        return time.monotonic() - started


def _drain(settings: Settings, backlog: int) -> float:
    """Images per second of a worker with a backlog, between its first and its last tenth."""
    reader = SecondaryStore(settings.store_path, settings.home / "bench-reader")
    begin = reader.state().images
    marks: dict[float, float] = {}
    with running_worker(settings) as worker:
        deadline = time.monotonic() + PATIENCE_S
        while 0.9 not in marks:
            reader.refresh()
            done = (reader.state().images - begin) / backlog
            for share in (0.1, 0.9):
                if done >= share:
                    marks.setdefault(share, time.monotonic())
            if time.monotonic() > deadline or worker.poll() is not None:
                raise ServerUnavailable(f"the worker did not drain the backlog: see {settings.home}/worker.log")
            time.sleep(DRAIN_CHECK_S)
    reader.close()
    return 0.8 * backlog / (marks[0.9] - marks[0.1])
