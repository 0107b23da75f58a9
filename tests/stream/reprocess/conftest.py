"""Workers that reprocess by a small pipeline, in this process instead of one of its own."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from neardup_platform.matching import Matching
from neardup_platform.settings import Settings
from neardup_platform.stream.control.command import RegisteredCommand, register
from neardup_platform.stream.reprocess.reprocess import Reprocess
from neardup_platform.testing import MAX_REPRESENTATIVES
from neardup_platform.wire.command_arguments import ForgetArguments, OverrideArguments, ReprocessArguments
from tests.stream.control_machine import ControlMachine, Machines
from tests.stream.reprocess.small_rounds import SmallRounds

LOOSE, STRICT = Matching(1_000, 0, 0.9, 0.8, MAX_REPRESENTATIVES), Matching(1_000, 0, 0.985, 0.985, MAX_REPRESENTATIVES)
LAST_IMAGES = 5

Make = Callable[..., ControlMachine]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Workers over one home, one after the other; `matching` are the rules of the reprocessing."""
    settings = Settings(home=tmp_path / "home")

    def give_up(machine: ControlMachine) -> None:
        # A stage that is being prepared would open its store after it was closed here.
        machine.control.close(20)
        unfinished = machine.commands["reprocess"].handler
        assert isinstance(unfinished, Reprocess)
        unfinished.close()

    machines = Machines(settings.home, give_up)

    def start(*sent: bytes, matching: Matching = STRICT, kill_at: str = "") -> ControlMachine:
        def commands(machine: ControlMachine) -> Sequence[RegisteredCommand]:
            reprocess = Reprocess(
                settings,
                machine.store,
                machine.pipeline,
                lambda _: SmallRounds(matching, machine.clock),
                last_images=LAST_IMAGES,
            )
            return [
                register(ReprocessArguments, reprocess),
                register(OverrideArguments, machine.worker.override_handler, prompt=True),
                register(ForgetArguments, machine.worker.forget_handler, prompt=True),
            ]

        return machines.start(commands, *sent, kill_at=kill_at)

    yield start
    machines.end()
