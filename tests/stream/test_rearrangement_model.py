"""Claims about any sequence of decisions, overrides, forgetting and newer embeddings, over restarts and crashes."""

from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from neardup_platform.errors import Conflict
from neardup_platform.records import Embedding, Kind
from tests.small import LSH_DIM, families
from tests.small_worker import SmallWorker
from tests.stream.rearranged import assert_gone, assert_sound, heads

IMAGES = families(5, 7, noise=0.2)

number = st.integers(0, 1_000)
operation = st.one_of(
    st.tuples(st.just("decide"), st.integers(1, 5)),
    st.tuples(st.sampled_from(["move", "move", "forbid"]), number, number),
    st.tuples(st.sampled_from(["alone", "remove", "forget", "forget head", "crash"]), number),
    st.tuples(st.just("re-embed"), number, number),
    st.tuples(st.just("restart")),
)


class Model:
    """A partition of the images, and how each operation may change it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.worker = SmallWorker(home)
        self.label: dict[str, str] = {}
        self.coming = list(IMAGES)
        self.gone: list[str] = []

    def known(self, n: int) -> str:
        return sorted(self.label)[n % len(self.label)]

    def do(self, what: str, *numbers: int) -> None:
        if what == "decide":
            images, self.coming = self.coming[: numbers[0]], self.coming[numbers[0] :]
            self.worker.commit(images)
            now = heads(self.worker.store)
            known = {now[image_id]: label for image_id, label in self.label.items()}
            for image in images:
                head = now[image.image_id]
                self.label[image.image_id] = known.setdefault(head, f"of {head}, {len(self.gone)}, {image.image_id}")
        elif what == "restart":
            self.reopen()
        elif self.label:
            getattr(self, what.replace(" ", "_").replace("-", "_"))(*map(self.known, numbers[:1]), *numbers[1:])

    def close(self) -> None:
        self.worker.close()

    def reopen(self) -> None:
        self.worker.close()
        self.worker = SmallWorker(self.home)

    def move(self, image_id: str, n: int) -> None:
        other = self.known(n)
        with suppress(Conflict):
            group = self.worker.again.overrides.group(image_id)
            self.worker.obey("override", action="move", image_id=image_id, other_id=other)
            self.label |= dict.fromkeys(group, self.label[other])

    def alone(self, image_id: str) -> None:
        with suppress(Conflict):
            group = self.worker.again.overrides.group(image_id)
            self.worker.obey("override", action="alone", image_id=image_id)
            self.label |= dict.fromkeys(group, f"alone {image_id} {self.worker.store.state().sequence}")

    def forbid(self, image_id: str, n: int) -> None:
        other = self.known(n)
        with suppress(Conflict):
            together = self.label[image_id] == self.label[other]
            before = heads(self.worker.store)
            self.worker.obey("override", action="forbid", image_id=image_id, other_id=other)
            if together:
                self.follow({i for i, head in heads(self.worker.store).items() if head != before[i]})

    def follow(self, moved: set[str]) -> None:
        """Take over where a linked group of images was moved to, which is one cluster."""
        now = heads(self.worker.store)
        assert len({now[image_id] for image_id in moved}) == 1
        there = {self.label[i] for i, head in now.items() if i not in moved and head == now[next(iter(moved))]}
        assert len(there) <= 1
        fresh = f"founded {self.worker.store.state().sequence}"
        self.label |= dict.fromkeys(moved, there.pop() if there else fresh)

    def remove(self, image_id: str) -> None:
        for override in self.worker.again.overrides.naming(image_id)[:1]:
            self.worker.obey("override", action="remove", override_id=override.override_id)

    def forget(self, image_id: str) -> None:
        self.worker.obey("forget", image_id=image_id)
        del self.label[image_id]
        self.gone.append(image_id)

    def forget_head(self, image_id: str) -> None:
        head = heads(self.worker.store)[image_id]
        self.forget(head)
        if image_id != head:
            now = heads(self.worker.store)[image_id]
            assert self.worker.store.redirected(head) == now

    def crash(self, image_id: str) -> None:
        """The worker is killed between the write and its effect in memory."""
        self.worker.obey("forget", apply=False, image_id=image_id)
        self.worker.index.close()
        self.worker.store.close()
        self.worker = SmallWorker(self.home)
        del self.label[image_id]
        self.gone.append(image_id)

    def re_embed(self, image_id: str, n: int) -> None:
        vector = IMAGES[n % len(IMAGES)].lsh.vector + 0.1 * np.random.default_rng(n).standard_normal(LSH_DIM)
        before = heads(self.worker.store)
        self.worker.re_embed(Embedding(image_id, Kind.LSH, "newer", vector.astype(np.float32), 2_000))
        moved = {i for i, head in heads(self.worker.store).items() if head != before[i]}
        assert moved <= {image_id}
        if moved:
            self.follow(moved)

    def check(self, scratch: Path) -> None:
        now = heads(self.worker.store)
        assert set(now) == set(self.label)
        pairs = {(self.label[image_id], head) for image_id, head in now.items()}
        assert len(pairs) == len(set(now.values())) == len(set(self.label.values()))
        for image_id in self.gone:
            assert_gone(self.worker.store, image_id)
            self.worker.store.redirected(image_id)
        assert_sound(self.worker, scratch)


@settings(
    max_examples=30,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.lists(operation, min_size=10, max_size=40))
def test_whatever_is_done_clusters_overrides_and_memory_agree(operations: list[tuple]) -> None:
    with TemporaryDirectory(prefix="neardup-model-") as folder:
        model = Model(Path(folder) / "home")
        with closing(model):
            model.do("decide", 12)
            for n, done in enumerate(operations):
                model.do(*done)
                if n % 5 == 0 or n == len(operations) - 1:
                    model.check(Path(folder) / f"scratch-{n}")
