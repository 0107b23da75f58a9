"""`make soak`: a worker half an hour under load, killed a hundred times, and an account of every message at the end.

    MINUTES=30 KILLS=100 RATE=200 BROKER_KILLS=3 POISON=1 make soak     (KILLS=0 BROKER_KILLS=0: for memory)

The worker, its classifier, Kafka and the store are real. Images come at a steady rate, halves out of order, some
twice, with bursts of garbage. The worker is killed at random moments, its start included, and at named points. Prints
what it does, a table of samples and a JSON object; exit status 1 when anything was lost, doubled, torn or decided
otherwise than a replay in the recorded order does.
"""

import json
import os
import random
import shutil
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import psutil

from neardup_platform.bench.machine import machine
from neardup_platform.kafka.topics import ensure_topics
from neardup_platform.scoring.keras_classifier import PairClassifier
from neardup_platform.servers.embedded_servers import running_servers
from neardup_platform.settings import Settings
from neardup_platform.stream.crash_points import CrashPoint
from neardup_platform.supervise.heartbeat import Phase, read_heartbeat
from tests.faults.replaying import differences_of_replay
from tests.faults.traffic import Sent, Traffic, traffic
from tests.faults.verification import wrong_when_settled
from tests.faults.world import FULL, is_settled, listener, read_log
from tests.stream.forked_worker import ForkedWorker
from tests.stream.worker_process import reading, start

CHUNK_S = 0.25
SAMPLE_S = 10.0
SETTLE_S = 900.0
POINTS = [
    point
    for point in CrashPoint
    if point not in (CrashPoint.PREPARED, CrashPoint.STAGE_COMMITTED, CrashPoint.COMMAND_COMMITTED)
]
# What may grow with the images: ids, heads and the term index, 300 and 400 bytes per image; and what levels off late.
GROWTH_BYTES_PER_IMAGE, GROWTH_MB = 1_000, 64


@dataclass(frozen=True, slots=True)
class Plan:
    """The options, each an environment variable in capitals."""

    minutes: float = 30.0
    kills: int = 100
    rate: int = 200
    broker_kills: int = 3
    poison: int = 1
    seed: int = 1

    @classmethod
    def of_environment(cls) -> "Plan":
        defaults = asdict(cls())
        given = {
            name: type(value)(os.environ[name.upper()])
            for name, value in defaults.items()
            if name.upper() in os.environ
        }
        return cls(**given)


class Sending(threading.Thread):
    """Sends images at a steady rate until it is stopped."""

    def __init__(self, sender: Traffic, plan: Plan) -> None:
        super().__init__(name="sending", daemon=True)
        self.enough = threading.Event()
        self.error: BaseException | None = None
        self._sender, self._plan = sender, plan

    def run(self) -> None:
        try:
            self._send()
        except BaseException as error:  # noqa: BLE001 -- told at the end
            self.error = error

    def _send(self) -> None:
        chunk, begun, number = round(self._plan.rate * CHUNK_S), time.monotonic(), 0
        while not self.enough.is_set():
            self._sender.disordered(range(chunk * number, chunk * (number + 1)), number, repeat_ratio=0.02)
            if self._plan.poison and number % 240 == 239:
                self._sender.garbage(1_000, number)
            number += 1
            self.enough.wait(max(0.0, begun + number * CHUNK_S - time.monotonic()))


