"""A supervised process as a value, so that one supervisor starts Kafka, S3, Dagster and the API alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Service:
    """One process to start, probe, restart and stop.

    Attributes:
        argv: program and arguments.
        env: variables in addition to the supervisor's own.
        probe: returns None once the service is ready, else the reason in a few words; may block for a second or two.
        ports: loopback ports it listens on, for `status`.
        url: where a person or a program reaches it.
        after: names of services that must be ready before this one starts.
        prepare: called before the first start; may raise SetupError.
        on_ready: called once, when the probe first passes, before the service counts as ready.
        before_restart: called before a crashed process is started again.
        on_stopped: called after the process has ended.
        ready_timeout_s: how long the first start may take.
        stop_timeout_s: the time between SIGTERM and SIGKILL.
    """

    name: str
    argv: tuple[str, ...]
    probe: Callable[[], str | None]
    env: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[int, ...] = ()
    url: str = ""
    after: tuple[str, ...] = ()
    cwd: Path | None = None
    prepare: Callable[[], None] = _nothing
    on_ready: Callable[[], None] = _nothing
    before_restart: Callable[[], object] = _nothing
    on_stopped: Callable[[], None] = _nothing
    ready_timeout_s: float = 90.0
    stop_timeout_s: float = 10.0
