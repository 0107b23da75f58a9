"""What a what-if tries, on which hours. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from neardup_platform.errors import BadCommand

_VERSION = re.compile("[0-9a-f]{12}")
DEFAULT_PAIRS = 200_000
MAX_PAIRS = 5_000_000
_TERMS = (
    "a term setting cannot be tried on records: they hold only the candidates that the present terms found. Measure it "
    "on labelled pictures with `neardup tune`, or `reprocess` a store of its own and compare"
)


@dataclass(frozen=True, slots=True)
class Question:
    """What to try, on which hours.

    Attributes:
        hours: starts of hours, ascending, at least one.
        match, head: constant thresholds, 0…1; None for those that apply with the classifier.
        classifier: a version in the registry, shipped, or in the settings; empty for the recorded scores.
        terms: a term setting, which is refused with the reason.
        most_pairs: scored again at most, with a classifier; the newest images first.

    Raises:
        BadCommand: there is nothing to try, or it cannot be tried.
    """

    hours: Sequence[datetime]
    match: float | None = None
    head: float | None = None
    classifier: str = ""
    terms: str = ""
    most_pairs: int = DEFAULT_PAIRS

    def __post_init__(self) -> None:
        if self.terms:
            raise BadCommand(f"terms is {self.terms!r}: {_TERMS}")
        if self.match is None and self.head is None and not self.classifier:
            raise BadCommand("nothing to try: give a match threshold, a head threshold or a classifier")
        if self.classifier and not _VERSION.fullmatch(self.classifier):
            raise BadCommand(f"{self.classifier[:40]!r} is no classifier: 12 hex digits, see `neardup classifier list`")
        for name, value in (("match", self.match), ("head", self.head)):
            if value is not None and not 0 < value < 1:
                raise BadCommand(f"the {name} threshold is {value}, a probability between 0 and 1 is expected")
        if not 0 < self.most_pairs <= MAX_PAIRS:
            raise BadCommand(f"most_pairs is {self.most_pairs}, 1 to {MAX_PAIRS:,} is expected")
