"""What the demo prints is counted, lists every failure, and can be pasted into a shell."""

import io
import shlex
from pathlib import Path

from rich.console import Console

from samples.alterations import Copy
from samples.comparison import compare
from samples.report import COMPLETE_SHOWN, clusters_table, next_commands, print_comparison

ORIGINALS = [f"p{number:02}.jpg" for number in range(COMPLETE_SHOWN + 5)]
COPIES = [Copy(name, Path(f"{Path(name).stem}--crop.jpg"), "crop") for name in ORIGINALS]
PERFECT = {name: name for name in ORIGINALS} | {copy.image_id: copy.original_id for copy in COPIES}


def printed(heads: dict[str, str]) -> str:
    console = Console(file=io.StringIO(), width=120)
    print_comparison(console, compare(ORIGINALS, COPIES, heads))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_omitted_complete_originals_are_counted() -> None:
    table = clusters_table(compare(ORIGINALS, COPIES, PERFECT))
    assert table.row_count == COMPLETE_SHOWN
    assert str(table.caption).startswith("and 5 more")


def test_every_original_with_a_missed_copy_is_shown() -> None:
    lonely = COPIES[-1].image_id
    text = printed(PERFECT | {lonely: lonely})
    assert ORIGINALS[-1] in text
    assert "16/17" in text


def test_wrong_merges_and_undecided_images_are_listed() -> None:
    heads = PERFECT | {COPIES[0].image_id: ORIGINALS[1]}
    del heads[ORIGINALS[2]]
    text = printed(heads)
    assert f"{COPIES[0].image_id} is with {ORIGINALS[1]}" in text
    assert f"Undecided: 1 ({ORIGINALS[2]}" in text


def test_commands_use_a_found_copy_and_its_head() -> None:
    commands = [shlex.split(line) for line in next_commands(compare(ORIGINALS, COPIES, PERFECT), "neardup")]
    assert commands == [
        ["neardup", "lookup", "p00--crop.jpg"],
        ["neardup", "members", "p00.jpg"],
        ["neardup", "explain", "p00--crop.jpg"],
    ]


def test_no_commands_are_shown_if_nothing_was_decided() -> None:
    assert next_commands(compare(ORIGINALS, COPIES, {}), "neardup") == []
