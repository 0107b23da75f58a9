"""What must hold of a small worker's store and corpus after anything."""

from pathlib import Path

import numpy as np

from neardup_platform.clusters.override_terms import is_met
from neardup_platform.corpus import Corpus
from neardup_platform.store import layout
from neardup_platform.store.layout import Table, listed_under
from neardup_platform.store.view import StoreView
from neardup_platform.store.writer import Store
from neardup_platform.stream.recovery import rebuild_corpus
from neardup_platform.testing import MODELS, InMemoryWorker, small_index, small_term_space
from neardup_platform.wire.codec import decode_decision


def heads(store: StoreView) -> dict[str, str]:
    return {image_id: record.head for image_id, record in store.images.all()}


def assert_sound(worker: InMemoryWorker, scratch: Path) -> None:
    assert_store_agrees(worker.store)
    assert_overrides_are_met(worker)
    rebuilt = rebuild_corpus(
        worker.store,
        small_term_space(),
        MODELS,
        lambda source: small_index(source, scratch / "index"),
        scratch / "vectors",
    )
    assert_same_corpus(worker.corpus, rebuilt)
    rebuilt.close()


def assert_store_agrees(store: StoreView) -> None:
    """Every image is in one cluster, heads head themselves, and sizes, edges, lists, digest and totals follow."""
    records, state = dict(store.images.all()), store.state()
    clusters = dict(store.clusters.all())
    assert (state.images, state.clusters) == (len(records), len(clusters))
    assert {record.head for record in records.values()} == set(clusters)
    edges = {member: head for head in clusters for _, member in store.members.all(head)}
    assert edges == {image_id: record.head for image_id, record in records.items()}
    assert sum(1 for _ in store.scan(Table.MEMBERS)) == len(records)
    digest = bytes(16)
    for image_id, record in records.items():
        assert records[record.head].head == record.head
        assert store.members.page(record.head, 1, listed_under(record) - 1).image_ids == (image_id,)
        assert decode_decision(store.history.current(image_id)).sequence == record.sequence
        digest = layout.digest_after(digest, layout.assignment_digest(image_id, record.head))
    assert state.digest == digest
    for head, cluster in clusters.items():
        members = [member for _, member in store.members.all(head)]
        assert cluster.size == len(members)
        assert head in cluster.representatives
        assert len(set(cluster.representatives)) == len(cluster.representatives)
        assert set(cluster.representatives) <= set(members)
    assert set(store.clusters.recent(10_000)) == {head for head, cluster in clusters.items() if cluster.size > 1}
    assert len(store.clusters.recent(10_000)) == len(set(store.clusters.recent(10_000)))
    redirected = {key for key, _ in store.scan(Table.REDIRECTS)}
    assert not redirected & {layout.hash_key(head) for head in clusters}
    vectors = {record.image_id: ordinal for ordinal, record in store.vectors.numbered()}
    assert vectors == {image_id: record.ordinal for image_id, record in records.items()}
    represent = {member for cluster in clusters.values() for member in cluster.representatives}
    assert represent == {record.image_id for record in store.vectors.all() if not record.retired}


def assert_overrides_are_met(worker: InMemoryWorker) -> None:
    now = heads(worker.store)
    assert all(override.image_id in now for override in worker.redeciding.overrides)
    stored = {override.override_id for override in worker.store.overrides.all()}
    assert stored == {override.override_id for override in worker.redeciding.overrides}
    for override in worker.redeciding.overrides:
        assert is_met(override, now.get), override


def assert_same_corpus(found: Corpus, expected: Corpus) -> None:
    everything = np.arange(len(expected))
    assert list(found.ids()) == list(expected.ids())
    assert found.heads_of(everything).tolist() == expected.heads_of(everything).tolist()
    assert found.retired(everything).tolist() == expected.retired(everything).tolist()
    live = np.unique(expected.heads_of(everything))
    for head in live[live >= 0].tolist():
        assert found.representatives_of(head) == expected.representatives_of(head)
        assert found.size_of(head) == expected.size_of(head)
    rows = (each.vectors.rows.at(everything).all for each in (found, expected))
    for mine, theirs in zip(*rows, strict=True):
        assert np.array_equal(mine, theirs)


def assert_gone(store: Store, image_id: str) -> None:
    """No table has anything of an image but that it was forgotten."""
    prefix, key = layout.id_prefix(image_id), image_id.encode()
    for table in (Table.IMAGES, Table.CLUSTERS):
        assert key not in {found for found, _ in store.scan(table)}
    assert not [found for found, _ in store.scan(Table.HISTORY) if found.startswith(prefix)]
    assert not [found for found, _ in store.scan(Table.MEMBERS) if found.startswith(prefix)]
    assert key not in {member for _, member in store.scan(Table.MEMBERS)}
    assert image_id not in {layout.recent_head(listed) for listed, _ in store.scan(Table.RECENT)}
    assert image_id not in {record.image_id for record in store.vectors.all()}
    assert image_id not in {name for o in store.overrides.all() for name in (o.image_id, o.other_id)}
    assert store.images.forgotten(image_id) is not None
