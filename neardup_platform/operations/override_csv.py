"""Overrides in a CSV file: `action`, then the arguments of `override` by name.

action,image_id,other_id,reason
move,bridge--crop.jpg,bridge.jpg,the same photograph
forbid,bridge.jpg,tower.jpg,

The column `image_ids` of a `split` has one id a line, so the cell is quoted.
"""

import csv
import io
from pathlib import Path

from neardup_platform.errors import BadCommand
from neardup_platform.wire.command_arguments import OverrideArguments

COLUMNS = ("action", "image_id", "other_id", "image_ids", "override_id", "reason")
# The worker remembers the results of 10,000 commands, and a repeat of a file must find its own.
MAX_ROWS = 5_000
MAX_BYTES = 16 << 20
_REPORTED = 10


def read_overrides(text: str, place: str) -> list[OverrideArguments]:
    """Read all overrides of a file, in order.

    Args:
        text: its content, at most `MAX_BYTES`.
        place: names it in errors.

    Raises:
        BadCommand: a column is missing or unknown, there are no rows or too many, or rows are wrong or repeated; the
            text names the first such lines. Cells of a file without the right columns are not repeated.
    """
    if len(text.encode()) > MAX_BYTES:
        raise BadCommand(f"{place} is larger than {MAX_BYTES >> 20} MiB: split it")
    lines = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), restkey="", strict=True)
    try:
        found, problems = _read(lines, place)
    except csv.Error as error:
        raise BadCommand(f"{place}, line {lines.line_num}, is not CSV: {error}") from error
    if problems:
        more = f"; and {len(problems) - _REPORTED} more" if len(problems) > _REPORTED else ""
        raise BadCommand(f"{place}: {'; '.join(problems[:_REPORTED])}{more}; no override was sent")
    if not found:
        raise BadCommand(f"{place} has no rows below its header: one for each override is expected")
    return found


def read_override_file(path: Path) -> list[OverrideArguments]:
    """Read all overrides of a file in UTF-8; see `read_overrides`.

    Raises:
        BadCommand: as of `read_overrides`; or it cannot be read.
    """
    try:
        with path.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
        return read_overrides(content.decode(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise BadCommand(f"{path} cannot be read as text in UTF-8: {error}") from error


def _read(lines: "csv.DictReader[str]", place: str) -> tuple[list[OverrideArguments], list[str]]:
    names = lines.fieldnames or ()
    if not {"action"} <= set(names) <= set(COLUMNS) or len(set(names)) < len(names):
        raise BadCommand(f"{place} must have the column action and may have {', '.join(COLUMNS[1:])}, each once")
    found: dict[OverrideArguments, int] = {}
    problems: list[str] = []
    for row in lines:
        at = lines.line_num
        if len(found) + len(problems) >= MAX_ROWS:
            raise BadCommand(f"{place} has more than {MAX_ROWS} rows: split it")
        try:
            if "" in row:
                raise BadCommand(f"it has more than {len(names)} cells")
            override = OverrideArguments.parse({name: cell for name, cell in row.items() if cell})
        except BadCommand as error:
            problems.append(f"line {at}: {error}")
            continue
        if override in found:
            problems.append(f"line {at} repeats line {found[override]}")
        found.setdefault(override, at)
    return list(found), problems
