"""Counts of skipped files by kind, limited in the number of kinds."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from neardup_platform.images.embedded_pictures import Refused

# Kinds listed; a folder with unusual names can have as many suffixes as files.
MOST_KINDS = 12
_OTHER = "of other kinds"
_EXAMPLE_CHARACTERS = 120


@dataclass(slots=True)
class Skipped:
    """Counts by kind, in order of first occurrence, and the first place of each."""

    kinds: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    def count(self, files: Iterable[Refused]) -> None:
        """Add files, each with its kind as the reason."""
        for file in files:
            known = file.reason in self.kinds or len(self.kinds) < MOST_KINDS
            kind = file.reason if known else _OTHER
            self.kinds[kind] = self.kinds.get(kind, 0) + 1
            self.examples.setdefault(kind, file.place)

    def as_json(self) -> list[dict[str, str | int]]:
        """One object per kind, most frequent first."""
        order = sorted(self.kinds, key=lambda kind: -self.kinds[kind])
        return [{"kind": kind, "files": self.kinds[kind], "example": self.examples[kind]} for kind in order]


def in_words(skipped: list[dict[str, str | int]]) -> str:
    """One line about `as_json`, with control characters in names escaped; empty if nothing was skipped."""
    if not skipped:
        return ""
    files = sum(int(each["files"]) for each in skipped)
    kinds = ", ".join(f"{each['files']} {each['kind']} ({_shown(str(each['example']))})" for each in skipped)
    return f"{files} {'files' if files > 1 else 'file'} skipped: {kinds}"


def _shown(place: str) -> str:
    return repr(place if len(place) <= _EXAMPLE_CHARACTERS else f"…{place[-_EXAMPLE_CHARACTERS:]}")
