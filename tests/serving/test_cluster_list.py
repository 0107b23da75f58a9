"""Claims about the list of clusters: its orders, filters and pages."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.errors import PermanentError
from neardup_platform.serving import sqlite_clusters
from neardup_platform.serving.cluster_order import Listed, Place, Selection, Sort
from neardup_platform.serving.cursors import MAX_LIST_CURSOR, decode_list_cursor, encode_list_cursor
from neardup_platform.serving.sqlite_clusters import SqliteClusters

# Few values, so that many are equal.
HEADS = st.text(st.sampled_from("a\0ü/🦆"), min_size=1, max_size=3)
CLUSTERS = st.lists(
    st.builds(Listed, HEADS, st.integers(2, 5), st.integers(0, 4), st.integers(1, 4)),
    unique_by=lambda cluster: cluster.head,
    max_size=25,
)
SELECTIONS = st.builds(
    Selection,
    st.sampled_from(Sort),
    st.integers(2, 4),
    st.sampled_from([3, 4, Selection().max_size]),
    st.integers(0, 3),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteClusters]:
    clusters = SqliteClusters(tmp_path_factory.mktemp("list") / "clusters.sqlite")
    yield clusters
    clusters.close()


def filled(clusters: SqliteClusters, rows: list[Listed]) -> SqliteClusters:
    clusters.drop(clusters.page(Selection(), 1_000))
    clusters.put(rows)
    return clusters


def pages(clusters: SqliteClusters, selection: Selection, limit: int, **filters: set[str]) -> list[Listed]:
    """All pages, one after another."""
    found: list[Listed] = []
    after: Place | None = None
    while page := clusters.page(selection, limit, after, **filters):
        assert len(page) <= limit
        found += page
        after = selection.place_of(page[-1])
    return found


def ordered(rows: list[Listed], selection: Selection) -> list[Listed]:
    """What a list is by definition."""
    chosen = [
        row
        for row in rows
        if selection.min_size <= row.size <= selection.max_size and row.changed_ms >= selection.since_ms
    ]
    return sorted(chosen, key=selection.place_of, reverse=selection.sort != Sort.OLDEST)


@given(CLUSTERS, SELECTIONS, st.integers(1, 6), st.booleans(), st.sets(HEADS, max_size=4), st.booleans())
def test_pages_put_together_are_the_whole_selection_in_its_order(
    made: SqliteClusters, rows: list[Listed], selection: Selection, limit: int, few: bool, heads: set[str], inside: bool
) -> None:
    clusters, known = filled(made, rows), {row.head for row in rows}
    with pytest.MonkeyPatch.context() as patch:
        # Either index is read, whether or not few clusters pass the filter.
        patch.setattr(sqlite_clusters, "_SORTED", 1_000 if few else 0)
        assert pages(clusters, selection, limit) == ordered(rows, selection)
        wanted = heads if inside else known - heads
        named = {"inside": heads} if inside else {"outside": heads}
        found = pages(clusters, selection, limit, **named)
    assert found == ordered([row for row in rows if row.head in wanted], selection)


def test_a_cluster_is_listed_once_as_it_is_now(made: SqliteClusters) -> None:
    clusters = filled(made, [Listed("a", 2, 5, 1), Listed("b", 3, 6, 2)])
    clusters.put([Listed("a", 9, 7, 3)])
    assert [row.head for row in clusters.page(Selection(), 9)] == ["a", "b"]
    assert clusters.page(Selection(Sort.RECENT), 9)[0] == Listed("a", 9, 7, 3)


def test_a_cluster_that_changed_since_it_was_found_gone_stays(made: SqliteClusters) -> None:
    clusters = filled(made, [Listed("a", 2, 5, 1)])
    (found,) = clusters.page(Selection(), 9)
    clusters.put([Listed("a", 3, 6, 2)])
    clusters.drop([found])
    assert clusters.page(Selection(), 9) == [Listed("a", 3, 6, 2)]


def test_an_earlier_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "clusters.sqlite"
    path.write_bytes(b"left by a crash")
    clusters = SqliteClusters(path)
    assert clusters.page(Selection(), 9) == []
    clusters.close()
    with pytest.raises(sqlite3.Error):
        clusters.page(Selection(), 9)


@pytest.mark.parametrize("selection", [Selection(), Selection(Sort.RECENT), Selection(Sort.OLDEST)])
def test_a_page_reads_one_index_from_where_the_page_before_ended(made: SqliteClusters, selection: Selection) -> None:
    """Else the last page of a million clusters would read them all."""
    rows = [Listed(f"{n:05d}", 2, 7, n) for n in range(5_000)]
    clusters, steps = filled(made, rows), []
    after = selection.place_of(ordered(rows, selection)[-3])
    clusters._db.set_progress_handler(lambda: steps.append(1), 100)
    try:
        assert len(clusters.page(selection, 100, after)) == 2
    finally:
        clusters._db.set_progress_handler(None, 0)
    assert len(steps) < 50


@given(st.integers(-1, 1 << 62), st.integers(-1, (1 << 63) - 1), HEADS)
def test_a_cursor_gives_the_place_back(first: int, sequence: int, head: str) -> None:
    place = first, sequence, head.encode()
    assert decode_list_cursor("by size", encode_list_cursor("by size", place)) == place


def test_the_longest_cursor_fits_and_one_of_another_list_is_refused() -> None:
    cursor = encode_list_cursor("by size", (1, 2, b"x" * 512))
    assert len(cursor) <= MAX_LIST_CURSOR
    with pytest.raises(PermanentError, match="belongs to another list"):
        decode_list_cursor("by time", cursor)
    with pytest.raises(PermanentError, match="damaged"):
        decode_list_cursor("by size", cursor[:8])
