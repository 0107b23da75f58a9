"""The worker's heartbeat and the operator's pause: two small files in NEARDUP_HOME.

`worker.json` is the worker's heartbeat, replaced atomically every second. `paused.json` says that no worker may run;
the worker, the run that supervises it and the sensor that starts runs all check it.
"""

import json
import time
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from neardup_platform.files import replace_file


class Phase(StrEnum):
    """The phase of a worker process."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Proof that a worker process is alive and makes progress.

    Attributes:
        pid: of the worker process, which leads its own process group.
        started_ms: Unix milliseconds at which the process started.
        at_ms: Unix milliseconds of this heartbeat.
        metrics: counts and gauges: images, clusters, lag, waiting, outbox, images_per_s, p50_ms, p99_ms,
            rss_mb and the counters of the store. Stored under the key `figures`.
        classifier_version: of the active classifier; empty before it is loaded.
        progress: the current step of a start, or of a long command. A starting worker writes a heartbeat only when it
            makes progress.
    """

    pid: int
    started_ms: int
    at_ms: int
    phase: Phase
    metrics: dict[str, float] = field(default_factory=dict)
    classifier_version: str = ""
    progress: str = ""

    def age_s(self, now_ms: int) -> float:
        """Seconds since this heartbeat."""
        return (now_ms - self.at_ms) / 1_000

    def alive(self, now_ms: int, stalled_s: float) -> bool:
        """Whether the worker has not stopped and wrote this heartbeat within the last `stalled_s` seconds."""
        return self.phase is not Phase.STOPPED and self.age_s(now_ms) <= stalled_s


def write_heartbeat(home: Path, heartbeat: Heartbeat) -> None:
    """Replace the heartbeat file atomically. It is not synced: after a power cut it is worthless."""
    home.mkdir(parents=True, exist_ok=True)
    content = asdict(heartbeat)
    content["figures"] = content.pop("metrics")
    replace_file(home / "worker.json", json.dumps(content), durable=False)


def read_heartbeat(home: Path) -> Heartbeat | None:
    """The last heartbeat, or None if no worker ever ran."""
    try:
        raw = json.loads((home / "worker.json").read_text())
    except FileNotFoundError:
        return None
    return Heartbeat(
        raw["pid"],
        raw["started_ms"],
        raw["at_ms"],
        Phase(raw["phase"]),
        raw["figures"],
        raw.get("classifier_version", ""),
        raw.get("progress", ""),
    )


def pause(home: Path, by: str) -> None:
    """Let no worker run until `resume`."""
    home.mkdir(parents=True, exist_ok=True)
    replace_file(home / "paused.json", json.dumps({"by": by, "at_ms": time.time_ns() // 1_000_000}))


def resume(home: Path) -> None:
    """Lift the pause, if there is one."""
    (home / "paused.json").unlink(missing_ok=True)


def paused_by(home: Path) -> str | None:
    """Who paused the worker, or None if it is not paused."""
    try:
        return str(json.loads((home / "paused.json").read_text())["by"])
    except FileNotFoundError:
        return None
