"""The plots: PNG for light and dark backgrounds, also for unusual data."""

import io

import numpy as np
import pytest
from PIL import Image

from neardup_platform.evaluation.matplotlib_scores import (
    draw_cluster_sizes,
    draw_precision_recall,
    draw_reliability,
    draw_score_histograms,
)
from neardup_platform.evaluation.measures import pair_curve

RNG = np.random.default_rng(0)
SCORES = RNG.random(400).astype(np.float32)
TRUE = RNG.random(400) < SCORES
CURVE = pair_curve(SCORES, TRUE, 10)
assert CURVE is not None

PLOTS = {
    "precision and recall": lambda dark: draw_precision_recall(CURVE, interval=(0.1, 0.2), dark=dark),
    "reliability": lambda dark: draw_reliability(SCORES, TRUE, dark=dark),
    "scores": lambda dark: draw_score_histograms(SCORES, TRUE, threshold=0.7, dark=dark),
    "sizes": lambda dark: draw_cluster_sizes({1: 900, 2: 30, 70: 1}, groups={1: 880, 2: 40}, dark=dark),
}


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_is_drawn_for_light_and_dark_backgrounds(name: str) -> None:
    light, dark = (Image.open(io.BytesIO(PLOTS[name](dark))) for dark in (False, True))
    assert light.size == dark.size
    assert light.convert("L").getpixel((2, 2)) > 200
    assert dark.convert("L").getpixel((2, 2)) < 60
    assert len(light.convert("RGB").getcolors(1 << 20)) > 20


def test_different_scores_give_a_different_plot() -> None:
    other = np.where(TRUE, 0.999, 0.001).astype(np.float32)
    assert draw_reliability(SCORES, TRUE) != draw_reliability(other, TRUE)
    assert draw_score_histograms(SCORES, TRUE) != draw_score_histograms(other, TRUE)


def test_a_single_pair_and_a_single_size_can_be_drawn() -> None:
    one = np.ones(1, np.float32), np.ones(1, bool)
    for content in (draw_reliability(*one), draw_score_histograms(*one), draw_cluster_sizes({1: 1})):
        assert content.startswith(b"\x89PNG")
