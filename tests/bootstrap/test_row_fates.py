"""The fate of each row of a data set: what is loaded, decided or published, and what is bad for which reason."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from neardup_platform.bootstrap.row_checks import CODES, REASON_NAMES
from neardup_platform.bootstrap.row_fates import Fate, Fates, Known, fates_of
from tests.bootstrap.data_files import NOW_MS, Row, read, row


def told(fates: Fates) -> list[str]:
    """Of each row its fate, or the reason why it is bad."""
    return [
        REASON_NAMES[reason] if reason else Fate(fate).name.lower()
        for fate, reason in zip(fates.fate.tolist(), fates.reasons.tolist(), strict=True)
    ]


def only(*names: str) -> Known:
    return lambda heads: np.array([name.decode() in names for name in heads.to_pylist()])


def test_rows_are_headed_undecided_or_half(tmp_path: Path) -> None:
    fates = fates_of(read(tmp_path, [row("a", "a"), row("b", "a"), row("c"), row("d", kinds="l"), row("e", kinds="p")]))
    assert told(fates) == ["headed", "headed", "undecided", "half", "half"]
    assert fates.founder.tolist() == [0, 0, -1, -1, -1]


def test_two_halves_in_two_files_are_one_image_of_the_later_time(tmp_path: Path) -> None:
    first = [row("a", kinds="p", at=NOW_MS), row("h", "h")]
    second = [row("a", "h", kinds="l", at=NOW_MS - 9)]
    fates = fates_of(read(tmp_path, first, second))
    assert told(fates) == ["joined", "headed", "headed"]
    assert (fates.partner.tolist(), fates.event_time_ms[2]) == ([2, -1, 0], NOW_MS)


def test_the_head_of_an_image_in_two_rows_may_be_in_either(tmp_path: Path) -> None:
    rows = [row("a", kinds="l"), row("a", "a", kinds="p"), row("b", "a")]
    fates = fates_of(read(tmp_path, rows))
    assert told(fates) == ["headed", "joined", "headed"]
    assert (fates.head.tolist(), fates.founder.tolist()) == ([1, -1, 2], [0, -1, 0])


def test_two_halves_that_name_different_heads_are_bad(tmp_path: Path) -> None:
    rows = [row("a", "a", kinds="l"), row("a", "h", kinds="p"), row("h", "h")]
    assert told(fates_of(read(tmp_path, rows))) == ["conflicting-head", "conflicting-head", "headed"]


def test_equal_rows_count_once(tmp_path: Path) -> None:
    fates = fates_of(read(tmp_path, [row("a", "a")], [row("a", "a"), row("b", "a")]))
    assert told(fates) == ["headed", "repeated", "headed"]
    assert fates.first.tolist() == [0, 0, 2]


@pytest.mark.parametrize(
    "other",
    [row("a", "b"), row("a"), row("a", "a", at=NOW_MS - 1), row("a", "a", kinds="l")],
    ids=["head", "no-head", "time", "half"],
)
def test_rows_of_one_id_that_differ_are_all_bad_and_who_names_them_dangles(tmp_path: Path, other: Row) -> None:
    rows = read(tmp_path, [row("a", "a"), other, row("m", "a"), row("b", "b")])
    assert told(fates_of(rows, only())) == ["duplicate", "duplicate", "dangling-head", "headed"]


def test_a_bad_row_does_not_spoil_a_good_row_of_the_same_id(tmp_path: Path) -> None:
    fates = fates_of(read(tmp_path, [row("a", "a", lsh_version="l0"), row("a", "a")]))
    assert told(fates) == ["other-version", "headed"]
    assert fates.founder.tolist() == [-1, 1]


def test_a_head_must_be_known_or_name_itself(tmp_path: Path) -> None:
    rows = read(tmp_path, [row("a", "stored"), row("b", "nowhere"), row("c"), row("d", "c"), row("h", "h")])
    assert told(fates_of(rows, only("stored", "h"))) == [
        "headed",
        "dangling-head",
        "undecided",
        "dangling-head",
        "headed",
    ]
    assert told(fates_of(rows)) == ["headed", "headed", "undecided", "headed", "headed"]


def test_a_head_that_names_another_is_a_chain_even_if_known(tmp_path: Path) -> None:
    rows = read(tmp_path, [row("a", "b"), row("b", "c"), row("c", "c")])
    assert told(fates_of(rows, only("b"))) == ["head-chain", "headed", "headed"]


def test_one_embedding_cannot_bring_a_head(tmp_path: Path) -> None:
    fates = fates_of(read(tmp_path, [row("a", "a", kinds="l"), row("b", "a")]), only())
    assert told(fates) == ["unpaired-head", "dangling-head"]


def test_what_the_vectors_show_changes_the_fates_of_others(tmp_path: Path) -> None:
    rows = read(tmp_path, [row("a", "a"), row("b", "a"), row("c"), row("c")])
    found = np.zeros(4, np.uint8)
    found[0], found[3] = CODES["not-finite"], CODES["duplicate"]
    fates = fates_of(rows, only(), found)
    assert told(fates) == ["not-finite", "dangling-head", "duplicate", "duplicate"]
    assert fates.bad() == {"not-finite": 1, "dangling-head": 1, "duplicate": 2}


def test_images_are_in_order_of_event_time_and_a_founder_is_before_its_members(tmp_path: Path) -> None:
    rows = [
        row("old", "late", at=NOW_MS - 50),
        row("same", "late", at=NOW_MS),
        row("late", "late", at=NOW_MS),
        row("stored", "outside", at=NOW_MS - 20),
        row("u2", at=NOW_MS - 1),
        row("u1", at=NOW_MS - 2),
    ]
    fates = fates_of(read(tmp_path, rows))
    assert fates.headed().tolist() == [3, 2, 0, 1]
    assert fates.undecided().tolist() == [5, 4]


def test_rows_without_id_are_bad_each_by_itself(tmp_path: Path) -> None:
    rows = read(tmp_path, [row(None), row(None, "a"), row("a", "a")])
    assert told(fates_of(rows)) == ["bad-id", "bad-id", "headed"]
    assert isinstance(rows.image_id, pa.LargeBinaryArray)
