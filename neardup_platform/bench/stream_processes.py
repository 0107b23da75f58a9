"""The processes that benchmarks start: a stream worker, an API and a producer."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from neardup_platform.errors import ServerUnavailable
from neardup_platform.servers.endpoints import API_PORT, environment, with_ports
from neardup_platform.servers.http_probe import answers_ok
from neardup_platform.servers.ports import choose
from neardup_platform.settings import Settings
from neardup_platform.supervise.heartbeat import Phase, read_heartbeat

PATIENCE_S = 180.0
# A first start makes the mapped vectors and the index of a seeded corpus from the store.
_PATIENCE_S_PER_IMAGE = 2e-4
# An idle worker uses less than this share of a core.
QUIET_PERCENT = 15.0


def patience_s(images: int) -> float:
    """The longest wait, in seconds, for a process that starts over a store of so many images."""
    return PATIENCE_S + _PATIENCE_S_PER_IMAGE * images


def wait_until_idle(worker: subprocess.Popen[bytes], most_s: float = PATIENCE_S) -> None:
    """Wait until the seeded data is compacted: a store that grows at this rate never has so much to compact at once."""
    deadline = time.monotonic() + most_s
    while psutil.Process(worker.pid).cpu_percent(1.0) > QUIET_PERCENT and time.monotonic() < deadline:
        pass


@contextmanager
def running_worker(settings: Settings, most_s: float = PATIENCE_S) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process that runs within `most_s` seconds; stopped at the end."""
    log = (settings.home / "worker.log").open("ab")
    argv = [sys.executable, "-m", "neardup_platform.cli", "worker"]
    started_ms = time.time_ns() // 1_000_000
    process = subprocess.Popen(argv, env=child_environment(settings), stdout=log, stderr=log)
    try:
        wait_until(lambda: _is_running(settings, started_ms), process, settings, most_s)
        yield process
    finally:
        process.terminate()
        process.wait()
        log.close()


@contextmanager
def running_api(settings: Settings) -> Iterator[Settings]:
    """The settings of an `api_process`, with its port."""
    with api_process(settings) as (served, _):
        yield served


@contextmanager
def api_process(settings: Settings) -> Iterator[tuple[Settings, subprocess.Popen[bytes]]]:
    """A running API process that follows a running worker, and the settings with its port; stopped at the end.

    Raises:
        ServerUnavailable: it did not become ready.
    """
    settings = with_ports(settings, choose(settings.home, [API_PORT]))
    log, ready = (settings.home / "api.log").open("ab"), answers_ok(f"{settings.api.url}/readyz")
    argv = [sys.executable, "-m", "neardup_platform.serving"]
    process = subprocess.Popen(argv, env=child_environment(settings), stdout=log, stderr=log)
    try:
        wait_until(lambda: ready() is None, process, settings)
        yield settings, process
    finally:
        process.terminate()
        process.wait()
        log.close()


def _is_running(settings: Settings, since_ms: int) -> bool:
    heartbeat = read_heartbeat(settings.home)
    return heartbeat is not None and heartbeat.at_ms >= since_ms and heartbeat.phase is Phase.RUNNING


@contextmanager
def producing(first: int, count: int, rate_per_s: float, settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """A process that publishes synthetic images; stopped at the end."""
    numbers = (first, count, rate_per_s)
    argv = [sys.executable, "-m", "neardup_platform.bench.stream_producer", *map(str, numbers)]
    process = subprocess.Popen(argv, env=child_environment(settings))
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def use_fitted_cells(settings: Settings) -> None:
    """Fit cells to the store of a running worker and have it use them, as `cells_sensor` of a platform does.

    Raises:
        ServerUnavailable: it failed.
    """
    argv = [sys.executable, "-m", "neardup_platform.cli", "cells", "fit", "--least-images", "16", "--json"]
    done = subprocess.run(argv, env=child_environment(settings), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServerUnavailable(f"`neardup cells fit` failed: {done.stderr.strip()[-500:]}")


def child_environment(settings: Settings) -> dict[str, str]:
    """The environment of a process with these settings."""
    return {**os.environ, **environment(settings)}


def wait_until(
    ready: Callable[[], bool], worker: subprocess.Popen[bytes], settings: Settings, most_s: float = PATIENCE_S
) -> None:
    """Wait until `ready` returns True.

    Raises:
        ServerUnavailable: the worker process ended, or `most_s` passed.
    """

    def attempt() -> bool:
        if worker.poll() is not None:
            raise _not_ready(settings)
        return ready()

    retrying = Retrying(
        retry=retry_if_result(lambda done: not done),
        wait=wait_fixed(0.05),
        stop=stop_after_delay(most_s),
        retry_error_callback=lambda _: False,
    )
    if not retrying(attempt):
        raise _not_ready(settings)


def _not_ready(settings: Settings) -> ServerUnavailable:
    tail = (settings.home / "worker.log").read_text().splitlines()[-1:]
    return ServerUnavailable(f"the worker did not become ready: {''.join(tail)}")
