"""Workers that decide chosen images again, with selections in memory instead of on S3."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from neardup_platform.clock import SystemClock
from neardup_platform.errors import ServerUnavailable
from neardup_platform.matching import Matching, PairScorer
from neardup_platform.stream.control.command import RegisteredCommand, register
from neardup_platform.stream.redecide.redecide import Redecide
from neardup_platform.testing import CosineScorer
from neardup_platform.wire.command_arguments import ForgetArguments, OverrideArguments, RedecideArguments
from tests.stream.control_machine import Commands, ControlMachine, Machines
from tests.stream.reprocess.conftest import LOOSE

BATCH = 16

Make = Callable[..., ControlMachine]


class Selections:
    """Lists of images, by key."""

    def __init__(self) -> None:
        self._lists: dict[str, list[str]] = {}

    def put(self, image_ids: Sequence[str]) -> str:
        key = f"selections/{len(self._lists)}"
        self._lists[key] = list(image_ids)
        return key

    def replace(self, key: str, image_ids: Sequence[str]) -> None:
        self._lists[key] = list(image_ids)

    def fetch(self, key: str) -> tuple[list[str], bytes]:
        if key not in self._lists:
            raise ServerUnavailable(f"{key} cannot be read")
        found = self._lists[key]
        return found, hashlib.sha256("\n".join(found).encode()).digest()


def other_classifier(version: str) -> tuple[PairScorer, Matching]:
    """A classifier that scores as the first one does and is another one by name."""
    return CosineScorer(version), LOOSE


@pytest.fixture
def selections() -> Selections:
    return Selections()


def commands_over(selections: Selections) -> Commands:
    """The commands of a worker with loose thresholds."""

    def commands(machine: ControlMachine) -> Sequence[RegisteredCommand]:
        machine.pipeline.use_classifier(machine.pipeline.scorer, LOOSE)
        worker, clock = machine.worker, SystemClock()
        redecide = Redecide(
            machine.store, worker.redeciding, other_classifier, selections.fetch, lambda: True, clock, BATCH
        )
        return [
            register(RedecideArguments, redecide),
            register(OverrideArguments, worker.override_handler, prompt=True),
            register(ForgetArguments, worker.forget_handler, prompt=True),
        ]

    return commands


@pytest.fixture
def make(tmp_path: Path, selections: Selections) -> Iterator[Make]:
    """Workers over one home, one after the other."""
    machines = Machines(tmp_path / "home", lambda machine: machine.control.close(20))

    def start(*sent: bytes, kill_at: str = "") -> ControlMachine:
        return machines.start(commands_over(selections), *sent, kill_at=kill_at)

    yield start
    machines.end()
