"""The supervisor, with small real commands as services."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from neardup_platform.errors import HomeInUse, ServerUnavailable
from neardup_platform.servers.embedded_servers import claimed, supervised
from neardup_platform.servers.endpoints import is_running
from neardup_platform.supervise.home import MARK, mark_of
from neardup_platform.supervise.process import marked
from neardup_platform.supervise.service import Service
from neardup_platform.supervise.supervisor import Supervisor
from neardup_platform.testing import eventually

SLEEP = ("sleep", "600")
# As long as a start may take here; a busy machine takes seconds to cancel one.
READY_S = 180.0


def ready() -> None:
    return None


class Operator:
    """Collects the lines for the operator."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, line: str) -> None:
        self.lines.append(line)


@contextmanager
def watched(home: Path, services: list[Service], notify: Operator) -> Iterator[Supervisor]:
    stop = threading.Event()
    with claimed(home), supervised(home, services, notify) as supervisor:
        supervisor.start(stop)
        watcher = threading.Thread(target=supervisor.watch, args=(stop,))
        watcher.start()
        try:
            yield supervisor
        finally:
            stop.set()
            watcher.join()


def entry(supervisor: Supervisor, name: str) -> dict[str, Any]:
    return next(found for found in supervisor.status() if found["name"] == name)


def test_nothing_is_left_after_a_stop(tmp_path: Path) -> None:
    services = [
        Service("one", ("sh", "-c", "setsid sleep 600 & sleep 600"), ready),
        Service("two", SLEEP, ready, after=("one",)),
    ]
    with watched(tmp_path, services, Operator()) as supervisor:
        eventually(lambda: len(marked(mark_of(tmp_path))) == 4)
        pids = [process.pid for process in marked(mark_of(tmp_path))]
        assert {found["pid"] for found in supervisor.status()} < set(pids)
        assert is_running(tmp_path)
    # Of what its parent has left, the system takes the exit status a moment later.
    eventually(lambda: not any(psutil.pid_exists(pid) for pid in pids))
    assert not is_running(tmp_path)


def test_a_service_waits_for_the_services_it_depends_on(tmp_path: Path) -> None:
    order: list[str] = []
    started = time.monotonic()

    def slow() -> str | None:
        return None if time.monotonic() - started > 1 else "not yet"

    services = [
        Service("second", SLEEP, ready, after=("first",), prepare=lambda: order.append("second prepared")),
        Service("first", SLEEP, slow, on_ready=lambda: order.append("first ready")),
    ]
    with watched(tmp_path, services, Operator()):
        assert order == ["first ready", "second prepared"]


def test_a_crashed_service_is_restarted_and_reported_once(tmp_path: Path) -> None:
    notify = Operator()
    with watched(tmp_path, [Service("one", SLEEP, ready)], notify) as supervisor:
        first = entry(supervisor, "one")["pid"]
        os.kill(first, signal.SIGKILL)
        eventually(lambda: entry(supervisor, "one")["restarts"] == 1 and entry(supervisor, "one")["ready"])
        second = entry(supervisor, "one")["pid"]
        assert second != first
        os.kill(second, signal.SIGKILL)
        eventually(lambda: entry(supervisor, "one")["restarts"] == 2 and entry(supervisor, "one")["ready"])
    crashes = [line for line in notify.lines if "killed by signal 9" in line]
    assert len(crashes) == 1
    assert "restarting it in 0.5 s" in crashes[0]


def test_a_failed_restart_is_repeated_and_the_other_services_are_still_supervised(tmp_path: Path) -> None:
    refused: list[int] = []

    def refuse_twice() -> None:
        if len(refused) < 2:
            refused.append(1)
            raise OSError("no more processes")

    notify = Operator()
    services = [Service("one", SLEEP, ready, before_restart=refuse_twice), Service("two", SLEEP, ready)]
    with watched(tmp_path, services, notify) as supervisor:
        for name in ("one", "two"):
            os.kill(entry(supervisor, name)["pid"], signal.SIGKILL)
        eventually(lambda: entry(supervisor, "two")["restarts"] == 1 and entry(supervisor, "two")["ready"])
        eventually(lambda: entry(supervisor, "one")["restarts"] == 1 and entry(supervisor, "one")["ready"])
    assert len(refused) == 2
    (line,) = [line for line in notify.lines if "no more processes" in line]
    assert "the check of one failed" in line


