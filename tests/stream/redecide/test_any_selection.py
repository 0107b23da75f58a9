"""Whatever is chosen, by whatever rules, in whatever order: clusters stay sound, and undoing all of it leads back."""

import tempfile
from contextlib import closing
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from neardup_platform.testing import families
from tests.stream.control_machine import NOW_MS, ControlMachine, command
from tests.stream.rearranged import assert_sound, heads
from tests.stream.redecide.conftest import Selections, commands_over

IMAGES = families(5, 4, noise=0.3)
IDS = [each.image_id for each in IMAGES]

RULES = st.tuples(
    st.lists(st.sampled_from(IDS), min_size=1, max_size=len(IDS), unique=True),
    st.sampled_from(["0.80", "0.90", "0.95", "0.985"]),
    st.sampled_from(["0.75", "0.90", "0.985"]),
    st.sampled_from(["", "another"]),
)


def redecide(command_id: str, **arguments: str) -> bytes:
    return command("redecide", command_id, NOW_MS, images_per_s="100000", **arguments)


@settings(max_examples=25, deadline=None)
@given(st.lists(RULES, min_size=1, max_size=4))
def test_clusters_stay_sound_and_undoing_leads_back(steps: list[tuple[list[str], str, str, str]]) -> None:
    selections = Selections()
    log = [
        redecide(
            f"c{n}",
            selection=selections.put(ids),
            threshold=match,
            head_threshold=head,
            **({"classifier": other} if other else {}),
        )
        for n, (ids, match, head, other) in enumerate(steps)
    ]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with closing(ControlMachine(home / "home", log, commands_over(selections), "")) as machine:
            machine.decide(IMAGES)
            before = heads(machine.store)
            for n in range(len(steps)):
                machine.log = log[: n + 1]
                here = heads(machine.store)
                (done,) = machine.run()
                assert done.accepted, done.reason
                now = heads(machine.store)
                assert int(done.values["moved"]) == sum(now[i] != here[i] for i in IDS)
                assert all(now[i] == here[i] for i in IDS if i not in steps[n][0])
                assert_sound(machine.worker, home / f"scratch{n}")
            moved = [f"c{n}" for n in range(len(steps)) if next(machine.store.commands.moves(f"c{n}"), None)]
            for command_id in reversed(moved):
                machine.log = [*machine.log, redecide(f"u{command_id}", undo=command_id)]
                (undone,) = machine.run()
                assert undone.accepted, undone.reason
                assert undone.values["skipped"] == "0"
                assert_sound(machine.worker, home / f"scratch-{command_id}")
            assert heads(machine.store) == before
