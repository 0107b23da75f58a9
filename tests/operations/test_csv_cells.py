"""Claims about cells of CSV files: no spreadsheet calculates one, and every one is read back."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.operations.csv_cells import from_cell, to_cell, write_cells

FORMULA = tuple("=+-@\t\r\n\uff1d")
CELLS = st.text(st.sampled_from([*FORMULA, "'", '"', ",", ";", "a"]), max_size=6) | st.text(max_size=6)


@given(st.lists(st.lists(CELLS, min_size=2, max_size=2), max_size=4))
def test_what_is_written_is_read_back_and_begins_no_formula(rows: list[list[str]]) -> None:
    out = io.StringIO(newline="")
    write_cells(rows, out)
    cells = list(csv.reader(io.StringIO(out.getvalue(), newline=""), strict=True))
    assert not any(cell.startswith(FORMULA) for row in cells for cell in row)
    assert [[from_cell(cell) for cell in row] for row in cells] == rows


@pytest.mark.parametrize("cell", ["=1", "a=1", "'tis", "'", "", "it's"])
def test_cells_that_others_wrote_are_read_as_they_are(cell: str) -> None:
    assert from_cell(cell) == cell


def test_an_apostrophe_before_a_formula_guards_it() -> None:
    assert (from_cell("'=1"), to_cell("=1"), to_cell("'=1"), to_cell(-1)) == ("=1", "'=1", "''=1", "'-1")


def test_a_spreadsheet_that_separates_by_semicolons_finds_no_cell_within_ours() -> None:
    out = io.StringIO()
    write_cells([["a;=1", "b"]], out)
    assert next(csv.reader([out.getvalue()], delimiter=";")) == ['a;=1,"b"']
