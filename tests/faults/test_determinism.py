"""The state is a function of the order of deciding: however it is cut, restarted or killed. No Kafka, no TensorFlow."""

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neardup_platform.matching import Scored
from neardup_platform.pipeline import Added
from neardup_platform.records import JoinedImage
from neardup_platform.stream.commit import commit
from neardup_platform.stream.steps import StreamStep
from neardup_platform.testing import BLOCK_IMAGES, InMemoryWorker, families
from tests.faults.replaying import decisions, members

# Ambiguous on purpose: copies so noisy that clusters hang by what came first.
NOISE = 0.27
FAMILIES, COPIES = 9, 13
# Two steps must lie in the last two blocks of the term index, as with real settings.
MOST_IMAGES = BLOCK_IMAGES // 2

Comparing = tuple[Added, Callable[[], Scored]]


class Act(NamedTuple):
    """One turn of the worker's loop, and how it ends.

    Attributes:
        late: the thread that compares comes to it only once the next step's images are added.
    """

    images: int
    end: str
    late: bool = False


ENDS = (
    "continues",
    "is stopped",
    "is killed with two steps in flight",
    "is killed before the commit",
    "is killed after",
)
ACTS = st.lists(
    st.builds(Act, st.integers(1, MOST_IMAGES), st.sampled_from(ENDS), st.booleans()), min_size=1, max_size=8
)


class Life:
    """The loop of `Worker.turn`: a step is added and compared before the previous one is decided."""

    def __init__(self, home: Path, images: Sequence[JoinedImage]) -> None:
        self.home, self.images = home, images
        self.start()

    def start(self) -> None:
        self.worker = InMemoryWorker(self.home)
        self.read = self.worker.store.state().images
        self.under_way: list[Comparing] = []

    def turn(self, act: Act) -> None:
        begun = self.begin(act)
        if act.end == "is killed with two steps in flight":
            return self.killed()
        if act.end == "is killed before the commit":
            self.settle()
            return self.killed()
        self.commit()
        if act.end == "is killed after":
            return self.killed()
        self.under_way = begun
        if act.end == "is stopped":
            self.worker.close()
            self.start()
        return None

    def begin(self, act: Act) -> list[Comparing]:
        pipeline = self.worker.pipeline
        images = self.images[self.read : self.read + act.images]
        self.read += len(images)
        begun = []
        for part in pipeline.split(images):
            added = pipeline.add(part)
            compare = partial(pipeline.compare, added)
            begun.append((added, compare if act.late else partial(_the, compare())))
        return begun

    def settle(self) -> list:
        sequence = self.worker.store.state().sequence + 1
        compared = ((added, compare()) for added, compare in self.under_way)
        return self.worker.pipeline.decide_compared(compared, sequence, self.read)

    def commit(self) -> None:
        commit(self.worker.store, self.worker.store.state(), StreamStep(decided=self.settle()), 0)
        self.under_way = []

    def killed(self) -> None:
        # Only the files are left, and those of the vectors are not even synced.
        self.worker.index.close()
        self.worker.store.close()
        self.start()

    def finish(self) -> tuple[bytes, list, dict]:
        while self.read < len(self.images) or self.under_way:
            self.turn(Act(MOST_IMAGES, "continues"))
        store = self.worker.store
        found = bytes(store.state().digest), decisions(store), members(store)
        self.worker.close()
        return found


def _the(scored: Scored) -> Scored:
    return scored


def outcome(images: Sequence[JoinedImage], acts: Sequence[Act]) -> tuple[bytes, list, dict]:
    with TemporaryDirectory(prefix="neardup-life-") as home:
        life = Life(Path(home), images)
        for act in acts:
            life.turn(act)
        return life.finish()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 3), ACTS)
def test_batches_restarts_and_crashes_change_no_decision_no_member_and_no_digest(seed: int, acts: list[Act]) -> None:
    assert outcome(families(FAMILIES, COPIES, seed, NOISE), acts) == undisturbed(seed)


_UNDISTURBED: dict[int, tuple[bytes, list, dict]] = {}


def undisturbed(seed: int) -> tuple[bytes, list, dict]:
    """Each image in a step of its own, one life long."""
    if seed not in _UNDISTURBED:
        images = families(FAMILIES, COPIES, seed, NOISE)
        _UNDISTURBED[seed] = outcome(images, [Act(1, "continues")] * len(images))
    return _UNDISTURBED[seed]


def test_the_order_does_matter_so_that_these_tests_can_fail() -> None:
    images = families(FAMILIES, COPIES, 0, NOISE)
    digests = {outcome(order, [])[0] for order in (images, images[::-1])}
    assert len(digests) == 2


def test_a_comparison_that_comes_late_sees_no_more_and_no_less() -> None:
    """Not even where the step after has begun a new block of the term index, and the oldest has left its window."""
    for size in (3, 7, MOST_IMAGES):
        for seed in range(4):
            acts = [Act(size, "continues", late=True)] * (FAMILIES * (COPIES + 1) // size + 1)
            assert outcome(families(FAMILIES, COPIES, seed, NOISE), acts) == undisturbed(seed)


def test_every_end_of_a_turn_is_survived_in_every_order() -> None:
    for ends in itertools.permutations(ENDS[1:]):
        acts = [Act(9, end) for end in ends]
        assert outcome(families(FAMILIES, COPIES, 1, NOISE), acts) == undisturbed(1)
