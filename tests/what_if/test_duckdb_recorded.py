"""Claims about recorded decisions as columns."""

from pathlib import Path

import numpy as np
import pytest

from neardup_platform.errors import NotFound
from neardup_platform.what_if.duckdb_recorded import read_recorded
from tests.what_if.records import TABLES, decision, parquet, recorded

FIRST = [
    decision(1, "a"),
    decision(2, "b", "a", [("a", 0.9, "a")], head_score=0.9),
    decision(3, "c", "old", [("x", 0.85, "old"), ("a", 0.3, "a")], head_score=0.5),
]


def test_images_come_in_the_order_of_their_decisions_and_mentioned_ones_after_them(tmp_path: Path) -> None:
    found = recorded(tmp_path, reversed(FIRST))
    assert found.ids.to_pylist() == ["a", "b", "c", "old", "x"]
    assert found.names(found.head) == ["a", "a", "old"]
    assert found.names(found.outside_head) == ["old", "old"]
    edges = found.edges
    assert edges.starts.tolist() == [0, 0, 1, 3]
    assert found.names(edges.candidate) == ["a", "x", "a"]
    assert edges.score.tolist() == pytest.approx([0.9, 0.85, 0.3])


def test_the_last_decision_of_an_image_counts_and_a_repeat_changes_nothing(tmp_path: Path) -> None:
    moved = decision(4, "b", "c", [("a", 0.9, "a")], cause="override", override_id="o")
    found = recorded(tmp_path, [*FIRST, *FIRST, moved])
    assert len(found) == 3
    assert found.names([0, 1, 2]) == ["a", "c", "b"]
    assert found.names(found.head) == ["a", "old", "c"]
    assert found.pinned.tolist() == [False, False, True]


def test_a_forgotten_image_is_left_out_until_it_comes_again(tmp_path: Path) -> None:
    forgotten = decision(4, "b", cause="forget")
    forgotten.head = ""
    assert recorded(tmp_path, [*FIRST, forgotten]).names([0, 1]) == ["a", "c"]
    assert recorded(tmp_path, [*FIRST, forgotten, decision(5, "b")]).names([0, 1, 2]) == ["a", "c", "b"]


def test_a_handover_does_not_hide_the_decision_that_compared_candidates(tmp_path: Path) -> None:
    found = recorded(tmp_path, [*FIRST, decision(4, "b", "b", cause="handover", replaced_head="a")])
    assert found.edges.starts.tolist() == [0, 0, 1, 3]


def test_candidates_of_images_that_match_nothing_are_not_read(tmp_path: Path) -> None:
    weak = decision(4, "d", "", [("a", 0.4, "a")])
    assert recorded(tmp_path, [*FIRST, weak], least_score=0.5).edges.starts.tolist() == [0, 0, 1, 3, 3]
    lower = decision(4, "d", "", [("a", 0.4, "a")], threshold=0.3)
    assert recorded(tmp_path, [*FIRST, lower], least_score=0.5).edges.starts.tolist() == [0, 0, 1, 3, 4]


def test_equal_terms_are_those_of_all_tables(tmp_path: Path) -> None:
    copy = decision(2, "b", "a", [("a", 0.9, "a")])
    copy.candidates[0].overlap = TABLES
    assert recorded(tmp_path, [FIRST[0], copy]).edges.copy.tolist() == [True]


def test_files_of_earlier_versions_are_read(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    file = parquet(tmp_path, FIRST)
    older = pq.read_table(file).drop_columns(["guard", "undistinctive", "corpus_images"])
    pq.write_table(older, tmp_path / "older.parquet")
    found = read_recorded([tmp_path / "older.parquet"], tmp_path)
    assert (found.undistinctive.any(), found.corpus_images.tolist(), found.held.any()) == (False, [0, 0, 0], False)


def test_hours_without_decisions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no decision"):
        recorded(tmp_path, [])


def test_known_ids_are_found(tmp_path: Path) -> None:
    found = recorded(tmp_path, FIRST)
    assert found.nodes(["x", "nobody", "a"]) == {"x": 4, "a": 0}
    assert np.array_equal(found.homes, [0, 0, 3, 3, 3])
