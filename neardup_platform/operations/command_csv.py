"""Commands in a CSV file: a header, then the arguments of one command a row, by name. All rows are read or none.

An apostrophe before a cell that a spreadsheet would calculate is not part of it; see csv_cells.py.
"""

import csv
import io
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from neardup_platform.errors import BadCommand
from neardup_platform.operations.csv_cells import from_cell
from neardup_platform.wire.command_arguments import CommandArguments

MAX_BYTES = 16 << 20
_REPORTED = 10

Arguments = TypeVar("Arguments", bound=CommandArguments)
Rows = TypeVar("Rows")


@dataclass(frozen=True, slots=True)
class CommandCsv(Generic[Arguments]):
    """One kind of such files.

    Attributes:
        noun: what a row is.
        required: columns that it must have.
        optional: columns that it may have.
        max_rows: that it may have.
        parse: reads the cells of a row that are not empty; see `CommandArguments.parse`.
    """

    noun: str
    required: Collection[str]
    optional: Collection[str]
    max_rows: int
    parse: Callable[[Mapping[str, str]], Arguments]

    def read(self, text: str, place: str) -> list[Arguments]:
        """Read all rows of a file, in order.

        Args:
            text: its content, at most `MAX_BYTES`.
            place: names it in errors.

        Raises:
            BadCommand: a column is missing or unknown, there are no rows or too many, or rows are wrong or repeated;
                the text names the first such lines. Cells of a file without the right columns are not repeated.
        """
        if len(text.encode()) > MAX_BYTES:
            raise BadCommand(f"{place} is larger than {MAX_BYTES >> 20} MiB: split it")
        lines = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), restkey="", strict=True)
        try:
            found, problems = self._rows(lines, place)
        except csv.Error as error:
            raise BadCommand(f"{place}, line {lines.line_num}, is not CSV: {error}") from error
        if problems:
            more = f"; and {len(problems) - _REPORTED} more" if len(problems) > _REPORTED else ""
            raise BadCommand(f"{place}: {'; '.join(problems[:_REPORTED])}{more}; no {self.noun} was sent")
        if not found:
            raise BadCommand(f"{place} has no rows below its header: one for each {self.noun} is expected")
        return found

    def read_file(self, path: Path) -> list[Arguments]:
        """Read all rows of a file in UTF-8; see `read`.

        Raises:
            BadCommand: as of `read`; or it cannot be read.
        """
        try:
            with path.open("rb") as opened:
                content = opened.read(MAX_BYTES + 1)
            return self.read(content.decode(), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise BadCommand(f"{path} cannot be read as text in UTF-8: {error}") from error

    def _rows(self, lines: "csv.DictReader[str]", place: str) -> tuple[list[Arguments], list[str]]:
        names, columns = lines.fieldnames or (), {*self.required, *self.optional}
        if not set(self.required) <= set(names) <= columns or len(set(names)) < len(names):
            needed = f"column{'s' if len(self.required) > 1 else ''} {', '.join(self.required)}"
            allowed = f" and may have {', '.join(self.optional)}, each once" if self.optional else " once, and no other"
            raise BadCommand(f"{place} must have the {needed}{allowed}")
        found: dict[Arguments, int] = {}
        problems: list[str] = []
        for row in lines:
            at = lines.line_num
            if len(found) + len(problems) >= self.max_rows:
                raise BadCommand(f"{place} has more than {self.max_rows} rows: split it")
            try:
                if "" in row:
                    raise BadCommand(f"it has more than {len(names)} cells")
                arguments = self.parse({name: from_cell(cell) for name, cell in row.items() if cell})
            except BadCommand as error:
                problems.append(f"line {at}: {error}")
                continue
            if arguments in found:
                problems.append(f"line {at} repeats line {found[arguments]}")
            found.setdefault(arguments, at)
        return list(found), problems


def read_either(text: str, file: str, read: Callable[[str, str], Rows], read_file: Callable[[Path], Rows]) -> Rows:
    """Read the rows themselves, or a file of them, whichever is given.

    Args:
        text, file: one of them is empty.
        read: takes the rows, and a name of their place for errors.

    Raises:
        BadCommand: both are given, or none; or as of the two functions.
    """
    if bool(text) == bool(file):
        raise BadCommand("give either text, the rows themselves, or file, the path of a CSV file")
    return read(text, "text") if text else read_file(Path(file))
