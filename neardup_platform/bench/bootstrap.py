"""`neardup bench bootstrap`: an existing corpus on S3 is loaded beside a live stream, with real servers and a worker.

A row is a data set: with the head of every image, or without. Its time begins with `neardup bootstrap` and ends when
the API answers for the last image; `found_after_s` ends when a search finds that image's head by its vectors. Memory is
that of the worker, of the process that builds the load, and of `neardup bootstrap`, together; private memory is without
the pages of files.
"""

import contextlib
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from neardup_platform.bench.disk_room import require_room
from neardup_platform.bench.live_stream import LiveStream, percentile
from neardup_platform.bench.machine import result
from neardup_platform.bench.stream import REFRESH_S, Report
from neardup_platform.bench.stream_processes import child_environment, producing, running_api, running_worker
from neardup_platform.bench.synthetic import image_id
from neardup_platform.bench.synthetic_data_set import DataSet, put_synthetic
from neardup_platform.client.sync_client import Client
from neardup_platform.errors import NotFound, PermanentError, ServerUnavailable
from neardup_platform.kafka.topics import ensure_topics
from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card
from neardup_platform.servers.embedded_servers import running_servers
from neardup_platform.settings import Settings

# The stream's images have numbers from here on.
_STREAM_FIRST = 600_000_000
_SERVED_S, _FOUND_S = 600.0, 3_600.0
# On the disk at the peak, of an image with a head: the data set, store, vector files and index, and what a load needs.
_GIVEN_BYTES = 6_000
# Of one without: before that, its vectors in order of time, and in a segment on S3.
_UNDECIDED_BYTES = 13_000
_SAMPLE_S = 0.25


@dataclass(frozen=True, slots=True)
class Work:
    """What is measured.

    Attributes:
        images: with heads.
        undecided: without heads, in a data set of their own; 0 for none.
        rate_per_s: of the live stream.
        seconds: of the live stream beside a load; a longer one continues without it.
    """

    images: int
    undecided: int
    rate_per_s: float
    seconds: float


def bench_bootstrap(work: Work, report: Report) -> dict[str, Any]:
    """Run the benchmark with its own servers and store.

    Raises:
        ServerUnavailable: a process did not become ready, or did not answer.
        PermanentError: the load failed.
        SetupError: the disk has no room.
    """
    images = work.images + work.undecided
    each = (work.images * _GIVEN_BYTES + work.undecided * _UNDECIDED_BYTES) // images
    require_room(images, each, "on S3, in the store and in vector files", "measure fewer images")
    with TemporaryDirectory(prefix="neardup-bench-") as folder:
        settings = Settings(home=Path(folder))
        with running_servers(settings) as resolved:
            ensure_topics(resolved.kafka)
            rows = _rows(resolved, work, report)
    return result("bootstrap", settings.masked(), rows)


def _rows(settings: Settings, work: Work, report: Report) -> list[dict[str, Any]]:
    card = read_card(settings.scoring.model or SHIPPED_FOLDER)
    sets = {"given": range(work.images), "undecided": range(work.images, work.images + work.undecided)}
    rows = []
    for number, (name, images) in enumerate(sets.items()):
        if images:
            report(f"{name}: making a data set of {len(images)} images")
            data_set = put_synthetic(settings, name, images, card, report, heads=name == "given")
            rows.append(_Bench(settings, work, report, _STREAM_FIRST + number * 10_000_000).row(name, images, data_set))
    return rows


