"""How long decisions, lookups and searches stand still while a store, or the cells of its index, are replaced.

`python -m scripts.exchange_gaps IMAGES [FOLDER] [reprocess | cells]` fills a store with synthetic images, runs the
broker, S3, a worker and the API under a live stream of 50 images a second, and prints a line for each exchange: a
rollback to a snapshot of the same store, and its undo; with `reprocess`, that, too. Then the store gets another id, as
by a repair: the next start makes everything again, and a rollback shares nothing. With `cells`, fitted cells replace
those of the term space, and these them, and nothing else is measured.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import httpx
import psutil

from neardup_platform.bench.seed_store import seed_store
from neardup_platform.bench.stream_processes import child_environment, producing, running_api, running_worker
from neardup_platform.bench.synthetic import image_id
from neardup_platform.kafka.topics import ensure_topics
from neardup_platform.servers.embedded_servers import running_servers
from neardup_platform.settings import Settings
from neardup_platform.store.secondary import SecondaryStore
from neardup_platform.store.writer import Batch, Store

RATE_PER_S = 50
PICTURE = Path(__file__).parent.parent / "samples" / "pictures"
# Longer than any command here takes.
_STREAM_S = 300
_POLL_S = 0.01
_AFTER_S = 5.0
_PATIENCE_S = 1_800.0


class Probe(threading.Thread):
    """Asks again and again, and keeps the times at which the answer was good."""

    def __init__(self, is_good: Callable[[], bool], every_s: float) -> None:
        super().__init__(daemon=True)
        self._is_good, self._every_s, self.good_s, self.bad = is_good, every_s, list[float](), 0
        self.start()

    def run(self) -> None:
        """Ask."""
        while True:
            try:
                good = self._is_good()
            except Exception:  # noqa: BLE001 -- no answer is a bad one
                good = False
            if good:
                self.good_s.append(time.monotonic())
            else:
                self.bad += 1
            time.sleep(self._every_s)

    def longest(self, since_s: float) -> float:
        """The longest time between two good answers since a moment, or until now."""
        times = [since_s, *(at for at in self.good_s if at >= since_s), time.monotonic()]
        return max(after - before for before, after in pairwise(times))


def _decides(settings: Settings, first: int) -> Callable[[], bool]:
    reader, last = SecondaryStore(settings.store_path, settings.home / f"gaps-reader-{first}"), [("", 0)]

    def has_decided() -> bool:
        reader.refresh()
        state = reader.state()
        now = state.store_id, state.images
        grown = now[0] == last[0][0] and now[1] > last[0][1]
        last[0] = now
        return grown

    return has_decided


def _answers(url: str, known: str) -> Callable[[], bool]:
    client = httpx.Client(base_url=url, timeout=60)
    return lambda: client.get(f"/v1/images/{known}").status_code == 200


def _searches(url: str) -> Callable[[], bool]:
    client, picture = httpx.Client(base_url=url, timeout=60), next(PICTURE.rglob("*.jpg")).read_bytes()
    return lambda: client.post("/v1/search", files={"picture": ("a.jpg", picture)}).status_code == 200


@contextmanager
def _measured(name: str, probes: dict[str, Probe], worker: int) -> Iterator[None]:
    started_s, used_s = time.monotonic(), sum(psutil.Process(worker).cpu_times()[:2])
    yield
    ended_s = time.monotonic()
    while any(not probe.good_s or probe.good_s[-1] < ended_s + 1 for probe in probes.values()):
        if time.monotonic() > ended_s + _PATIENCE_S:
            break
        time.sleep(0.1)
    time.sleep(_AFTER_S)
    gaps = {f"{what}_gap_s": round(probe.longest(started_s), 2) for what, probe in probes.items()}
    cpu_s = sum(psutil.Process(worker).cpu_times()[:2]) - used_s
    _print(what=name, command_s=round(ended_s - started_s, 1), **gaps, worker_cpu_s=round(cpu_s, 1))


def _print(**row: object) -> None:
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()


def _run(settings: Settings, *argv: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-m", "neardup_platform.cli", *argv, "--json"],
        env=child_environment(settings),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        _print(failed=argv, said=(done.stdout + done.stderr)[-500:])
        return {}
    found: dict[str, object] = json.loads(done.stdout)
    return found


def _exchanges(settings: Settings, first: int, exchanges: Mapping[str, Sequence[str]]) -> None:
    """Carry out commands under a live stream of images from a number on."""
    count = RATE_PER_S * _STREAM_S
    with (
        running_worker(settings) as worker,
        running_api(settings) as api,
        producing(first, count, RATE_PER_S, api),
    ):
        probes = {
            "decisions": Probe(_decides(api, first), _POLL_S),
            "lookups": Probe(_answers(api.api.url, image_id(0)), _POLL_S),
            "searches": Probe(_searches(api.api.url), 0.1),
        }
        while not all(probe.good_s for probe in probes.values()):
            time.sleep(0.1)
        time.sleep(_AFTER_S)
        for name, argv in exchanges.items():
            with _measured(name, probes, worker.pid):
                _run(api, *argv)


def _starts(settings: Settings) -> None:
    def everything() -> None:
        """Nothing serves a store with another id."""

    def nothing() -> None:
        """Everything is there."""

    def checkpoint() -> None:
        (settings.vectors_path / "corpus.json").unlink()

    for remove in (everything, nothing, checkpoint):
        remove()
        started_s = time.monotonic()
        with running_worker(settings):
            _print(what=f"start without {remove.__name__}", running_s=round(time.monotonic() - started_s, 1))


def _rename(settings: Settings) -> None:
    """Give the store another id: no file serves it."""
    with closing(Store(settings.store_path)) as store:
        state, batch = store.state(), Batch()
        state.store_id = uuid4().hex
        state.ClearField("shared")
        batch.put_state(state)
        store.write(batch)


def main(images: int, folder: str | None = None, *, reprocess: bool = False, cells: bool = False) -> None:
    """Measure with servers and a store of its own."""
    with (
        TemporaryDirectory(prefix="neardup-gaps-", dir=folder) as home,
        running_servers(Settings(home=Path(home))) as settings,
    ):
        ensure_topics(settings.kafka)
        seed_store(settings, images)
        _print(images=images, machine_cpus=psutil.cpu_count())
        if cells:
            fit = ["cells", "fit", "--least-images", "16"]
            _exchanges(settings, images, {"fitted cells": fit, "back": ["cells", "use", "term-space"]})
            return
        with running_worker(settings):
            snapshot = str(_run(settings, "snapshot")["snapshot"])
        more = {"reprocess": ["reprocess"]} if reprocess else {}
        _exchanges(settings, images, {"rollback": ["rollback", snapshot], "undo": ["rollback", "--undo"], **more})
        _rename(settings)
        _starts(settings)
        later = images + RATE_PER_S * _STREAM_S
        _exchanges(settings, later, {"rollback, nothing shared": ["rollback", snapshot]})


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:3], reprocess="reprocess" in sys.argv[3:], cells="cells" in sys.argv[3:])
