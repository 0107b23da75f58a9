"""The supervisor: starts services side by side, restarts what crashes, and leaves nothing behind.

It knows nothing of Kafka, S3, Dagster or the API: they are `Service` values.
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
from neardup_platform.supervise.home import MARK, disk_shortage
from neardup_platform.supervise.process import last_line, rotate, spawn, stop_group
from neardup_platform.supervise.service import Service

_TICK_S = 0.25
_PROBE_EVERY_S = 0.2
_MAX_BACKOFF_S = 30.0
# A service that has run this long is forgiven its earlier crashes.
_STEADY_S = 60.0


def backoff_s(crashes: int) -> float:
    """Seconds to wait before the restart after the n-th crash in a row: 0.5, 1, 2 … 30."""
    return float(min(_MAX_BACKOFF_S, 0.5 * 2 ** min(crashes - 1, 10)))


@dataclass(slots=True)
class _Running:
    """What changes about a service while it is supervised."""

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
        say: takes one line for the operator; a service that keeps crashing is mentioned once.
        changed: called with `report()` whenever a process starts, becomes ready, crashes or stops.
    """

    def __init__(
        self,
        home: Path,
        mark: str,
        services: Iterable[Service],
        say: Callable[[str], None],
        changed: Callable[[list[dict[str, Any]]], None],
    ) -> None:
        self._home = home
        self._mark = mark
        self._running = {service.name: _Running(service, home / "logs" / f"{service.name}.log") for service in services}
        self._say = say
        self._changed = changed
        self._lock = threading.Lock()
        self._aborted = threading.Event()

    def start(self, stop: threading.Event) -> None:
        """Start everything, side by side as far as `Service.after` lets it, and wait until all are ready.

        Returns early, with nothing more started, once `stop` is set.

        Raises:
            ServerUnavailable: a service exited or was not ready in time; names it, its log and the last line.
            SetupError: a `prepare` said so.
        """
        ready = {name: threading.Event() for name in self._running}
        with ThreadPoolExecutor(max_workers=len(ready) or 1, thread_name_prefix="start") as pool:
            futures = [pool.submit(self._bring_up, item, ready, stop) for item in self._running.values()]
        # The first failure set `_aborted` and the others ended quietly, so there is one error at most.
        for future in futures:
            future.result()

    def watch(self, stop: threading.Event) -> None:
        """Restart what crashes, with back-off, until `stop` is set."""
        while not stop.wait(_TICK_S):
            for item in self._running.values():
                try:
                    self._tend(item)
                except Exception as error:  # noqa: BLE001 -- no process to be had, a full disk: it goes on with the others
                    self._note(item, f"{type(error).__name__}: {error}")

    def stop(self, order: Iterable[str] = ()) -> None:
        """Stop the services named in `order` one after another, then all others at once."""
        for name in order:
            if name in self._running:
                self._stop_one(self._running[name])
        with ThreadPoolExecutor(max_workers=len(self._running) or 1, thread_name_prefix="stop") as pool:
            list(pool.map(self._stop_one, self._running.values()))

    def report(self) -> list[dict[str, Any]]:
        """Per service: name, pid, ready, restarts, ports, url, log."""
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

    def _bring_up(self, item: _Running, ready: dict[str, threading.Event], stop: threading.Event) -> None:
        def given_up() -> bool:
            return stop.is_set() or self._aborted.is_set()

        try:
            while not all(ready[name].is_set() for name in item.service.after if name in ready):
                if given_up():
                    return
                time.sleep(_PROBE_EVERY_S)
            item.service.prepare()
            if given_up():
                return
            self._spawn(item)
            deadline = time.monotonic() + item.service.ready_timeout_s
            while not given_up() and not self._became_ready(item, deadline):
                time.sleep(_PROBE_EVERY_S)
            ready[item.service.name].set()
        except BaseException:
            self._aborted.set()
            raise

    def _became_ready(self, item: _Running, deadline: float) -> bool:
        if item.process is not None and item.process.poll() is not None:
            raise ServerUnavailable(f"{self._exit_of(item)} before it was ready{self._why(item)}")
        reason = item.service.probe()
        if reason is None:
            item.service.on_ready()
            self._mark_ready(item)
            return True
        if time.monotonic() > deadline:
            raise ServerUnavailable(
                f"{item.service.name} was not ready within {item.service.ready_timeout_s:.0f} s "
                f"({reason}){self._why(item)}"
            )
        return False

    def _tend(self, item: _Running) -> None:
        now = time.monotonic()
        if item.restart_at is not None:
            if now >= item.restart_at:
                self._restart(item)
        elif item.process is not None and item.process.poll() is not None:
            self._crashed(item, now)
        elif not item.ready and item.service.probe() is None:
            self._mark_ready(item)
            self._say(f"{item.service.name} is back")
        elif item.ready and now - item.started_at > _STEADY_S:
            item.crashes_in_a_row = 0
            rotate(item.log)

    def _crashed(self, item: _Running, now: float) -> None:
        item.crashes_in_a_row += 1
        item.ready = False
        delay = backoff_s(item.crashes_in_a_row)
        item.restart_at = now + delay
        if item.crashes_in_a_row == 1:
            self._say(f"{self._exit_of(item)}, restarting it in {delay:g} s{self._why(item)}")
        self._report_change()

    def _note(self, item: _Running, problem: str) -> None:
        """Say once that tending a service failed; what is left of it counts as a crash and is tried again later."""
        if problem != item.problem:
            item.problem = problem
            self._say(f"looking after {item.service.name} failed, trying again: {problem}")

    def _restart(self, item: _Running) -> None:
        # Before anything that can fail: then the dead process is found again, and waited for a little longer.
        item.restart_at = None
        if item.process is not None:
            # What the crashed process left of its group would hold its ports and files. Nobody is left to
            # stop it in order: a Dagster run would only start another worker in place of one that stops.
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
            self._changed(self.report())

    def _exit_of(self, item: _Running) -> str:
        code = item.process.returncode if item.process else None
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"exited with {code}"
        return f"{item.service.name} {how}"

    def _why(self, item: _Running) -> str:
        shortage = disk_shortage(self._home, min_free_bytes=16 * 1024 * 1024)
        return f": {shortage or last_line(item.log) or 'no output'} (log: {item.log})"
