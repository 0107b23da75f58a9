"""Claims about the table of thresholds: which row applies, what is rejected, and how a card carries it."""

from dataclasses import asdict
from typing import Any

import pytest

from neardup_platform.scoring.threshold_table import StratumThresholds, ThresholdStep, ThresholdTable


def thresholds(match: float, head: float = 0.5) -> StratumThresholds:
    return StratumThresholds(match, head, 1.0, 0.5, 2.0, 0.99, 0.9)


TABLE = ThresholdTable(
    0.4,
    (
        ThresholdStep(0, thresholds(0.8), thresholds(0.8, 0.6)),
        ThresholdStep(10, thresholds(0.8), thresholds(0.9, 0.7)),
        ThresholdStep(1_000, thresholds(0.95, 0.6), thresholds(0.97, 0.8)),
    ),
)


@pytest.mark.parametrize(
    ("images", "distinctive", "undistinctive"),
    [(0, 0.8, 0.8), (9, 0.8, 0.8), (10, 0.8, 0.9), (999, 0.8, 0.9), (1_000, 0.95, 0.97), (10**9, 0.95, 0.97)],
)
def test_a_step_holds_from_its_size_up_to_the_next(images: int, distinctive: float, undistinctive: float) -> None:
    assert TABLE.at(images, undistinctive=False).match == distinctive
    assert TABLE.at(images, undistinctive=True).match == undistinctive


def test_what_was_written_is_read() -> None:
    assert ThresholdTable.parse(asdict(TABLE)) == TABLE
    assert ThresholdTable.parse({**asdict(TABLE), "crowding": None}).crowding is None


@pytest.mark.parametrize(
    "steps",
    [
        (),
        TABLE.steps[1:],
        (TABLE.steps[0], TABLE.steps[0]),
        (TABLE.steps[0], TABLE.steps[2], TABLE.steps[1]),
        (ThresholdStep(0, thresholds(0.9), thresholds(0.9)), ThresholdStep(5, thresholds(0.8), thresholds(0.9))),
        (ThresholdStep(0, thresholds(0.9), thresholds(0.9)), ThresholdStep(5, thresholds(0.9), thresholds(0.9, 0.4))),
    ],
)
def test_steps_that_do_not_rise_from_an_empty_corpus_are_rejected(steps: tuple[ThresholdStep, ...]) -> None:
    with pytest.raises(ValueError, match=r"steps at|thresholds fall"):
        ThresholdTable(None, steps)


@pytest.mark.parametrize(("match", "head"), [(1.0, 0.5), (0.5, 0.6), (0.5, 0.0), (float("nan"), 0.5)])
def test_thresholds_that_are_none_are_rejected(match: float, head: float) -> None:
    with pytest.raises(ValueError, match="0 < head <= match < 1"):
        thresholds(match, head)


@pytest.mark.parametrize("damage", [{"crowding": "much"}, {"steps": None}, {"steps": [{"images": 0}]}])
def test_a_damaged_table_is_rejected(damage: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        ThresholdTable.parse({**asdict(TABLE), **damage})
