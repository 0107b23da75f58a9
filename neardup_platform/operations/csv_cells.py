"""Cells of CSV files that people open in a spreadsheet and that commands read back. Pure.

A spreadsheet calculates a cell that begins with `=`, `+`, `-`, `@`, a tab or a line break, in quotes or not, and an
image id may begin so. Such a cell is written with an apostrophe before it, which is taken away when it is read. So that
nothing else changes, one that begins with apostrophes and then has such a character gets one, too. Every cell is in
quotes: a spreadsheet that separates cells by `;` would otherwise find one within ours.

Source: OWASP, CSV Injection.
"""

import csv
import re
from collections.abc import Iterable
from typing import TextIO

# The wide forms are those of East Asian input methods.
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def to_cell(value: object) -> str:
    """The text of a value, which no spreadsheet calculates; `from_cell` returns it."""
    text = str(value)
    return f"'{text}" if _FORMULA.match(text) else text


def from_cell(cell: str) -> str:
    """The text that a cell stands for: without the apostrophe that guards it, if one does."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def write_cells(rows: Iterable[Iterable[object]], out: TextIO) -> None:
    """Write rows, the header first."""
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows(map(to_cell, row) for row in rows)