class Soak:
    """The worker under supervision, its samples and how often it was killed."""

    def __init__(self, settings: Settings, plan: Plan) -> None:
        self.settings, self.plan = settings, plan
        self.rng = random.Random(plan.seed)  # noqa: S311 -- a seed, no secret
        self.samples: list[dict[str, float]] = []
        self.killed = self.crashed = self.broker_killed = 0
        self.wrong: list[str] = []
        self.begun = time.monotonic()
        self.worker = self.start()

    def start(self) -> ForkedWorker:
        """A worker, one in three with a named point to die at."""
        more = {}
        if self.plan.kills and self.rng.random() < 1 / 3:
            more["NEARDUP_CRASH_AT"] = f"{self.rng.choice(POINTS)}:{self.rng.choice((1, 2, 10, 100))}"
        return start(self.settings, module=FULL, more=more)

    def run(self) -> None:
        """Until the time is over; kills are spread evenly, each at a random moment of its share."""
        seconds = 60 * self.plan.minutes
        kills = self._moments(self.plan.kills, seconds)
        brokers = self._moments(self.plan.broker_kills, seconds)
        sample_at = 0.0
        while (now := time.monotonic() - self.begun) < seconds:
            if self.worker.poll() is not None:
                self.ended()
            elif kills and now >= kills[0]:
                self.kill()
            if brokers and now >= brokers[0]:
                brokers.pop(0)
                self.kill_broker()
            # One that died at its named point counts for the next moment.
            while len(kills) > self.plan.kills - self.killed - self.crashed and kills:
                kills.pop(0)
            if now >= sample_at:
                sample_at = now + SAMPLE_S
                self.sample()
            time.sleep(0.05)

    def _moments(self, count: int, seconds: float) -> list[float]:
        return [(n + self.rng.random()) * seconds / count for n in range(count)]

    def kill(self) -> None:
        self.worker.kill()
        self.worker.wait()
        self.killed += 1
        self.say(f"worker killed ({self.killed + self.crashed})")
        self.worker = self.start()

    def ended(self) -> None:
        if self.worker.poll() == -signal.SIGKILL:
            self.crashed += 1
            self.say(f"worker killed at a named point ({self.killed + self.crashed})")
        else:
            self.wrong.append(f"the worker ended by itself with {self.worker.poll()}")
            self.say(self.wrong[-1])
        self.worker = self.start()

    def kill_broker(self) -> None:
        listener(self.settings.kafka.bootstrap or "").kill()
        self.broker_killed += 1
        self.say(f"broker killed ({self.broker_killed})")

    def sample(self) -> None:
        heartbeat = read_heartbeat(self.settings.home)
        if heartbeat is None or heartbeat.pid != self.worker.pid or heartbeat.phase is not Phase.RUNNING:
            return
        figures = heartbeat.metrics
        try:
            memory = psutil.Process(self.worker.pid).memory_info()
        except psutil.NoSuchProcess:
            return
        names = ("images", "lag", "p50_ms", "p99_ms", "waiting", "outbox")
        row = {name: figures.get(name, 0.0) for name in names}
        row |= {"s": round(time.monotonic() - self.begun), "rss_mb": memory.rss / 1e6}
        row["own_mb"] = (memory.rss - memory.shared) / 1e6
        self.samples.append(row)
        self.say(" ".join(f"{name} {value:.0f}" for name, value in row.items() if name != "s"))

    def settle(self, sending: Sending) -> None:
        """Wait until everything sent is decided, by a worker that is not killed."""
        sending.enough.set()
        sending.join()
        if sending.error:
            self.wrong.append(f"sending failed: {sending.error!r}")
        self.worker.kill()
        self.worker.wait()
        self.worker = start(self.settings, module=FULL)
        self.say("nothing more is sent; waiting until all is decided")
        deadline = time.monotonic() + SETTLE_S
        with reading(self.settings) as reader:
            while not is_settled(self.settings, reader):
                if time.monotonic() > deadline or self.worker.poll() is not None:
                    self.wrong.append("not everything was decided in time")
                    break
                time.sleep(1)
                reader.refresh()
        self.worker.terminate()
        self.worker.wait()

    def verify(self, sent: Sent) -> None:
        self.say("reading everything back")
        log = read_log(self.settings)
        with reading(self.settings) as reader:
            self.wrong += islice(wrong_when_settled(reader, log, sent), 20)
            self.say("deciding everything again in the recorded order")
            home = self.settings.home / "replay"
            self.wrong += islice(differences_of_replay(self.settings, reader, home, 200, PairClassifier()), 20)
        if not self.plan.kills:
            self.wrong += grown(self.samples)

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.begun:7.1f} s  {text}", flush=True)  # noqa: T201


def grown(samples: list[dict[str, float]]) -> list[str]:
    """Whether memory grew with time rather than with images: from a fifth of the time, when caches are warm, on."""
    rest = samples[len(samples) // 5 :]
    if len(rest) < 2:
        return []
    grew_mb, images = rest[-1]["own_mb"] - rest[0]["own_mb"], rest[-1]["images"] - rest[0]["images"]
    allowed_mb = GROWTH_MB + images * GROWTH_BYTES_PER_IMAGE / 1e6
    return [f"memory grew by {grew_mb:.0f} MB, {allowed_mb:.0f} allowed"] if grew_mb > allowed_mb else []


def soak(plan: Plan, home: Path) -> dict[str, Any]:
    """Run it on servers of its own; returns the report."""
    with running_servers(Settings(home=home)) as settings:
        ensure_topics(settings.kafka)
        with traffic(settings) as sender:
            sending = Sending(sender, plan)
            run = Soak(settings, plan)
            try:
                sending.start()
                run.run()
                run.settle(sending)
            finally:
                run.worker.kill()
                run.worker.wait()
            run.verify(sender.sent)
    return {
        "machine": machine(),
        "plan": asdict(plan),
        "images": len(sender.sent.whole),
        "messages": sender.sent.messages,
        "killed_at_random": run.killed,
        "killed_at_named_points": run.crashed,
        "broker_killed": run.broker_killed,
        "samples": [{name: round(value, 1) for name, value in row.items()} for row in run.samples],
        "wrong": run.wrong,
        "passed": not run.wrong,
    }


def main() -> int:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    home = Path(mkdtemp(prefix="neardup-soak-"))
    report = soak(Plan.of_environment(), home)
    samples = report.pop("samples")
    print("\n".join(json.dumps(sample) for sample in samples))  # noqa: T201
    print(json.dumps(report))  # noqa: T201
    if report["passed"]:
        shutil.rmtree(home)
    print("passed" if report["passed"] else f"FAILED; everything is in {home}")  # noqa: T201
    return 0 if report["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
