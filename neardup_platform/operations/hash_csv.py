"""PDQ hashes in a CSV file: as `neardup bank export --hashes` writes it, and as tools around ThreatExchange do.

| file | columns |
|---|---|
| an export | `bank`, `pdq`, `policy`, `action`, may have `reason`, and who added it and when |
| of the `threatexchange` command | `collab`, `signal_type`, `signal_str`, `category`, `tags` |
| of a bank or a hash list | `pdq`, `hash`, `signal_str` or `indicator`; may have `quality`, `signal_type` or `type` |
| of a ThreatExchange tag, of HMA's samples | no header: the hash first, then whatever follows |

Bank, policy, action and reason are columns, or are given for all rows. Other columns are ignored. Rows of another type
of signal, of a quality that is not matched, and repeated ones are left out and counted; any other wrong row refuses the
file.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from neardup_platform.client.answers import StoredHash
from neardup_platform.errors import BadCommand
from neardup_platform.operations.csv_cells import from_cell, write_cells
from neardup_platform.records import LEAST_PDQ_QUALITY
from neardup_platform.wire.command_arguments import MAX_HASHES_EACH, LabelHashesArguments, pdq_text
from neardup_platform.wire.validation import MAX_PDQ_QUALITY

MAX_BYTES, MAX_ROWS = 64 << 20, 250_000
COLUMNS = ("bank", "pdq", "policy", "action", "reason", "label_id", "issued_by", "at_ms")
_HASH, _TYPE = ("pdq", "hash", "signal_str", "indicator"), ("signal_type", "type")
_PDQ_TYPES = ("pdq", "hash_pdq")
_REPORTED = 10
# By bank and hash: the terms, and the line that has them first.
Wanted = dict[tuple[str, str], tuple["HashTerms", int]]
OTHER_TYPE, LOW_QUALITY, REPEATED = "of another type", f"of a quality below {LEAST_PDQ_QUALITY}", "repeated"


@dataclass(frozen=True, slots=True)
class HashTerms:
    """What all rows without such a column have."""

    bank: str = ""
    policy: str = ""
    action: str = ""
    reason: str = ""


@dataclass(slots=True)
class HashFile:
    """What is in a file.

    Attributes:
        commands: put its hashes into banks.
        left_out: rows that are not, by reason.
    """

    commands: list[LabelHashesArguments] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def hashes(self) -> int:
        """How many hashes are sent."""
        return sum(len(command.hashes) for command in self.commands)

    def planned(self) -> dict[str, Any]:
        """What would be sent, by name."""
        banks = {command.bank for command in self.commands}
        return {"hashes": self.hashes, "banks": len(banks), "left_out": dict(self.left_out)}


def lists_images(text: str) -> bool:
    """Return whether a CSV file has labels of images instead of hashes."""
    header, *_ = text.removeprefix("\ufeff").split("\n", 1)
    return "image_id" in (name.strip(' "\r') for name in header.split(","))


def read_text(path: Path) -> str:
    """Return the text of a CSV file in UTF-8.

    Raises:
        BadCommand: it is too large, or cannot be read.
    """
    try:
        with path.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise BadCommand(f"{path} is larger than {MAX_BYTES >> 20} MiB: split it")
        return content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise BadCommand(f"{path} cannot be read as text in UTF-8: {error}") from error


def read_hashes(text: str, place: str, terms: HashTerms = HashTerms()) -> HashFile:
    """Read all rows of a file.

    Args:
        text: its content.
        place: names it in errors.
        terms: for rows without such columns.

    Raises:
        BadCommand: there is no column of hashes or no hash, there are too many rows, or rows are wrong; the text names
            the first such lines.
    """
    found, problems = HashFile(), list[str]()
    wanted: Wanted = {}
    for at, row in _rows(text, place):
        try:
            if why := _left_out(row) or _want(wanted, row, at, terms):
                found.left_out[why] += 1
        except ValueError as error:
            problems.append(f"line {at}: {error}")
    if problems:
        more = f"; and {len(problems) - _REPORTED} more" if len(problems) > _REPORTED else ""
        raise BadCommand(f"{place}: {'; '.join(problems[:_REPORTED])}{more}; no hash was sent")
    found.commands = list(_commands(wanted, place))
    if not found.commands:
        left_out = "".join(f"; {count:,} rows are {why}" for why, count in found.left_out.items())
        raise BadCommand(f"{place} has no PDQ hashes that can be matched{left_out}")
    return found


def write_hashes(hashes: Iterable[StoredHash], out: TextIO) -> None:
    """Write hashes as rows below a header."""
    write_cells([COLUMNS, *([getattr(each, name) for name in COLUMNS] for each in hashes)], out)


def _rows(text: str, place: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    """The rows with the numbers of their lines."""
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    names: list[str] | None = None
    count = 0
    try:
        for line in reader:
            cells = [from_cell(cell.strip()) for cell in line]
            if names is None:
                names = _names(cells, place)
                if names == cells:
                    continue
            count += 1
            if count > MAX_ROWS:
                raise BadCommand(f"{place} has more than {MAX_ROWS:,} rows: split it")
            if any(cells):
                yield reader.line_num, dict(zip(names, cells, strict=False))
    except csv.Error as error:
        raise BadCommand(f"{place}, line {reader.line_num}, is not CSV: {error}") from error


def _names(cells: list[str], place: str) -> list[str]:
    """The header; for a file without one, that its first column has the hashes."""
    if set(_HASH) & set(cells):
        return cells
    try:
        pdq_text(cells[0] if cells else "")
    except ValueError:
        raise BadCommand(
            f"{place} has no column image_id, for labels of images, and none of hashes ({', '.join(_HASH)}), nor a "
            "hash in place of a header"
        ) from None
    return ["pdq"]


def _first(row: Mapping[str, str], names: Sequence[str]) -> str:
    return next((row[name] for name in names if name in row), "")


def _left_out(row: Mapping[str, str]) -> str:
    """Why a row is left out; empty if it is not."""
    kind = _first(row, _TYPE).lower()
    if kind and kind not in _PDQ_TYPES:
        return OTHER_TYPE
    quality = row.get("quality", "")
    if not quality:
        return ""
    if not (quality.isdecimal() and int(quality) <= MAX_PDQ_QUALITY):
        raise ValueError(f"quality is {quality[:40]!r}, 0 to {MAX_PDQ_QUALITY} are expected")
    return LOW_QUALITY if int(quality) < LEAST_PDQ_QUALITY else ""


def _want(wanted: Wanted, row: Mapping[str, str], at: int, terms: HashTerms) -> str:
    """Add the hash of a row; returns why it is left out, empty if it is not."""
    own = HashTerms(**{name: row.get(name) or value for name, value in asdict(terms).items()})
    if missing := [name for name in ("bank", "policy", "action") if not getattr(own, name)]:
        raise ValueError(f"it has no {', '.join(missing)}: add the columns, or give them for all rows")
    pdq = pdq_text(_first(row, _HASH))
    first, line = wanted.setdefault((own.bank, pdq), (own, at))
    if (first.policy, first.action) != (own.policy, own.action):
        raise ValueError(f"hash {pdq} has another policy or action than in line {line}")
    return REPEATED if line != at else ""


def _commands(wanted: Wanted, place: str) -> Iterator[LabelHashesArguments]:
    by_terms: dict[HashTerms, list[str]] = {}
    lines: dict[HashTerms, int] = {}
    for (_, pdq), (own, line) in wanted.items():
        by_terms.setdefault(own, []).append(pdq)
        lines.setdefault(own, line)
    for own, hashes in by_terms.items():
        for at in range(0, len(hashes), MAX_HASHES_EACH):
            given = {**asdict(own), "hashes": "\n".join(hashes[at : at + MAX_HASHES_EACH])}
            try:
                yield LabelHashesArguments.parse(given)
            except BadCommand as error:
                raise BadCommand(f"{place}: line {lines[own]}: {error}; no hash was sent") from error
