"""Claims about the expected wrong matches of a window of decisions."""

import pytest

from neardup_platform.decisions_log.wrong_matches import DecidedAlike, WrongMatches, expected_wrong_matches
from neardup_platform.scoring.threshold_table import StratumThresholds, ThresholdStep, ThresholdTable


def thresholds(match: float, wrong: float) -> StratumThresholds:
    return StratumThresholds(match, 0.5, wrong, wrong / 2, wrong * 2, 0.99, 0.9)


TABLE = ThresholdTable(
    0.4,
    (
        ThresholdStep(0, thresholds(0.8, 1), thresholds(0.8, 2)),
        ThresholdStep(100, thresholds(0.8, 10), thresholds(0.9, 20)),
    ),
)


def test_decisions_count_by_their_number_at_their_size_and_stratum() -> None:
    decided = [
        DecidedAlike("v", 0.8, undistinctive=False, images=50.0, decisions=30),
        DecidedAlike("v", 0.9, undistinctive=True, images=150.0, decisions=10),
    ]
    found = expected_wrong_matches(decided, {"v": TABLE})
    assert found == WrongMatches(40, pytest.approx(5.75), pytest.approx(2.875), pytest.approx(11.5))


def test_thresholds_of_the_settings_and_classifiers_without_a_table_are_left_out() -> None:
    other = DecidedAlike("v", 0.7, undistinctive=False, images=50.0, decisions=30)
    old = DecidedAlike("old", 0.8, undistinctive=False, images=50.0, decisions=30)
    assert expected_wrong_matches([other, old], {"v": TABLE, "old": None}) is None
    known = DecidedAlike("v", 0.8, undistinctive=False, images=150.0, decisions=1)
    found = expected_wrong_matches([other, old, known], {"v": TABLE, "old": None})
    assert found is not None
    assert (found.decisions, found.per_1000) == (1, 10)
