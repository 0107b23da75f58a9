"""The supervisor: starts services concurrently, restarts those that crash, and leaves no process behind.

It knows nothing about Kafka, S3, Dagster or the API: they are `Service` values.
"""

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

from neardup_platform.errors import ServerUnavailable
from neardup_platform.supervise.backoff import HEALTHY_S, Backoff
from neardup_platform.supervise.home import MARK, disk_shortage
from neardup_platform.supervise.process import last_line, rotate, spawn, stop_group
from neardup_platform.supervise.service import Service

_TICK_S = 0.25
_PROBE_EVERY_S = 0.2
BACKOFF = Backoff(first_s=0.5, max_s=30.0)


@dataclass(slots=True)
class _Running:
    """The state of a service while it is supervised."""

    service: Service
    log: Path
    process: Popen[bytes] | None = None
    ready: bool = False
    started_at: float = 0.0
    restarts: int = 0
    crashes_in_a_row: int = 0
    restart_at: float | None = None
    problem: str = ""


class Supervisor:
    """Runs `services` for one home.

    Args:
        mark: put into the environment of every process as `NEARDUP_MARK`.
        notify: called with one line for the operator; a service that keeps crashing is reported once.
        on_change: called with `status()` whenever a process starts, becomes ready, crashes or stops.
    """

    def __init__(
        self,
        home: Path,
        mark: str,
        services: Iterable[Service],
        notify: Callable[[str], None],
        on_change: Callable[[list[dict[str, Any]]], None],
    ) -> None:
        self._home = home
        self._mark = mark
        self._running = {service.name: _Running(service, home / "logs" / f"{service.name}.log") for service in services}
        self._notify = notify
        self._on_change = on_change
        self._lock = threading.Lock()
        self._aborted = threading.Event()

    def start(self, stop: threading.Event) -> None:
        """Start all services, concurrently as far as `Service.after` allows, and wait until all are ready.

        Returns early, without starting more, once `stop` is set.

        Raises:
            ServerUnavailable: a service exited or was not ready in time; names the service, its log and the last line.
            SetupError: raised by a `prepare`.
        """
        ready = {name: threading.Event() for name in self._running}
        with ThreadPoolExecutor(max_workers=len(ready) or 1, thread_name_prefix="start") as pool:
            futures = [pool.submit(self._start_one, item, ready, stop) for item in self._running.values()]
        # The first failure sets `_aborted` and the other starts return without an error, so there is at most one error.
        for future in futures:
            future.result()

    def watch(self, stop: threading.Event) -> None:
        """Restart crashed services, with back-off, until `stop` is set."""
        while not stop.wait(_TICK_S):
            for item in self._running.values():
                try:
                    self._check(item)
                except Exception as error:  # noqa: BLE001 -- no free process id, a full disk: the other services still need it
                    self._report_failure(item, f"{type(error).__name__}: {error}")

    def stop(self, order: Iterable[str] = ()) -> None:
        """Stop the services in `order` one after another, then all others concurrently."""
        for name in order:
            if name in self._running:
                self._stop_one(self._running[name])
        with ThreadPoolExecutor(max_workers=len(self._running) or 1, thread_name_prefix="stop") as pool:
            list(pool.map(self._stop_one, self._running.values()))

    def status(self) -> list[dict[str, Any]]:
        """For each service: name, pid, ready, restarts, ports, url, log."""
        return [
            {
                "name": name,
                "pid": item.process.pid if item.process else None,
                "ready": item.ready,
                "restarts": item.restarts,
                "ports": list(item.service.ports),
                "url": item.service.url,
                "log": str(item.log),
            }
            for name, item in self._running.items()
        ]

    def _start_one(self, item: _Running, ready: dict[str, threading.Event], stop: threading.Event) -> None:
        def cancelled() -> bool:
            return stop.is_set() or self._aborted.is_set()

        try:
            while not all(ready[name].is_set() for name in item.service.after if name in ready):
                if cancelled():
                    return
                time.sleep(_PROBE_EVERY_S)
            item.service.prepare()
            if cancelled():
                return
            self._spawn(item)
            deadline = time.monotonic() + item.service.ready_timeout_s
            while not cancelled() and not self._became_ready(item, deadline):
                time.sleep(_PROBE_EVERY_S)
            ready[item.service.name].set()
        except BaseException:
            self._aborted.set()
            raise

    def _became_ready(self, item: _Running, deadline: float) -> bool:
        if item.process is not None and item.process.poll() is not None:
            raise ServerUnavailable(f"{self._exit_text(item)} before it was ready{self._cause(item)}")
        reason = item.service.probe()
        if reason is None:
            item.service.on_ready()
            self._mark_ready(item)
            return True
        if time.monotonic() > deadline:
            raise ServerUnavailable(
                f"{item.service.name} was not ready within {item.service.ready_timeout_s:.0f} s "
                f"({reason}){self._cause(item)}"
            )
        return False

    def _check(self, item: _Running) -> None:
        now = time.monotonic()
        if item.restart_at is not None:
            if now >= item.restart_at:
                self._restart(item)
        elif item.process is not None and item.process.poll() is not None:
            self._crashed(item, now)
        elif not item.ready and item.service.probe() is None:
            self._mark_ready(item)
            self._notify(f"{item.service.name} is back")
        elif item.ready and now - item.started_at > HEALTHY_S:
            item.crashes_in_a_row = 0
            rotate(item.log)

    def _crashed(self, item: _Running, now: float) -> None:
        item.crashes_in_a_row += 1
        item.ready = False
        delay = BACKOFF.delay_s(item.crashes_in_a_row)
        item.restart_at = now + delay
        if item.crashes_in_a_row == 1:
            self._notify(f"{self._exit_text(item)}, restarting it in {delay:g} s{self._cause(item)}")
        self._report_change()

    def _report_failure(self, item: _Running, problem: str) -> None:
        """Report once that a check failed. A service that it left down counts as crashed and is restarted later."""
        if problem != item.problem:
            item.problem = problem
            self._notify(f"the check of {item.service.name} failed and is repeated: {problem}")

    def _restart(self, item: _Running) -> None:
        # Set first: if a later step fails, the next check finds the dead process again and waits a little longer.
        item.restart_at = None
        if item.process is not None:
            # The rest of the crashed group holds its ports and files. There is no point in an orderly stop: a Dagster
            # run would only start another worker in place of one that stops.
            stop_group(item.process, timeout_s=0)
        item.service.before_restart()
        item.restarts += 1
        self._spawn(item)

    def _spawn(self, item: _Running) -> None:
        service = item.service
        env = {**service.env, MARK: self._mark}
        item.process = spawn(service.argv, env, item.log, service.cwd)
        item.started_at = time.monotonic()
        self._report_change()

    def _stop_one(self, item: _Running) -> None:
        if item.process is None:
            return
        stop_group(item.process, item.service.stop_timeout_s)
        item.process, item.ready = None, False
        item.service.on_stopped()
        self._report_change()

    def _mark_ready(self, item: _Running) -> None:
        item.ready, item.problem = True, ""
        self._report_change()

    def _report_change(self) -> None:
        with self._lock:
            self._on_change(self.status())

    def _exit_text(self, item: _Running) -> str:
        code = item.process.returncode if item.process else None
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"exited with {code}"
        return f"{item.service.name} {how}"

    def _cause(self, item: _Running) -> str:
        shortage = disk_shortage(self._home, min_free_bytes=16 * 1024 * 1024)
        return f": {shortage or last_line(item.log) or 'no output'} (log: {item.log})"
