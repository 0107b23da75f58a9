"""How many wrong matches to expect of the decisions of a window, by what their classifiers measured. Pure.

Decisions by threshold, tables of thresholds → **wrong matches per 1,000 decisions, with an interval** → hourly report.
Nobody labels the stream, so this is an estimate: it holds as far as the stream resembles the training pictures.
`neardup evaluate` measures the same on labelled pictures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from neardup_platform.scoring.threshold_table import ThresholdTable

# Thresholds are stored as float32.
_TOLERANCE = 1e-6


class DecidedAlike(NamedTuple):
    """Decisions of the stream by one classifier, with the same thresholds.

    Attributes:
        classifier: its version.
        threshold: pair score of a match.
        undistinctive: whether the images are.
        images: in the corpus before them, the mean.
        decisions: how many.
    """

    classifier: str
    threshold: float
    undistinctive: bool
    images: float
    decisions: int


@dataclass(frozen=True, slots=True)
class WrongMatches:
    """An estimate, with its 95% interval.

    Attributes:
        decisions: that it covers; those with thresholds of the settings, or of a classifier without a table, are left
            out.
        per_1000, per_1000_low, per_1000_high: wrong matches per 1,000 of these decisions.
    """

    decisions: int
    per_1000: float
    per_1000_low: float
    per_1000_high: float


def expected_wrong_matches(
    decided: Sequence[DecidedAlike], tables: Mapping[str, ThresholdTable | None]
) -> WrongMatches | None:
    """Returns the mean over the decisions; None if no decision is covered.

    Args:
        decided: by classifier, threshold and distinctiveness.
        tables: by version of the classifier; None if it has none, or is not known.
    """
    rates, counts = [], []
    for group in decided:
        table = tables.get(group.classifier)
        if table is None:
            continue
        row = table.at(int(group.images), undistinctive=group.undistinctive)
        if abs(row.match - group.threshold) < _TOLERANCE:
            found = row.wrong_matches_per_1000, row.wrong_matches_per_1000_low, row.wrong_matches_per_1000_high
            rates.append(found)
            counts.append(group.decisions)
    if not counts:
        return None
    return WrongMatches(sum(counts), *np.average(rates, axis=0, weights=counts).tolist())
