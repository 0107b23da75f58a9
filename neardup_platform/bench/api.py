"""`neardup bench api`: what consumers ask over HTTP, of a real API process that follows a real worker.

A seeded store, of which a tenth is one cluster; then each call in a closed loop, with one connection and with several
(http_load.py). `api_ms` is the processor time of the API process for a request, which depends least on what else the
machine does. With a rate, images are decided meanwhile, and each row has their latency until a reader sees them.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import numpy as np
import psutil

from neardup_platform.bench.api_calls import consumer_calls
from neardup_platform.bench.disk_room import require_room
from neardup_platform.bench.http_load import Answered, closed_loop
from neardup_platform.bench.live_stream import LiveStream, percentile
from neardup_platform.bench.machine import result
from neardup_platform.bench.seed_store import seed_store
from neardup_platform.bench.stream import IMAGE_BYTES, Report
from neardup_platform.bench.stream_processes import (
    api_process,
    patience_s,
    producing,
    running_worker,
    wait_until,
    wait_until_idle,
)
from neardup_platform.bench.synthetic import FAMILY_IMAGES
from neardup_platform.counted import counted
from neardup_platform.kafka.topics import ensure_topics
from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card
from neardup_platform.servers.embedded_servers import running_servers
from neardup_platform.settings import Settings

# Before each row, a share of its time.
_WARM_UP = 0.25
# The stream lasts twice as long as the rows, and so much longer.
_SPARE_S = 30.0


@dataclass(frozen=True, slots=True)
class Work:
    """What is measured.

    Attributes:
        images: in the store.
        connections: numbers of connections, one after another.
        seconds: of each row.
        rate_per_s: of the images decided meanwhile; 0 for none.
    """

    images: int
    connections: tuple[int, ...]
    seconds: float
    rate_per_s: float

    @property
    def crowd(self) -> range:
        """The images of the large cluster: whole families."""
        return range(self.images // 10 // FAMILY_IMAGES * FAMILY_IMAGES)


def bench_api(work: Work, report: Report) -> dict[str, Any]:
    """Run the benchmark with its own servers and store.

    Raises:
        ServerUnavailable: worker or API did not become ready, or did not answer.
        SetupError: the disk has no room for the images.
    """
    require_room(work.images, IMAGE_BYTES, "in the store and in mapped files", "measure fewer images")
    with TemporaryDirectory(prefix="neardup-bench-") as folder:
        settings = Settings(home=Path(folder))
        with running_servers(settings, s3=False) as resolved:
            ensure_topics(resolved.kafka)
            report(f"seeding a store of {work.images} images")
            seed_store(resolved, work.images, crowd=work.crowd)
            most_s = patience_s(work.images)
            with running_worker(resolved, most_s) as worker:
                wait_until_idle(worker, most_s)
                rows = list(_measured(work, resolved, report))
    return result("api", settings.masked(), rows)


def _measured(work: Work, settings: Settings, report: Report) -> Iterator[dict[str, Any]]:
    card = read_card(settings.scoring.model or SHIPPED_FOLDER)
    calls = consumer_calls(work.images, work.crowd, card.required_models)
    rows: list[dict[str, Any]] = []
    times: list[tuple[float, float]] = []
    with api_process(settings) as (served, process):
        report("waiting for the models and the list of clusters")
        wait_until(lambda: _answers_all(served), process, served, patience_s(work.images))
        with _stream(work, settings, len(calls)) as live:
            for call, requests in calls.items():
                for connections in work.connections:
                    report(f"{call}, {counted(connections, 'connection')}")
                    closed_loop(served.api.port, requests, connections, _WARM_UP * work.seconds)
                    used_s, started_s = _processor_s(process.pid), time.time()
                    answered = closed_loop(served.api.port, requests, connections, work.seconds)
                    times.append((started_s, time.time()))
                    cpu_s = _processor_s(process.pid) - used_s
                    rows.append(_row(call, connections, work.images, answered, cpu_s))
    for row, between in zip(rows, times, strict=True):
        if live is not None:
            latencies_ms = live.between(*between)
            row |= {"stream_images": len(latencies_ms), "stream_p99_ms": percentile(latencies_ms, 99)}
        yield row


def _row(call: str, connections: int, images: int, answered: Answered, api_s: float) -> dict[str, Any]:
    count = len(answered.latencies_ms)
    p50, p99 = np.percentile(answered.latencies_ms, [50, 99])
    return {
        "engine": "neardup",
        "call": call,
        "connections": connections,
        "images": images,
        "requests": count,
        "requests_per_s": round(count / answered.seconds, 1),
        "p50_ms": round(float(p50), 2),
        "p99_ms": round(float(p99), 2),
        "api_ms": round(1_000 * api_s / count, 2),
    }


@contextmanager
def _stream(work: Work, settings: Settings, calls: int) -> Iterator[LiveStream | None]:
    """Images that are decided at a rate until the end; None without a rate."""
    if not work.rate_per_s:
        yield None
        return
    count = round(work.rate_per_s * (_SPARE_S + 2 * calls * len(work.connections) * work.seconds))
    with producing(work.images, count, work.rate_per_s, settings):
        live = LiveStream(settings, work.images, count)
        live.wait_for_first()
        yield live
    live.stop()


def _answers_all(settings: Settings) -> bool:
    """Whether the API searches and lists clusters."""
    with httpx.Client(base_url=settings.api.url, trust_env=False, timeout=20) as client:
        ready = client.get("/readyz").json()
        return bool(ready["search"]["ok"]) and client.get("/v1/clusters").status_code == 200


def _processor_s(pid: int) -> float:
    """Processor time of a process so far, in seconds."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)
