"""Pages that are one table: dead-letter reasons and errors; and the index of the decisions."""

import re
from pathlib import Path

from neardup_platform import errors
from neardup_platform.wire.codec import REASONS
from scripts.reference.markdown import code, page, table

_TITLE = re.compile(r"^# (?:ADR )?0*\d+[.:] *(.*)$", re.MULTILINE)


def reasons_page() -> str:
    """Every reason of a dead letter."""
    return page(
        "Dead-letter reasons",
        "`reason` of a message on `neardup.dead-letter`. [What to do about dead letters](../tasks/dead-letters.md).",
        table(("reason", "meaning"), [(code(reason), text) for reason, text in sorted(REASONS.items())]),
    )


def errors_page() -> str:
    """The tree of errors."""
    tree = re.search(r"^NeardupError$.*?\n\n", errors.__doc__ or "", re.DOTALL | re.MULTILINE)
    return page(
        "Errors",
        "Every error that the platform raises on purpose. The command line prints its text as one line and exits with "
        "status 1; the API answers with a [problem document](../api.md#errors).",
        f"```text\n{tree.group().rstrip() if tree else ''}\n```",
    )


def decisions_index(folder: Path) -> str:
    """The index of docs/adr."""
    records = [(path.name, _TITLE.search(path.read_text())) for path in sorted(folder.glob("0*.md"))]
    lines = [f"{int(name[:4])}. [{title.group(1) if title else name}]({name})" for name, title in records]
    about = (
        "Each page records one decision: the question, what was decided, what was rejected and why, what follows. A "
        "later decision may replace an earlier one; both stay. To add one, take the next number and run "
        "`make reference`."
    )
    return page("Decisions", about, "\n".join(lines))
