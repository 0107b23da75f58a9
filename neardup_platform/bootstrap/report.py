"""What a check finds in a data set: the fates of its rows in numbers, and every bad row with its reason. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from neardup_platform.bootstrap.parquet_rows import Rows
from neardup_platform.bootstrap.row_checks import REASON_NAMES, REASONS
from neardup_platform.bootstrap.row_fates import NONE, Fate, Fates
from neardup_platform.counted import counted

EXAMPLES = 50
# Bad rows that the full report lists.
MAX_LISTED = 1_000_000
_DETAIL_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class BadExample:
    """A bad row.

    Attributes:
        row: its number in the file, from 0.
        image_id: as text; bytes that are not UTF-8 are replaced.
        reason: a code of `row_checks.py`.
    """

    file: str
    row: int
    image_id: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The result of a check.

    Attributes:
        headed: images with a given head, in one or two rows.
        undecided: images with both embeddings and without head.
        halves: rows with one embedding, whose partner is not in the data set.
        joined: second rows of images in two rows.
        repeated: rows equal to an earlier one.
        bad: by reason.
        outside_heads: headed images whose head is not in the data set; the worker must know it.
        founded: clusters that the heads found.
        first_ms, last_ms: event times of the images; 0 where there are none.
        vectors: whether the vectors of every row were checked; otherwise the worker checks those of headed images.
        examples: the first bad rows, at most `EXAMPLES`.
    """

    rows: int
    headed: int
    undecided: int
    halves: int
    joined: int
    repeated: int
    bad: Mapping[str, int]
    outside_heads: int
    founded: int
    first_ms: int
    last_ms: int
    vectors: bool
    examples: tuple[BadExample, ...]

    @property
    def bad_rows(self) -> int:
        """The number of bad rows."""
        return sum(self.bad.values())

    def flat(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return asdict(self)


def report_of(rows: Rows, fates: Fates, *, vectors: bool) -> CheckReport:
    """The report of a check; `vectors` as of `CheckReport`."""
    counts, headed = fates.counts(), fates.rows(Fate.HEADED)
    images = np.concatenate([headed, fates.rows(Fate.UNDECIDED)])
    times = fates.event_time_ms[images]
    return CheckReport(
        rows=len(rows),
        headed=counts["headed"],
        undecided=counts["undecided"],
        halves=counts["half"],
        joined=counts["joined"],
        repeated=counts["repeated"],
        bad=dict(fates.bad()),
        outside_heads=int((fates.founder[headed] == NONE).sum()),
        founded=int((fates.founder[headed] == headed).sum()),
        first_ms=int(times.min(initial=2**62)) if len(times) else 0,
        last_ms=int(times.max(initial=0)),
        vectors=vectors,
        examples=tuple(_example(rows, fates, row) for row in np.flatnonzero(fates.reasons)[:EXAMPLES].tolist()),
    )


def read_report(content: Mapping[str, Any]) -> CheckReport:
    """The report that `flat` returned."""
    return CheckReport(**{**content, "examples": tuple(BadExample(**each) for each in content["examples"])})


def bad_rows_of(rows: Rows, fates: Fates) -> pa.Table:
    """Every bad row, at most `MAX_LISTED`: its file, number, image id, head, reason, and what is wrong where known."""
    bad = np.flatnonzero(fates.reasons)[:MAX_LISTED]
    files = np.searchsorted(rows.starts, bad, side="right") - 1
    return pa.table(
        {
            "file": pa.DictionaryArray.from_arrays(pa.array(files.astype(np.int32)), pa.array(rows.files)),
            "row": pa.array(bad - rows.starts[files]),
            # Not text: what is wrong may be that they are none.
            "image_id": rows.image_id.take(pa.array(bad)),
            "head": rows.head.take(pa.array(bad)),
            "reason": pa.DictionaryArray.from_arrays(
                pa.array(fates.reasons[bad].astype(np.int8)), pa.array(REASON_NAMES)
            ),
            "detail": pa.array([rows.details.get(row) for row in bad.tolist()], pa.string()),
        }
    )


def check_in_words(report: CheckReport) -> str:
    """A report, on a few lines."""
    first = (
        f"{counted(report.rows, 'row')}: {counted(report.headed, 'image')} with a head "
        f"({counted(report.founded, 'cluster')}), {report.undecided} to decide, "
        f"{counted(report.halves, 'unpaired embedding')}, {report.repeated} repeated, {report.bad_rows} bad"
    )
    lines = [first]
    if report.joined:
        lines.append(f"  {counted(report.joined, 'image')} in two rows, one for each embedding")
    if report.outside_heads:
        lines.append(f"  {counted(report.outside_heads, 'image')} with a head that is not in the data set")
    if not report.vectors:
        lines.append("  the vectors of images with a head are checked by the worker")
    lines += [f"  {count} {reason}: {REASONS[reason]}" for reason, count in sorted(report.bad.items())]
    lines += [f"    {each.file} row {each.row}: {each.detail}" for each in report.examples[:5]]
    return "\n".join(lines)


def _example(rows: Rows, fates: Fates, row: int) -> BadExample:
    file, number = rows.place(row)
    reason = REASON_NAMES[fates.reasons[row]]
    image_id = (rows.image_id[row].as_py() or b"").decode(errors="replace")
    detail = rows.details.get(row) or _about(rows, row, reason)
    return BadExample(file, number, image_id, reason, detail[:_DETAIL_CHARACTERS])


def _about(rows: Rows, row: int, reason: str) -> str:
    image_id, head = ((each[row].as_py() or b"").decode(errors="replace")[:80] for each in (rows.image_id, rows.head))
    names = f" names {head!r}" if reason in ("dangling-head", "head-chain", "conflicting-head") else ""
    return f"image {image_id!r}{names}: {REASONS[reason]}"