@dataclass(frozen=True, slots=True)
class _Bench:
    settings: Settings
    work: Work
    report: Report
    first: int

    def row(self, name: str, images: range, data_set: DataSet) -> dict[str, Any]:
        work, count = self.work, round(self.work.rate_per_s * self.work.seconds)
        log = self.settings.home / "load.log"
        log.unlink(missing_ok=True)
        with (
            running_worker(self.settings) as worker,
            running_api(self.settings) as settings,
            Client.from_settings(settings) as client,
        ):
            live = LiveStream(settings, self.first, count)
            with producing(self.first, count, work.rate_per_s, settings):
                live.wait_for_first()
                with _Memory(worker.pid) as memory:
                    started_s = time.time()
                    self._load(name, settings)
                    loaded_s = time.time()
                    self._wait_until_served(client, images[-1])
                    ended_s = time.time()
                    self._wait_until_found(client, images[-1], data_set)
                    found_s = time.time()
            live.stop()
        latencies_ms, seconds = live.between(started_s, ended_s), ended_s - started_s
        row = {
            "engine": "neardup",
            "heads": name,
            "images": len(images),
            "data_set_mb": round(data_set.size / 1e6),
            "seconds": round(seconds, 2),
            "images_per_s": round(len(images) / seconds, 1),
            "phases_s": {**_phases(log), "until_served": round(ended_s - loaded_s, 2)},
            "found_after_s": round(found_s - started_s, 2),
            "peak_rss_mb": round(memory.peak_rss / 1e6),
            "peak_private_mb": round(memory.peak_private / 1e6),
            "build_cpu_s": round(memory.build_cpu_s, 1),
            "stream_images": len(latencies_ms),
            "stream_p50_ms": percentile(latencies_ms, 50),
            "stream_p99_ms": percentile(latencies_ms, 99),
        }
        self.report("  ".join(f"{key}={value}" for key, value in row.items()))
        return row

    def _load(self, name: str, settings: Settings) -> None:
        argv = [sys.executable, "-m", "neardup_platform.cli", "bootstrap", name, "--json"]
        pipe, last = subprocess.PIPE, ""
        with subprocess.Popen(argv, env=child_environment(settings), stdout=pipe, stderr=pipe, text=True) as process:
            for line in process.stderr or ():
                last = line.strip()
                self.report(last)
            printed = process.stdout.read() if process.stdout is not None else ""
        if process.returncode:
            raise PermanentError(f"loading {name!r} failed: {last[-500:]}")
        self.report(json.dumps(json.loads(printed)["loaded"]))

    def _wait_until_served(self, client: Client, last: int) -> None:
        deadline_s = time.monotonic() + _SERVED_S
        while time.monotonic() < deadline_s:
            try:
                client.lookup(image_id(last))
            except (NotFound, ServerUnavailable):
                time.sleep(REFRESH_S)
            else:
                return
        raise ServerUnavailable(f"the API does not answer for {image_id(last)} within {_SERVED_S:.0f} s")

    def _wait_until_found(self, client: Client, last: int, data_set: DataSet) -> None:
        """Search by the vectors of the last image's head until they lead to its cluster."""
        deadline_s = time.monotonic() + _FOUND_S
        while time.monotonic() < deadline_s:
            with contextlib.suppress(ServerUnavailable):
                if client.search(lsh=data_set.lsh.tolist(), pair=data_set.pair.tolist()).cluster is not None:
                    return
            time.sleep(REFRESH_S)
        raise ServerUnavailable(f"a search does not find {image_id(last)} within {_FOUND_S:.0f} s")


def _phases(log: Path) -> dict[str, float]:
    """What the process that builds a load has noted: seconds of each phase."""
    text = log.read_text() if log.exists() else ""
    return {name: float(seconds) for name, seconds in re.findall(r" phase (.+): ([0-9.]+) s$", text, re.MULTILINE)}


class _Memory:
    """What a worker, this process's children that load, and theirs have used together.

    Attributes:
        peak_rss, peak_private: bytes.
        build_cpu_s: processor time of the worker's children, which build the load.
    """

    def __init__(self, worker: int) -> None:
        self.peak_rss = self.peak_private = 0
        self.build_cpu_s = 0.0
        self._worker, self._done = worker, threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> "_Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._done.wait(_SAMPLE_S):
            processes = [*self._processes()]
            used = [memory for process in processes if (memory := _memory(process)) is not None]
            built = sum(_cpu_s(process) for process in processes if _child_of(process, self._worker))
            self.build_cpu_s = max(self.build_cpu_s, built)
            self.peak_rss = max(self.peak_rss, sum(rss for rss, _ in used))
            self.peak_private = max(self.peak_private, sum(private for _, private in used))

    def _processes(self) -> Iterator[psutil.Process]:
        worker = psutil.Process(self._worker)
        yield worker
        yield from worker.children(recursive=True)
        yield from (each for each in psutil.Process().children() if _loads(each))


def _loads(process: psutil.Process) -> bool:
    try:
        return "bootstrap" in process.cmdline()
    except psutil.Error:
        return False


def _child_of(process: psutil.Process, parent: int) -> bool:
    try:
        return process.ppid() == parent
    except psutil.Error:
        return False


def _cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def _memory(process: psutil.Process) -> tuple[int, int] | None:
    """Resident and private bytes of a process; None if it has ended."""
    try:
        found = process.memory_info()
    except psutil.Error:
        return None
    return found.rss, found.rss - getattr(found, "shared", 0)
