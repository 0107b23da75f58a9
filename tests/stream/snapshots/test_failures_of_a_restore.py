"""A failure at any step of a restore leaves the active store in use, and the command can be sent again."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from neardup_platform.errors import ServerUnavailable, SetupError
from neardup_platform.settings import Settings
from neardup_platform.store.swap import next_path
from neardup_platform.stream.snapshots import restore as restore_module
from neardup_platform.testing import families
from tests.stream.control_machine import ControlMachine, Machines, command
from tests.stream.corrected import FolderRestore, corrections, give_up, snapshot

IMAGES = families(20, 4)
Make = Callable[..., ControlMachine]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    machines = Machines(tmp_path / "home", give_up)
    yield partial(machines.start, partial(corrections, Settings(home=tmp_path / "home")))
    machines.end()


STEPS = [
    (FolderRestore, "_fetch"),
    (FolderRestore, "_check"),
    (restore_module, "forgotten_since"),
    (restore_module, "Survey"),
    (restore_module, "carry_over"),
    (restore_module, "repair_surveyed"),
    (restore_module, "forget_again"),
    (restore_module, "compensate"),
    (restore_module, "append_outbox"),
]


@pytest.mark.parametrize(("owner", "step"), STEPS, ids=[step for _, step in STEPS])
@pytest.mark.parametrize("error", [ServerUnavailable("S3 is gone"), SetupError("the disk is full"), OSError("broken")])
def test_a_failure_leaves_the_active_store_and_a_repeat_succeeds(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: object, step: str, error: Exception
) -> None:
    one = make()
    one.decide(IMAGES[:50])
    snapshot(one.store, tmp_path / "home" / "before")
    one.decide(IMAGES[50:70])
    before = one.store.state()

    def fails(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(owner, step, fails)
        one.log.append(command("restore", "r1", snapshot="before"))
        (result,) = one.run()
    assert not result.accepted
    assert str(error) in result.reason
    assert not one.control.holds
    one.decide(IMAGES[70:])
    state = one.store.state()
    assert (state.store_id, state.images) == (before.store_id, len(IMAGES))
    one.log.append(command("restore", "r2", snapshot="before"))
    one.run_until_replaced()
    two = make()
    assert two.store.state().images == 50
    assert not next_path(tmp_path / "home" / "store").exists()
