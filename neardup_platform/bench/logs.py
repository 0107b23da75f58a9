"""`neardup bench logs`: hours of a stream at full rate, from Kafka to their logs on S3 and their measured quality.

An embedded Kafka is filled with hours of traffic (bench/hour_traffic.py), each with its own timestamps. Then each hour
is worked on as by the assets of Dagster, one step after another: every log materialised, coverage and drift measured.
Each row is a step, with the processor time of this process, servers apart; `total` is the hour. With a rate, a worker
decides a live stream meanwhile, of a Kafka of its own on the same machine, and a last row has its latency.
"""

import contextlib
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from neardup_platform.bench.live_stream import LiveStream, percentile
from neardup_platform.bench.machine import result
from neardup_platform.bench.stream import Report
from neardup_platform.bench.stream_processes import child_environment, producing, running_worker
from neardup_platform.decisions_log.materialised_decisions import materialise_decisions
from neardup_platform.errors import ServerUnavailable
from neardup_platform.hourly_quality.coverage import measure_coverage
from neardup_platform.hourly_quality.measured_drift import measure_drift
from neardup_platform.kafka.topics import ensure_topics
from neardup_platform.s3_client import open_s3
from neardup_platform.servers.embedded_servers import running_servers
from neardup_platform.settings import Settings
from neardup_platform.topic_logs.kafka_materialise import materialise
from neardup_platform.topic_logs.topic_log import LOGS, TopicLog

_PUBLISHERS = 2
_HOUR = timedelta(hours=1)
# Of live stream for each hour.
_STREAM_S = 80


def bench_logs(images: int, hours: int, rate_per_s: float, report: Report) -> dict[str, Any]:
    """Run the benchmark with its own servers.

    Args:
        images: in each hour; 720,000 are 200 a second.
        hours: one after another.
        rate_per_s: of the live stream beside; 0 for none.

    Raises:
        ServerUnavailable: a server did not become ready.
    """
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    chosen = [now - n * _HOUR for n in range(hours, 0, -1)]
    with TemporaryDirectory(prefix="neardup-bench-") as folder, contextlib.ExitStack() as held:
        settings = Settings(home=Path(folder, "logs"))
        resolved = held.enter_context(running_servers(settings))
        ensure_topics(resolved.kafka)
        for hour in chosen:
            report(f"publishing {images:,} images of {hour:%Y-%m-%dT%H}")
            publish_hour(resolved, hour, images)
        live = held.enter_context(_stream(Path(folder, "stream"), rate_per_s, hours)) if rate_per_s else None
        bench, started_s = LogsBench(resolved, images, report), time.time()
        for hour in chosen:
            bench.measure(hour)
        if live is not None:
            ended_s = time.time()
            live.wait()
            bench.add_stream(live.between(started_s, ended_s))
    return result("logs", settings.masked(), bench.done)


@contextlib.contextmanager
def _stream(home: Path, rate_per_s: float, hours: int) -> Iterator[LiveStream]:
    """A live stream that lasts as long as the hours, about."""
    count = round(rate_per_s * hours * _STREAM_S)
    with running_servers(Settings(home=home), s3=False) as settings:
        ensure_topics(settings.kafka)
        with running_worker(settings), producing(0, count, rate_per_s, settings):
            live = LiveStream(settings, 0, count)
            live.wait_for_first()
            yield live


def publish_hour(settings: Settings, hour: datetime, images: int) -> None:
    """Fill an hour of Kafka."""
    program = [sys.executable, "-m", "neardup_platform.bench.hour_traffic", hour.isoformat(), str(images)]
    environment = child_environment(settings)
    running = [
        subprocess.Popen([*program, str(part), str(_PUBLISHERS)], env=environment) for part in range(_PUBLISHERS)
    ]
    codes = [process.wait() for process in running]
    if any(codes):
        raise ServerUnavailable("publishing the traffic failed: see the lines above")


@dataclass(slots=True)
class LogsBench:
    """The rows measured so far."""

    settings: Settings
    images: int
    report: Report
    done: list[dict[str, Any]] = field(default_factory=list)

    def measure(self, hour: datetime) -> None:
        """Add the rows of an hour."""
        started_s, started_cpu_s, size = time.perf_counter(), time.process_time(), 0
        for name, step in self._steps(hour):
            began_s, began_cpu_s = time.perf_counter(), time.process_time()
            written = step()
            size += written
            self._add(hour, name, time.perf_counter() - began_s, time.process_time() - began_cpu_s, written)
        self._add(hour, "total", time.perf_counter() - started_s, time.process_time() - started_cpu_s, size)

    def add_stream(self, latencies_ms: list[float]) -> None:
        """Add the row of the live stream."""
        self._show(
            {
                "engine": "neardup",
                "step": "stream",
                "images": len(latencies_ms),
                "p50_ms": percentile(latencies_ms, 50),
                "p99_ms": percentile(latencies_ms, 99),
            }
        )

    def _steps(self, hour: datetime) -> Iterator[tuple[str, Callable[[], int]]]:
        """Steps by name; each returns the bytes that it wrote."""
        settings, s3 = self.settings, open_s3(self.settings.s3)
        yield "logs/decisions", lambda: materialise_decisions(settings, s3, hour).hour.bytes
        for log in LOGS[1:]:
            yield f"logs/{log.name}", partial(_logged, settings, s3, log, hour)
        yield "quality/coverage", lambda: _nothing(measure_coverage(settings, s3, hour, datetime.now(UTC)))
        yield "quality/drift", lambda: _nothing(measure_drift(settings, s3, hour))

    def _add(self, hour: datetime, step: str, seconds: float, cpu_s: float, size: int) -> None:
        row = {
            "engine": "neardup",
            "hour": f"{hour:%Y-%m-%dT%H}",
            "step": step,
            "images": self.images,
            "seconds": round(seconds, 2),
            "cpu_s": round(cpu_s, 2),
            "images_per_s": round(self.images / seconds),
            "bytes": size,
            "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024),
        }
        self._show(row)

    def _show(self, row: dict[str, Any]) -> None:
        self.report("  ".join(f"{name}={value}" for name, value in row.items()))
        self.done.append(row)


def _logged(settings: Settings, s3: Any, log: TopicLog, hour: datetime) -> int:
    return materialise(settings, s3, log, hour).bytes


def _nothing(_measured: object) -> int:
    return 0
