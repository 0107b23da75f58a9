"""Corrections, rollbacks, reprocessing and new images in any order: after each step every table matches the model.

The store, the commands and the pipeline are the worker's own; snapshots are in a folder instead of on S3.
"""

import shutil
from functools import partial
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from numpy.typing import NDArray

from neardup_platform.records import Decision, Embedding, JoinedImage, Kind
from neardup_platform.settings import Settings
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table, listed_under
from neardup_platform.stream.commit import commit
from neardup_platform.stream.steps import StreamStep
from neardup_platform.testing import LSH_DIM, families, image
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import decode_decision
from tests.fuzz.cluster_model import Clusters, Made
from tests.stream.control_machine import NOW_MS, ControlMachine, Killed, Machines, command
from tests.stream.corrected import corrections, give_up, snapshot

POOL = families(5, 5, noise=0.2)
number = st.integers(0, 1_000)
# A restart takes as long as many other steps, so there are at least this many steps between two of them.
OFTEN, RARELY = 1, 5


def score(one: NDArray, other: NDArray) -> float:
    x, y = one.astype(np.float32)[None], other.astype(np.float32)[None]
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return float(np.clip((x * y).sum(axis=1) / norms, 0, 1)[0])


class Corrections(RuleBasedStateMachine):
    """A worker and the model side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(mkdtemp(prefix="neardup-corrections-"))
        self.settings = Settings(home=self.folder / "home")
        self.machines = Machines(self.settings.home, give_up)
        self.commands = 0
        self.model = Clusters(score)
        self.before: Clusters | None = None
        self.snapshots: list[Clusters] = []
        self.since_start = 0
        self.start()

    def start(self) -> None:
        self.since_start = 0
        self.worker: ControlMachine = self.machines.start(partial(corrections, self.settings))

    def send(self, name: str, **arguments: str) -> pb.CommandResult:
        self.commands += 1
        self.worker.log.append(command(name, f"c{self.commands:06}", **arguments))
        results = self.worker.run()
        if not self.worker.replaced:
            (result,) = results
            return result
        self.start()
        return self.worker.store.commands.find(f"c{self.commands:06}").result  # type: ignore[union-attr]

    def known(self, n: int) -> str:
        return sorted(self.model.images)[n % len(self.model.images)]

    @initialize()
    def first(self) -> None:
        self.new_images(12, 0)

    @rule(count=st.integers(1, 6), at=number)
    def new_images(self, count: int, at: int) -> None:
        left = [i for i in POOL if i.image_id not in self.model.images]
        if not left:
            return
        at %= len(left)
        images = [self.at_its_time(i) for i in (left[at:] + left[:at])[:count]]
        store, state = self.worker.store, self.worker.store.state()
        again = self.worker.worker.redeciding
        decided = again.pipeline.decide(images, state.sequence + 1, 7, again.constraints())
        commit(store, state, StreamStep(decided=decided), 0)
        self.model.begin()
        for new in images:
            found, searched = self.search_result(new.image_id)
            vector = new.lsh.vector.astype(np.float16)
            self.model.decide(new.image_id, new.event_time_ms, found, vector, searched=searched)
        self.compare()

    def at_its_time(self, new: JoinedImage) -> JoinedImage:
        """Return the image with a time after it was forgotten, so that it counts as new."""
        time_ms = self.model.forgotten.get(new.image_id, 0) + 1
        return image(new.image_id, new.lsh.vector, max(time_ms, new.event_time_ms))

    def decision(self, image_id: str) -> Decision:
        return decode_decision(self.worker.store.history.current(image_id))

    def search_result(self, image_id: str) -> tuple[list[tuple[str, float]], bool]:
        """Return the candidates with scores, which are trusted, and whether the image is searched."""
        store = self.worker.store
        found = [(c.image_id, c.score) for c in self.decision(image_id).candidates]
        return found, not store.vectors.get(store.images.find(image_id).ordinal).retired  # type: ignore[union-attr]

    @rule(one=number, other=number)
    def link(self, one: int, other: int) -> None:
        self.override("move", self.known(one), self.known(other))

    @rule(one=number)
    def alone(self, one: int) -> None:
        self.override("alone", self.known(one))

    @rule(one=number, other=number)
    def forbid(self, one: int, other: int) -> None:
        self.override("forbid", self.known(one), self.known(other))

    def override(self, asked: str, image_id: str, other: str = "") -> None:
        action = "link" if asked == "move" else asked
        contradicts = self.model.contradicts(action, image_id, other)
        arguments = {"other_id": other} if other else {}
        result = self.send("override", action=asked, image_id=image_id, **arguments)
        assert result.accepted != contradicts, result.reason
        if result.accepted:
            self.model.begin()
            self.model.add_override(result.command_id, action, image_id, other)
            self.check_met(action, image_id, other)
        self.compare()

    def check_met(self, action: str, image_id: str, other: str) -> None:
        """Check that the new override holds, for every linked image."""
        heads = {i: self.worker.store.images.find(i).head for i in self.model.images}  # type: ignore[union-attr]
        if action == "forbid":
            assert heads[image_id] != heads[other]
            return
        assert heads[image_id] == (image_id if action == "alone" else heads[other])
        override = self.model.overrides.pop(self.model.own(image_id) or "")
        assert {heads[i] for i in self.model.group(image_id)} == {heads[image_id]}
        self.model.overrides[f"c{self.commands:06}"] = override

    @precondition(lambda self: self.model.overrides)
    @rule(one=number)
    def remove(self, one: int) -> None:
        override_id = sorted(self.model.overrides)[one % len(self.model.overrides)]
        assert self.send("override", action="remove", override_id=override_id).accepted
        del self.model.overrides[override_id]
        self.compare()

    @precondition(lambda self: len(self.model.images) > 4)
    @rule(one=number, head=st.booleans())
    def forget(self, one: int, head: bool) -> None:
        image_id = self.known(one)
        image_id = self.model.images[image_id].head if head else image_id
        result = self.send("forget", image_id=image_id)
        assert result.accepted, result.reason
        self.model.begin()
        self.model.forget(image_id, max(NOW_MS, self.model.images[image_id].time_ms), result.command_id)
        self.compare()

    @precondition(lambda self: len(self.model.images) > 4 and self.since_start > OFTEN)
    @rule(one=number)
    def crash(self, one: int) -> None:
        """Kill the worker between the write and its effect in memory."""
        self.worker.kill_at("command_committed")
        with pytest.raises(Killed):
            self.send("forget", image_id=self.known(one))
        self.model.begin()
        image_id, command_id = self.known(one), f"c{self.commands:06}"
        self.model.forget(image_id, max(NOW_MS, self.model.images[image_id].time_ms), command_id)
        self.start()
        self.compare()

    @rule(one=number, like=number)
    def re_embed(self, one: int, like: int) -> None:
        image_id = self.known(one)
        vector = POOL[like % len(POOL)].lsh.vector + 0.1 * np.random.default_rng(like).standard_normal(LSH_DIM)
        vector = vector.astype(np.float32)
        self.worker.worker.re_embed(Embedding(image_id, Kind.LSH, f"newer-{like}", vector, 1_500))
        found, searched = self.search_result(image_id)
        self.model.begin()
        self.model.re_embed(image_id, found, vector.astype(np.float16), searched=searched)
        self.model.images[image_id].time_ms = self.worker.store.images.find(image_id).event_time_ms  # type: ignore[union-attr]
        self.compare()

    @precondition(lambda self: len(self.snapshots) < 4)
    @rule()
    def take_snapshot(self) -> None:
        snapshot(self.worker.store, self.settings.home / f"snapshot-{len(self.snapshots)}")
        self.snapshots.append(self.model.copy())

    @precondition(lambda self: self.snapshots and self.since_start > OFTEN)
    @rule(one=number)
    def rollback(self, one: int) -> None:
        one %= len(self.snapshots)
        result = self.send("restore", snapshot=f"snapshot-{one}")
        self.go_back(self.snapshots[one], result)

    @precondition(lambda self: self.before is not None and self.since_start > OFTEN)
    @rule()
    def undo(self) -> None:
        assert self.before is not None
        self.go_back(self.before, self.send("restore", undo="true"))

    def go_back(self, to: Clusters, result: pb.CommandResult) -> None:
        assert result.accepted, result.reason
        self.before, self.model = self.model, self.model.go_back(to, result.command_id)
        self.compare()

    @precondition(lambda self: self.since_start > RARELY)
    @rule()
    def reprocess(self) -> None:
        result = self.send("reprocess")
        assert result.accepted, result.reason
        results = {i: self.search_result(i) for i in self.model.images}
        found = {i: candidates for i, (candidates, _) in results.items()}
        self.before = self.model
        self.model = self.model.reprocess(found, {i for i, (_, searched) in results.items() if searched})
        self.compare()

    @precondition(lambda self: self.since_start > RARELY)
    @rule()
    def restart(self) -> None:
        self.start()
        self.compare()

    def compare(self) -> None:
        """Compare every table, the totals, and the worker's memory."""
        self.since_start += 1
        store, model = self.worker.store, self.model
        records = dict(store.images.all())
        assert {i: (r.head, r.ordinal, r.sequence, listed_under(r)) for i, r in records.items()} == {
            i: (m.head, m.ordinal, m.sequence, m.listed) for i, m in model.images.items()
        }
        assert {(k[2:-8].decode(), layout.number_of(k)): m.decode() for k, m in store.scan(Table.MEMBERS)} == {
            (m.head, m.listed): i for i, m in model.images.items()
        }
        clusters = dict(store.clusters.all())
        assert {h: (c.size, list(c.representatives), c.updated_sequence) for h, c in clusters.items()} == {
            head: (len(model.members(head)), model.searched[head], model.updated[head]) for head in model.heads
        }
        assert {head: list(store.members.page(head, 1_000).image_ids) for head in model.heads} == {
            head: model.members(head) for head in model.heads
        }
        large = sorted((head for head in model.heads if len(model.members(head)) > 1), key=lambda h: -model.updated[h])
        assert store.clusters.recent(1_000) == large
        self.compare_history()
        self.compare_totals()
        self.compare_memory()

    def compare_history(self) -> None:
        store, model = self.worker.store, self.model
        found: dict[str, dict[int, Made]] = {}
        for key, value in store.scan(Table.HISTORY):
            made = decode_decision(value)
            assert made.sequence == layout.number_of(key)
            found.setdefault(key[2:-8].decode(), {})[made.sequence] = Made(
                made.head, made.cause, made.override_id, made.replaced_head
            )
        assert found == model.history
        redirects = {k: store_pb.Redirect.FromString(value).head for k, value in store.scan(Table.REDIRECTS)}
        assert redirects == {layout.hash_key(old): new for old, new in model.redirects.items()}
        forgotten = {k: store_pb.Forgotten.FromString(value).upto_ms for k, value in store.scan(Table.FORGOTTEN)}
        assert forgotten == {layout.hash_key(i): upto for i, upto in model.forgotten.items()}
        overrides = {o.override_id: (o.action, o.image_id, o.other_id) for o in store.overrides.all()}
        assert overrides == model.overrides
        assert {o.override_id for o in self.worker.worker.redeciding.overrides} == set(overrides)

    def compare_totals(self) -> None:
        state, model = self.worker.store.state(), self.model
        digest = sum(layout.assignment_digest(i, m.head) for i, m in model.images.items())
        assert state.digest == layout.digest_after(bytes(16), digest)
        found = (state.images, state.clusters, state.sequence, state.ordinals, state.redirects, state.forgotten)
        expected = (len(model.images), len(model.heads), model.sequence, model.ordinals, model.renamed)
        assert found == (*expected, model.forgettings)
        assert state.commands == self.commands
        assert [layout.number_of(key) for key, _ in self.worker.store.scan(Table.COMMIT)] == [state.commit]

    def compare_memory(self) -> None:
        store, model, corpus = self.worker.store, self.model, self.worker.worker.corpus
        vectors = {record.image_id: (ordinal, record) for ordinal, record in store.vectors.numbered()}
        assert {i: ordinal for i, (ordinal, _) in vectors.items()} == {i: m.ordinal for i, m in model.images.items()}
        ids = [""] * model.ordinals
        for i, m in model.images.items():
            ids[m.ordinal] = i
            assert corpus.id_of(corpus.head_of(m.ordinal)) == m.head
            searched = i in model.searched[m.head]
            assert bool(corpus.retired(np.array([m.ordinal]))[0]) != searched
            assert vectors[i][1].retired != searched
            assert np.array_equal(corpus.vectors.rows.lsh[m.ordinal], m.vector)
        assert list(corpus.ids()) == ids

    def teardown(self) -> None:
        self.machines.end()
        shutil.rmtree(self.folder, ignore_errors=True)


TestCorrections = Corrections.TestCase
# An example has many steps.
TestCorrections.settings = settings(max_examples=max(1, settings.default.max_examples // 5), stateful_step_count=20)
