"""A CSV of overrides is read as a whole or refused as a whole."""

from pathlib import Path

import pytest

from neardup_platform.errors import BadCommand
from neardup_platform.operations.override_csv import MAX_ROWS, read_override_file, read_overrides
from neardup_platform.wire.command_arguments import (
    AloneArguments,
    ForbidArguments,
    MergeArguments,
    MoveArguments,
    QuarantineArguments,
    RemoveArguments,
    SplitArguments,
)

HEADER = "action,image_id,other_id,override_id,reason\n"


def test_every_action_is_read_in_order() -> None:
    rows = 'move,a.jpg,b.jpg,,"one, and the same"\nalone,c.jpg,,,\nforbid,a.jpg,d.jpg,,\nremove,,,17,'
    assert read_overrides(HEADER + rows, "it") == [
        MoveArguments(image_id="a.jpg", other_id="b.jpg", reason="one, and the same"),
        AloneArguments(image_id="c.jpg"),
        ForbidArguments(image_id="a.jpg", other_id="d.jpg"),
        RemoveArguments(override_id="17"),
    ]


def test_overrides_of_clusters_are_read_with_one_id_a_line() -> None:
    rows = 'action,image_id,other_id,image_ids\nmerge,a,b,\nsplit,a,,"c\r\nd e"\nquarantine,a,,\n'
    assert read_overrides(rows, "it") == [
        MergeArguments(image_id="a", other_id="b"),
        SplitArguments(image_id="a", image_ids=("c", "d e")),
        QuarantineArguments(image_id="a"),
    ]
    assert read_overrides(rows, "it")[1].to_wire()["image_ids"] == "c\nd e"


def test_columns_may_be_missing_and_in_any_order() -> None:
    assert read_overrides("\ufeffimage_id,action\nc.jpg,alone\n", "it") == [AloneArguments(image_id="c.jpg")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must have the column action"),
        ("root:x:0:0\n", "must have the column action"),
        ("action,action\nalone,alone\n", "each once"),
        (HEADER, "no rows"),
        (HEADER + "move,a.jpg,,,\n", "line 2: override takes the arguments"),
        (HEADER + "join,a.jpg,b.jpg,,\n", "line 2: action is 'join'"),
        (HEADER + "alone,a.jpg,,,,,\n", "line 2: it has more than 5 cells"),
        (HEADER + "alone,a.jpg,,,\nalone,a.jpg,,,\n", "line 3 repeats line 2"),
        (HEADER + f"alone,a.jpg,,,{'y' * 501}\n", "the reason has 501 characters"),
        (HEADER + 'alone,"a.jpg\n', "is not CSV"),
        (HEADER + "".join(f"alone,{number},,,\n" for number in range(MAX_ROWS + 1)), "more than 5000 rows"),
    ],
)
def test_a_file_with_a_wrong_row_is_refused(text: str, reason: str) -> None:
    with pytest.raises(BadCommand, match="it") as refused:
        read_overrides(text, "it")
    assert reason in str(refused.value)
    assert "root" not in str(refused.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"action\xff")
    with pytest.raises(BadCommand, match="UTF-8"):
        read_override_file(path)
    with pytest.raises(BadCommand, match="cannot be read"):
        read_override_file(tmp_path / "missing.csv")