def test_the_rest_of_a_crashed_service_is_stopped_before_the_restart(tmp_path: Path) -> None:
    service = Service("one", ("sh", "-c", "sleep 600 & sleep 601"), ready)
    with watched(tmp_path, [service], Operator()) as supervisor:
        first = entry(supervisor, "one")["pid"]
        eventually(lambda: len(marked(mark_of(tmp_path))) == 3)
        os.kill(first, signal.SIGKILL)
        eventually(lambda: entry(supervisor, "one")["restarts"] == 1)
        eventually(lambda: len(marked(mark_of(tmp_path))) == 3)


def test_a_service_that_exits_before_it_is_ready_fails_the_start_with_its_last_line(tmp_path: Path) -> None:
    services = [
        Service("broken", ("sh", "-c", "echo port 9 is taken; exit 3"), lambda: "not yet"),
        Service("sound", SLEEP, ready),
    ]
    with (
        pytest.raises(ServerUnavailable, match=r"broken exited with 3 before it was ready: port 9 is taken"),
        watched(tmp_path, services, Operator()),
    ):
        pass
    assert marked(mark_of(tmp_path)) == []


def test_a_service_that_is_never_ready_fails_the_start_with_the_reason(tmp_path: Path) -> None:
    service = Service("slow", SLEEP, lambda: "still loading", ready_timeout_s=0.3)
    with (
        pytest.raises(ServerUnavailable, match=r"slow was not ready within 0 s \(still loading\)"),
        watched(tmp_path, [service], Operator()),
    ):
        pass
    assert marked(mark_of(tmp_path)) == []


def test_a_stop_during_the_start_cancels_it(tmp_path: Path) -> None:
    stop = threading.Event()
    with (
        claimed(tmp_path),
        supervised(tmp_path, [Service("slow", SLEEP, lambda: "no", ready_timeout_s=READY_S)], Operator()) as supervisor,
    ):
        threading.Timer(0.5, stop.set).start()
        started = time.monotonic()
        supervisor.start(stop)
        assert time.monotonic() - started < READY_S
    assert marked(mark_of(tmp_path)) == []


def test_services_stop_in_the_given_order(tmp_path: Path) -> None:
    order: list[str] = []
    names = ["server", "launcher", "runs"]
    services = [Service(name, SLEEP, ready, on_stopped=lambda name=name: order.append(name)) for name in names]
    with claimed(tmp_path), supervised(tmp_path, services, Operator(), ("launcher", "runs")) as supervisor:
        supervisor.start(threading.Event())
    assert order == ["launcher", "runs", "server"]


def test_the_next_supervisor_stops_what_a_killed_one_left(tmp_path: Path) -> None:
    code = (
        "import os, sys, threading; from pathlib import Path\n"
        "from neardup_platform.servers.embedded_servers import claimed, supervised\n"
        "from neardup_platform.supervise.service import Service\n"
        "home = Path(sys.argv[1])\n"
        "services = [Service('one', ('sleep', '600'), lambda: None)]\n"
        "with claimed(home), supervised(home, services, print) as s:\n"
        "    s.start(threading.Event()); os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    # Between fork and exec a process briefly has no environment that identifies it.
    eventually(lambda: len(marked(mark_of(tmp_path))) == 1)
    (left,) = marked(mark_of(tmp_path))
    assert left.environ()[MARK] == mark_of(tmp_path)
    assert not is_running(tmp_path)
    with claimed(tmp_path):
        assert not left.is_running()


def test_two_homes_do_not_affect_each_other(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    with watched(one, [Service("s", SLEEP, ready)], Operator()) as supervisor:
        with watched(two, [Service("s", SLEEP, ready)], Operator()):
            assert len(marked(mark_of(one))) == len(marked(mark_of(two))) == 1
        assert len(marked(mark_of(one))) == 1
        assert entry(supervisor, "s")["restarts"] == 0
        with pytest.raises(HomeInUse), claimed(one):
            pass
        assert len(marked(mark_of(one))) == 1
