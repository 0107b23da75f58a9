"""Labels in a CSV file, as `neardup bank export` writes it and `neardup bank import` reads it.

bank,image_id,policy,action,reason
hate-2026,bridge.jpg,hate,block,reported twice

The export has more columns, which say who added a label and when; an import ignores what they hold.
"""

from collections.abc import Iterable, Mapping
from typing import TextIO

from neardup_platform.client.answers import StoredLabel
from neardup_platform.operations.command_csv import CommandCsv
from neardup_platform.operations.csv_cells import write_cells
from neardup_platform.wire.command_arguments import LabelArguments

REQUIRED, OPTIONAL = ("bank", "image_id", "policy", "action"), ("reason",)
# Written by an export, and not part of a label that is sent.
_ORIGIN = ("label_id", "issued_by", "at_ms")
COLUMNS = (*REQUIRED, *OPTIONAL, *_ORIGIN)
# As many as the worker holds.
MAX_ROWS = 100_000


def _parse(cells: Mapping[str, str]) -> LabelArguments:
    return LabelArguments.parse({name: cell for name, cell in cells.items() if name not in _ORIGIN})


LABELS = CommandCsv("label", REQUIRED, (*OPTIONAL, *_ORIGIN), MAX_ROWS, _parse)


def write_labels(labels: Iterable[StoredLabel], out: TextIO) -> None:
    """Write labels as rows below a header."""
    write_cells([COLUMNS, *([getattr(label, name) for name in COLUMNS] for label in labels)], out)
