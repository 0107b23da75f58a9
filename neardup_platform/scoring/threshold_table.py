"""Thresholds by distinctiveness and corpus size, and how often they go wrong; part of a classifier.

Card → **thresholds of one image** → decision. An image meets every image before it, so with the same thresholds it has
ten times as many wrong matches in a corpus ten times as large, while it has as many copies as before. Thresholds
therefore rise with the number of images before it, in steps, so that a decision depends on nothing but the recorded
order. Undistinctive images (`scoring/distinctiveness.py`) have thresholds of their own. `learning` fits the table.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

_MOST_STEPS = 100


@dataclass(frozen=True, slots=True)
class StratumThresholds:
    """Thresholds of the images of one stratum, and what to expect of them, from held-out pairs.

    Attributes:
        match: pair score of a match, 0…1.
        head: pair score required against the head, above 0 and at most `match`.
        wrong_matches_per_1000: wrong matches expected of 1,000 such images decided during the step, if the corpus has
            the mixture of pictures that the classifier was trained on.
        wrong_matches_per_1000_low, wrong_matches_per_1000_high: 95% interval.
        precision: expected share of true matches among all, likewise.
        recall: share of the true pairs that match.

    Raises:
        ValueError: the thresholds are not 0 < head ≤ match < 1.
    """

    match: float
    head: float
    wrong_matches_per_1000: float
    wrong_matches_per_1000_low: float
    wrong_matches_per_1000_high: float
    precision: float
    recall: float

    def __post_init__(self) -> None:
        if not 0 < self.head <= self.match < 1:
            raise ValueError(f"thresholds {self.match} and {self.head} are not 0 < head <= match < 1")

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> "StratumThresholds":
        """Reads what `dataclasses.asdict` wrote."""
        return cls(**{field.name: float(content[field.name]) for field in fields(cls)})


@dataclass(frozen=True, slots=True)
class ThresholdStep:
    """The thresholds from a corpus size on.

    Attributes:
        images: in the corpus before the image to decide.
        distinctive, undistinctive: by stratum.
    """

    images: int
    distinctive: StratumThresholds
    undistinctive: StratumThresholds


@dataclass(frozen=True, slots=True)
class ThresholdTable:
    """The thresholds of every corpus size, constant within a step.

    Attributes:
        crowding: from which likeness to the reference on an image is undistinctive; None if only plain ones are.
        steps: ascending; the first begins with an empty corpus.

    Raises:
        ValueError: the steps are not ascending from 0, or a threshold falls from one step to the next.
    """

    crowding: float | None
    steps: tuple[ThresholdStep, ...]

    def __post_init__(self) -> None:
        sizes = [step.images for step in self.steps]
        if not 0 < len(sizes) <= _MOST_STEPS or sizes[0] or any(one >= other for one, other in pairwise(sizes)):
            raise ValueError(f"steps at {sizes} images: 1…{_MOST_STEPS} ascending from 0 are expected")
        for one, other in pairwise(self.steps):
            for before, after in ((one.distinctive, other.distinctive), (one.undistinctive, other.undistinctive)):
                if after.match < before.match or after.head < before.head:
                    raise ValueError(f"thresholds fall at {other.images} images, from {before} to {after}")

    def at(self, images: int, *, undistinctive: bool) -> StratumThresholds:
        """Returns the thresholds of an image.

        Args:
            images: in the corpus before it.
            undistinctive: its stratum.
        """
        step = self.steps[bisect_right(self.steps, images, key=lambda each: each.images) - 1]
        return step.undistinctive if undistinctive else step.distinctive

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> "ThresholdTable":
        """Reads what `dataclasses.asdict` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is no table.
        """
        crowding = content["crowding"]
        steps = tuple(
            ThresholdStep(
                int(step["images"]),
                StratumThresholds.parse(step["distinctive"]),
                StratumThresholds.parse(step["undistinctive"]),
            )
            for step in content["steps"]
        )
        return cls(None if crowding is None else float(crowding), steps)
