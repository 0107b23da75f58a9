"""Any damage to the cluster tables is found, and repaired from the records of the images."""

import shutil
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table, listed_under
from neardup_platform.store.survey import Survey
from neardup_platform.store.writer import Batch, Store
from neardup_platform.stream.repair import repair
from neardup_platform.testing import InMemoryWorker, families
from neardup_platform.wire.codec import decode_decision
from neardup_platform.wire.topics import DECISIONS
from tests.stream.rearranged import assert_store_agrees, heads

number = st.integers(0, 1_000)
KINDS = ["edge", "listing", "place", "size", "gone", "made", "searched", "recent", "redirect", "head", "total"]
damages = st.lists(st.tuples(st.sampled_from(KINDS), number, number), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose store has corrections."""
    home = tmp_path_factory.mktemp("sound") / "home"
    with closing(InMemoryWorker(home)) as worker:
        images = families(6, 5, noise=0.15)
        worker.decide(images)
        for head, _ in list(worker.store.clusters.all())[:2]:
            worker.run_command("override", action="alone", image_id=head)
        worker.run_command("forget", image_id=worker.store.clusters.recent(1)[0])
        worker.store.flush()
        assert_store_agrees(worker.store)
    return home


class Damaged:
    """A store that gets damaged."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def damage(self, kind: str, one: int, other: int) -> None:
        batch = Batch()
        getattr(self, kind)(batch, self.image(one), self.image(other), other)
        self.store.write(batch)

    def image(self, n: int) -> str:
        ids = [image_id for image_id, _ in self.store.images.all()]
        return [*ids, "nobody"][n % (len(ids) + 1)]

    def record(self, image_id: str) -> store_pb.ImageRecord:
        return self.store.images.find(image_id) or store_pb.ImageRecord(head=image_id, sequence=1)

    def cluster(self, head: str) -> tuple[str, store_pb.ClusterRecord]:
        clusters = dict(self.store.clusters.all())
        head = head if head in clusters else min(clusters)
        return head, clusters[head]

    def edge(self, batch: Batch, image_id: str, _other: str, _n: int) -> None:
        record = self.record(image_id)
        batch.delete(Table.MEMBERS, layout.sequence_key(record.head, listed_under(record)))

    def listing(self, batch: Batch, image_id: str, other: str, n: int) -> None:
        sequence = listed_under(self.record(image_id)) if n % 2 else n % 50 + 1
        batch.put(Table.MEMBERS, layout.sequence_key(self.record(image_id).head, sequence), other.encode())

    def place(self, batch: Batch, image_id: str, other: str, n: int) -> None:
        if image_id != "nobody":
            record = self.record(image_id)
            record.member_sequence = listed_under(self.record(other)) if n % 2 else n % 50 + 1
            batch.put(Table.IMAGES, image_id.encode(), record.SerializeToString())

    def size(self, batch: Batch, image_id: str, _other: str, n: int) -> None:
        head, cluster = self.cluster(image_id)
        cluster.size = n % 9
        batch.put(Table.CLUSTERS, head.encode(), cluster.SerializeToString())

    def gone(self, batch: Batch, image_id: str, _other: str, _n: int) -> None:
        head, _ = self.cluster(image_id)
        batch.delete(Table.CLUSTERS, head.encode())

    def made(self, batch: Batch, image_id: str, _other: str, n: int) -> None:
        made = store_pb.ClusterRecord(size=n % 4, updated_sequence=n % 40, representatives=[image_id])
        if not self.store.clusters.exists(image_id):
            batch.put(Table.CLUSTERS, image_id.encode(), made.SerializeToString())

    def searched(self, batch: Batch, image_id: str, other: str, n: int) -> None:
        head, cluster = self.cluster(image_id)
        known = self.store.images.find(other)
        if n % 3 and (known is None or known.head != head or other in cluster.representatives):
            cluster.representatives.append(other)
        elif head in cluster.representatives:
            cluster.representatives.remove(head)
        batch.put(Table.CLUSTERS, head.encode(), cluster.SerializeToString())

    def recent(self, batch: Batch, image_id: str, other: str, n: int) -> None:
        head, cluster = self.cluster(image_id)
        batch.delete(Table.RECENT, layout.recent_key(head, cluster.updated_sequence))
        batch.put(Table.RECENT, layout.recent_key(other, n % 50), layout.number_key(n % 50))

    def redirect(self, batch: Batch, image_id: str, other: str, _n: int) -> None:
        batch.put(Table.REDIRECTS, layout.hash_key(image_id), store_pb.Redirect(head=other).SerializeToString())

    def head(self, batch: Batch, image_id: str, other: str, _n: int) -> None:
        if image_id != "nobody":
            record = self.record(image_id)
            record.head = other
            batch.put(Table.IMAGES, image_id.encode(), record.SerializeToString())

    def total(self, batch: Batch, _image_id: str, _other: str, n: int) -> None:
        state = self.store.state()
        match n % 4:
            case 0:
                state.images += 1
            case 1:
                state.clusters -= 1
            case 2:
                state.sequence = 3
            case _:
                state.digest = bytes(16)
        batch.put_state(state)


@given(damages)
@example([("head", 8, 448)])
def test_any_damage_is_found_and_repaired_and_every_image_has_a_valid_head(
    sound: Path, tmp_path_factory: pytest.TempPathFactory, damages: list[tuple[str, int, int]]
) -> None:
    home = tmp_path_factory.mktemp("damaged")
    shutil.copytree(sound / "store", home / "store")
    with closing(Store(home / "store")) as store:
        damaged = Damaged(store)
        for damage in damages:
            damaged.damage(*damage)
        before, then = heads(store), store.state()
        repaired = repair(store, 0)
        assert repaired.left == []
        assert_store_agrees(store)
        now = heads(store)
        assert set(now) == set(before)
        moved = {image_id for image_id, head in before.items() if now[image_id] != head}
        assert all(before.get(head) != head for head in (before[image_id] for image_id in moved))
        assert repaired.decisions == len(moved)
        published = [
            decode_decision(e.value)
            for n, e in store.outbox.pending()
            if e.topic == DECISIONS and n > then.outbox_number
        ]
        assert {(d.image_id, d.head, d.cause) for d in published} == {(i, now[i], "repair") for i in moved}
        changed = (store.state().store_id, store.state().commit) != (then.store_id, then.commit)
        assert changed == bool(repaired.mended)
        assert Survey(store).findings == []
    shutil.rmtree(home)
