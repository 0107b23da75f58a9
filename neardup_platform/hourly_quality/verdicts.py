"""What a check of an hour found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of a check.

    Attributes:
        name: of the check.
        problem: with the next step; None if there is none.
        severe: whether images may be missing.
    """

    name: str
    problem: str | None
    severe: bool = False
