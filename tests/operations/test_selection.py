"""Claims about choosing images to decide again, from a store."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from neardup_platform.errors import BadCommand, NotFound
from neardup_platform.operations.selection import Wanted, chosen, read_ids
from neardup_platform.settings import Settings
from neardup_platform.testing import InMemoryWorker, families

EARLY, LATE = families(3, 3)[:6], families(3, 3)[6:]


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[InMemoryWorker]:
    with closing(InMemoryWorker(tmp_path / "home")) as worker:
        worker.decide(EARLY, decided_ms=1_000)
        worker.decide(LATE, decided_ms=2_000)
        worker.store.flush()
        yield worker


@pytest.fixture
def settings(worker: InMemoryWorker, tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def ids(images: list) -> set[str]:
    return {each.image_id for each in images}


def test_members_follow_one_another_and_their_head_comes_first(worker: InMemoryWorker, settings: Settings) -> None:
    found = chosen(settings, Wanted(since_ms=0))
    heads = worker.heads()
    assert set(found) == ids(EARLY + LATE)
    assert [each for n, each in enumerate(found) if n == 0 or heads[found[n - 1]] != heads[each]] == sorted(
        set(heads.values())
    )
    member = next(each for each in found if heads[each] != each)
    assert chosen(settings, Wanted(cluster=member))[0] == heads[member]
    assert set(chosen(settings, Wanted(cluster=member))) == {each for each in found if heads[each] == heads[member]}


def test_a_sample_is_of_whole_clusters_with_their_heads_first(worker: InMemoryWorker, settings: Settings) -> None:
    heads = worker.heads()
    found = chosen(settings, Wanted(sample=2))
    assert len(found) in (2, 3)
    assert heads[found[0]] == found[0]
    assert set(chosen(settings, Wanted(sample=1_000))) == set(heads)
    with pytest.raises(BadCommand, match="not by several"):
        Wanted(sample=1, cluster=found[0]).check()


def test_times_and_classifiers_narrow_it_down(settings: Settings) -> None:
    assert set(chosen(settings, Wanted(until_ms=2_000))) == ids(EARLY)
    assert set(chosen(settings, Wanted(since_ms=1_001))) == ids(LATE)
    assert set(chosen(settings, Wanted(decided_by="cosine", since_ms=2_000))) == ids(LATE)
    with pytest.raises(BadCommand, match="no image is selected"):
        chosen(settings, Wanted(decided_by="another"))
    with pytest.raises(NotFound, match="none of the 1 images"):
        chosen(settings, Wanted(image_ids=[EARLY[0].image_id], since_ms=2_000))


def test_ids_that_are_not_decided_come_last_and_are_left_to_the_worker(settings: Settings) -> None:
    assert chosen(settings, Wanted(image_ids=["unknown", EARLY[0].image_id, "unknown"])) == [
        EARLY[0].image_id,
        "unknown",
    ]


def test_without_a_store_ids_stay_in_their_order_and_nothing_else_can_be_chosen(tmp_path: Path) -> None:
    nowhere = Settings(home=tmp_path / "elsewhere")
    assert chosen(nowhere, Wanted(image_ids=["b", "a", "b"])) == ["b", "a"]


def test_a_time_chooses_the_hours_of_a_query_and_not_among_what_it_returns() -> None:
    assert not Wanted(query="select 1", since_ms=1, until_ms=2).narrows
    assert Wanted(query="select 1", since_ms=1, until_ms=2, decided_by="v").narrows


def test_ids_are_read_line_by_line_and_a_bad_one_is_named(tmp_path: Path) -> None:
    file = tmp_path / "ids.txt"
    file.write_bytes(b"a\r\n\nb c\n")
    assert read_ids(file) == ["a", "b c"]
    file.write_bytes(b"a\n..\n")
    with pytest.raises(BadCommand, match=r"ids.txt, line 2: bad-id: '..' names a folder"):
        read_ids(file)
    file.write_bytes(b"\xff\n")
    with pytest.raises(BadCommand, match="not UTF-8"):
        read_ids(file)
