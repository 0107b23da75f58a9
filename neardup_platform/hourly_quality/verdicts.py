"""What a check of an hour found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of a check.

    Attributes:
        name: of the check.
        problem: with the next step; None if there is none.
        severe: whether images may be missing.
        value: what was compared with the limit; None where nothing was.
        limit: the largest value that is no problem, or the smallest; None where there is no single one.
        good: what to say without a problem; empty for what the asset says.
    """

    name: str
    problem: str | None
    severe: bool = False
    value: float | None = None
    limit: float | None = None
    good: str = ""

    @property
    def numbers(self) -> dict[str, float]:
        """Value and limit, as far as there are any."""
        named = {"value": self.value, "limit": self.limit}
        return {name: float(number) for name, number in named.items() if number is not None}
