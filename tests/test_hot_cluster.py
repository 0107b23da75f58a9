"""Claims about a large cluster: all members are stored, few are searched, and nothing else changes."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from neardup_platform.pipeline import Pipeline
from neardup_platform.records import Decision, JoinedImage
from neardup_platform.testing import (
    BLOCK_IMAGES,
    LSH_DIM,
    MAX_REPRESENTATIVES,
    InMemoryWorker,
    families,
    image,
    small_pipeline,
)
from neardup_platform.wire.codec import decode_decision, encode_decision

# The most that one query can find of a single cluster: its representatives, and its members in the window.
BOUND = MAX_REPRESENTATIVES + 2 * BLOCK_IMAGES
# Each example opens two stores: shrinking a failing one would take minutes and reveal nothing more.
WITH_RESTARTS = settings(max_examples=12, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))


def flood(count: int, noise: float = 0.15, seed: int = 7, name: str = "flood") -> list[JoinedImage]:
    """Nearly equal images, whose terms differ by about a third."""
    rng = np.random.default_rng(seed)
    vector = rng.standard_normal(LSH_DIM)
    return [image(f"{name}/{n}", vector + noise * rng.standard_normal(LSH_DIM)) for n in range(count)]


def mixed(count: int, seed: int) -> list[JoinedImage]:
    """Two floods, one of them barely joining, and small families, in any order."""
    images = [
        *flood(count, seed=seed),
        *flood(count // 2, noise=0.3, seed=seed + 1, name="loose"),
        *families(6, 3, seed, noise=0.25),
    ]
    return [images[i] for i in np.random.default_rng(seed).permutation(len(images))]


def decide(pipeline: Pipeline, images: list[JoinedImage], sizes: list[int]) -> list[Decision]:
    decisions: list[Decision] = []
    turn = 0
    while len(decisions) < len(images):
        at, size = len(decisions), sizes[turn % len(sizes)]
        for batch in pipeline.decide(images[at : at + size], at + 1, 7):
            decisions += batch.decisions
        turn += 1
    return decisions


def stored(decisions: list[Decision]) -> list[Decision]:
    """Returns decisions as stored: scores in single precision."""
    return [decode_decision(encode_decision(decision)) for decision in decisions]


@contextmanager
def temporary_home() -> Iterator[Path]:
    with TemporaryDirectory(prefix="neardup-hot-") as home:
        yield Path(home)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[InMemoryWorker]:
    with closing(InMemoryWorker(tmp_path)) as worker:
        yield worker


def test_a_flood_becomes_one_cluster_that_is_stored_whole_and_indexed_by_few_members(worker: InMemoryWorker) -> None:
    images = flood(500)
    worker.decide(images)
    cluster = worker.store.clusters.get("flood/0")
    assert worker.store.members.page("flood/0", 1_000).image_ids == tuple(i.image_id for i in images)
    assert cluster.size == 500
    assert len(cluster.representatives) == MAX_REPRESENTATIVES
    assert cluster.representatives[0] == "flood/0"
    held = [record.image_id for record in worker.store.vectors.all() if not record.retired]
    assert held == list(cluster.representatives)

    index = worker.index
    index.flush()
    sealed = np.concatenate([segment.part.ordinals for segment in index.segments])
    assert sorted(sealed.tolist()) == [worker.store.images.find(i).ordinal for i in held]  # type: ignore[union-attr]
    assert max(segment.end for segment in index.segments) >= 500 - 2 * BLOCK_IMAGES
    assert index.metrics()["index_images"] <= BOUND


def test_only_the_head_of_nearly_equal_members_is_indexed(worker: InMemoryWorker) -> None:
    worker.decide(flood(200, noise=0.005))
    assert worker.store.clusters.get("flood/0").size == 200
    assert worker.store.clusters.get("flood/0").representatives == ["flood/0"]


def test_every_head_is_searched_and_representatives_are_members_within_the_bound(worker: InMemoryWorker) -> None:
    worker.decide(mixed(200, 3))
    records = list(worker.store.vectors.all())
    retired = {record.image_id for record in records if record.retired}
    heads = {record.head for record in worker.store.images.find_many([r.image_id for r in records])}  # type: ignore[union-attr]
    assert len(heads) > 6
    for head in heads:
        representatives = list(worker.store.clusters.get(head).representatives)
        members = list(worker.store.members.page(head, 1_000).image_ids)
        assert representatives == [member for member in members if member not in retired]
        assert representatives[0] == head
        assert len(representatives) <= MAX_REPRESENTATIVES


def test_the_candidates_of_a_query_do_not_grow_with_its_cluster() -> None:
    images = flood(600)
    found = [decision.candidates_found for decision in decide(small_pipeline(), images, [7])]
    assert max(found) <= BOUND
    assert min(found[2 * BLOCK_IMAGES :]) >= MAX_REPRESENTATIVES
    boundless = decide(small_pipeline(max_representatives=10_000), images, [7])
    assert boundless[-1].candidates_found > 2 * BOUND


def test_a_flood_joins_the_cluster_it_would_join_if_all_its_members_were_searched() -> None:
    images = flood(300)
    bounded, boundless = (
        decide(small_pipeline(max_representatives=most), images, [16]) for most in (MAX_REPRESENTATIVES, 10_000)
    )
    assert [d.head for d in bounded] == [d.head for d in boundless] == ["flood/0"] * 300


def test_a_flood_does_not_hide_an_older_image_from_its_copy() -> None:
    """If every member were searched, the copies nearer to the query would fill all ten places."""
    (first, *others) = flood(400)
    unlike = np.random.default_rng(11).standard_normal(LSH_DIM)
    older = image("older", first.lsh.vector + 0.6 * unlike)
    query = image("query", first.lsh.vector + 0.2 * unlike)
    strangers = families(2 * BLOCK_IMAGES, 0)
    for most, seen in ((MAX_REPRESENTATIVES, True), (10_000, False)):
        pipeline = small_pipeline(max_representatives=most, max_candidates=10)
        *_, decision = decide(pipeline, [older, first, *others, *strangers, query], [16])
        assert ("older" in {candidate.image_id for candidate in decision.candidates}) is seen


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 1_000), st.lists(st.integers(1, 90), min_size=1, max_size=4))
def test_decisions_do_not_depend_on_the_batches_while_images_are_retired(seed: int, sizes: list[int]) -> None:
    images = mixed(110, seed)
    expected = decide(small_pipeline(), images, [1])
    for batches in ([7], [64], sizes):
        assert decide(small_pipeline(), images, batches) == expected


def test_batch_sizes_change_neither_digest_nor_representatives(tmp_path: Path) -> None:
    images = mixed(150, 5)
    states = []
    for size in (1, 7, 64):
        with closing(InMemoryWorker(tmp_path / str(size))) as worker:
            worker.decide(images, size)
            retired = [record.retired for record in worker.store.vectors.all()]
            states.append((worker.store.state().digest, retired, worker.decisions()))
    assert states[0] == states[1] == states[2]
    assert any(states[0][1])


@WITH_RESTARTS
@given(st.integers(0, 1_000), st.integers(1, 180), st.integers(1, 40), st.booleans(), st.booleans())
def test_a_restart_changes_no_decision(seed: int, cut: int, size: int, flushed: bool, lost: bool) -> None:
    """At any point, with sealed segments written or not, and with the index deleted meanwhile."""
    images = mixed(110, seed)
    expected = stored(decide(small_pipeline(), images, [1]))
    with temporary_home() as home:
        with closing(InMemoryWorker(home)) as worker:
            worker.decide(images[:cut], size)
            if flushed:
                worker.index.flush()
        if lost:
            for path in (home / "index").iterdir():
                path.unlink()
        with closing(InMemoryWorker(home)) as worker:
            worker.decide(images[cut:], size)
            assert worker.decisions() == expected


@WITH_RESTARTS
@given(st.integers(0, 1_000), st.integers(1, 180), st.integers(1, 40))
@example(3, 60, 10)
def test_a_crash_between_sealing_and_committing_changes_no_decision(seed: int, cut: int, size: int) -> None:
    """The index may have written segments of images that were never committed."""
    images = mixed(110, seed)
    expected = stored(decide(small_pipeline(), images, [1]))
    with temporary_home() as home:
        with closing(InMemoryWorker(home)) as worker:
            worker.decide(images[:cut], 7)
            worker.decide_uncommitted(images[cut : cut + size])
            worker.index.flush()
        with closing(InMemoryWorker(home)) as worker:
            worker.decide(images[cut:], 7)
            assert worker.decisions() == expected
