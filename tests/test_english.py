"""Words and phrases that a native engineer would not write do not come back.

Each was in an earlier version of our texts; beside it is what to write instead.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = (
    "neardup_platform",
    "assets",
    "jobs",
    "sensors",
    "resources",
    "samples",
    "scripts",
    "tests",
    "docs",
    ".github",
)
FILES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "Makefile", "mkdocs.yml", "definitions.py")
SUFFIXES = {".md", ".py", ".sh", ".yml", ".proto", ".html", ".js", ".jinja"}

UNUSUAL = (
    r"anew",  # again, rebuilt
    r"befell|befalls?",  # happened to
    r"obey(s|ed|ing)?",  # apply, carry out
    r"under way",  # in flight, in progress
    r"in force",  # active
    r"whoever",  # the caller, the sender, anyone who
    r"of before",  # previous
    r"of then",  # used by the snapshot, at that time
    r"in the making",  # under construction
    r"laid down",  # recorded, requested
    r"lies there",  # is stored, is in the log
    r"goes on",  # continues
    r"(is|are|was) to be",  # must be, will be
    r"told of|said of",  # reported, about
    r"gives? way",  # is closed first
    r"be it",  # whether
    r"at hand",  # available, current
    r"upon",  # on
    r"mend|mends|mending",  # repair
    r"deciding again",  # re-deciding
    r"bears? on",  # affects
    r"whence|wherein|whereof|thereof|herein|thereupon|hitherto|henceforth|lest|albeit|ere",  # archaic
)
_FOUND = re.compile(rf"\b({'|'.join(UNUSUAL)})\b", re.IGNORECASE)


def _texts() -> list[Path]:
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    return [path for path in [*found, *(ROOT / name for name in FILES)] if path != Path(__file__)]


def test_english_is_what_a_native_engineer_writes() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in _texts()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if _FOUND.search(line)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("word", ["anew", "Obeys", "in force", "whoever", "are to be"])
def test_unusual_words_are_found(word: str) -> None:
    assert _FOUND.search(f"a sentence that has {word} in it")
