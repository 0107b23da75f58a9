"""What the worker and those who watch over it tell each other, as small files in NEARDUP_HOME.

`worker.json` is the worker's heartbeat, replaced atomically every second. `paused.json` is an operator's wish
that no worker run, obeyed by the worker, by the run that supervises it and by the sensor that starts runs.
"""

import json
import os
import time
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from neardup_platform.files import replace_durably


class Phase(StrEnum):
    """How far a worker process has come."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A sign of life.

    Attributes:
        pid: of the worker process, which leads its own process group.
        started_ms: Unix milliseconds at which the process began.
        at_ms: Unix milliseconds of this heartbeat.
        figures: counts and gauges: images, clusters, lag, waiting, outbox, images_per_s, p50_ms, p99_ms,
            rss_mb and the counters of the store.
        classifier_version: of the classifier that decides; empty before it is loaded.
        progress: of a start: what is being done. A starting worker writes a heartbeat only where it gets on.
    """

    pid: int
    started_ms: int
    at_ms: int
    phase: Phase
    figures: dict[str, float] = field(default_factory=dict)
    classifier_version: str = ""
    progress: str = ""

    def age_s(self, now_ms: int) -> float:
        """Seconds since this sign of life."""
        return (now_ms - self.at_ms) / 1_000

    def alive(self, now_ms: int, stalled_s: float) -> bool:
        """Whether the worker has not stopped and has been heard of within `stalled_s`."""
        return self.phase is not Phase.STOPPED and self.age_s(now_ms) <= stalled_s


def write_heartbeat(home: Path, heartbeat: Heartbeat) -> None:
    """Replace the heartbeat file atomically; of no use after a power cut, so it is not synced."""
    _replace(home / "worker.json", asdict(heartbeat))


def read_heartbeat(home: Path) -> Heartbeat | None:
    """The last heartbeat, or None where no worker ever ran."""
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
    """Ask that no worker run until `resume`."""
    path = home / "paused.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_suffix(f".{os.getpid()}.tmp")
    staged.write_text(json.dumps({"by": by, "at_ms": time.time_ns() // 1_000_000}))
    replace_durably(staged, path)


def resume(home: Path) -> None:
    """Take a pause back; without one, nothing happens."""
    (home / "paused.json").unlink(missing_ok=True)


def paused_by(home: Path) -> str | None:
    """Who paused the worker, or None when it is not paused."""
    try:
        return str(json.loads((home / "paused.json").read_text())["by"])
    except FileNotFoundError:
        return None


def _replace(path: Path, content: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(content))
    temporary.replace(path)
