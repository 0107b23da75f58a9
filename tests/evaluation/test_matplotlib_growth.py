"""The plots by corpus size and by threshold, also for unusual data."""

import io

import numpy as np
import pytest
from PIL import Image

from neardup_platform.evaluation.matplotlib_growth import (
    Limits,
    draw_recall_by_size,
    draw_tail,
    draw_wrong_matches,
    nines,
)

LEVELS = np.linspace(-4, 16, 100)
COUNTED = 1e3 * np.exp(-LEVELS) * (LEVELS < 8)


def rows_of(wrong: float, recall: float) -> list[dict]:
    return [
        {
            "images": size,
            "extrapolated": size > 5_000,
            **{f"wrong_matches_per_1000{end}": wrong * size * by for end, by in (("", 1), ("_low", 0.5), ("_high", 2))},
            "wrong_matches_per_1000_high": max(wrong * size * 2, 1.0),
            **{f"recall_at_p99{end}": recall * by for end, by in (("", 1), ("_low", 0.9), ("_high", 1))},
        }
        for size in (1_000, 5_000, 100_000, 10_000_000)
    ]


PLOTS = {
    "wrong matches": lambda dark: draw_wrong_matches(rows_of(1e-3, 0.9), Limits(9.0, 1e5), dark=dark),
    "recall": lambda dark: draw_recall_by_size(rows_of(1e-3, 0.9), dark=dark),
    "tail": lambda dark: draw_tail(LEVELS, COUNTED, 1e3 * np.exp(-LEVELS), threshold=0.0, dark=dark),
}


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_is_drawn_for_light_and_dark_backgrounds(name: str) -> None:
    light, dark = (Image.open(io.BytesIO(PLOTS[name](dark))) for dark in (False, True))
    assert light.size == dark.size
    assert light.convert("L").getpixel((2, 2)) > 200
    assert dark.convert("L").getpixel((2, 2)) < 60


def test_other_values_give_another_plot() -> None:
    limits = Limits(9.0, 1e5)
    assert draw_wrong_matches(rows_of(1e-3, 0.9), limits) != draw_wrong_matches(rows_of(1e-2, 0.9), limits)
    assert draw_recall_by_size(rows_of(0, 0.9)) != draw_recall_by_size(rows_of(0, 0.0))
    assert draw_tail(LEVELS, COUNTED, None, threshold=0.0) != draw_tail(LEVELS, 2 * COUNTED, COUNTED, threshold=0.0)


def test_an_evaluation_without_a_wrong_or_a_true_match_can_be_drawn() -> None:
    for content in (
        draw_wrong_matches(rows_of(0.0, 0.0), Limits(0.0, 1e5)),
        draw_wrong_matches(rows_of(0.0, 0.0)[:1], Limits(0.0, 1e5)),
        draw_tail(LEVELS, np.zeros(100), None, threshold=0.0),
    ):
        assert content.startswith(b"\x89PNG")


def test_a_score_close_to_one_is_not_rounded_to_one() -> None:
    assert [nines(score) for score in (0.495, 0.99, 0.9978, 0.999987)] == ["0.495", "0.990", "0.9978", "0.999987"]
