"""Words and phrases that no native engineer would write do not come back.

Each was in an earlier version of our texts; the comment beside it is what to write instead.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("docs", ".github", "scripts", "neardup_platform", "assets", "jobs", "resources", "samples", "sensors")
FILES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "Makefile", "mkdocs.yml")
SUFFIXES = {".md", ".py", ".sh", ".yml"}

UNUSUAL = (
    r"anew",  # again, rebuilt
    r"befell",  # happened to
    r"obey(s|ed|ing)?",  # apply, carry out
    r"under way",  # in flight, in progress
    r"in force",  # active
    r"whoever (asked|asks|sent|wants)",  # the caller, the sender
    r"of before",  # previous
    r"of then",  # at that time
    r"(is|are) told",  # is reported
    r"in the making",  # under construction
)
_FOUND = re.compile(rf"\b({'|'.join(UNUSUAL)})\b", re.IGNORECASE)


def _texts() -> list[Path]:
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    return [path for path in [*found, *(ROOT / name for name in FILES)] if path != Path(__file__)]


@pytest.mark.parametrize("path", _texts(), ids=lambda path: str(path.relative_to(ROOT)))
def test_english_is_what_a_native_engineer_writes(path: Path) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if _FOUND.search(line) and "docs/reference/" not in str(path)  # those are made from the code, which is tested
    ]
    assert not found, "\n".join(found)
