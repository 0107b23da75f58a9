"""Which classifier may replace another."""

from dataclasses import replace

import pytest

from neardup_platform.errors import BadArtefact
from neardup_platform.learning.classifier.promotion import (
    card_metrics,
    check_as_good,
    check_fits,
    check_usable,
    compare,
)
from neardup_platform.scoring.card import SHIPPED_FOLDER, Card, read_card

ACTIVE = read_card(SHIPPED_FOLDER)


def card_with(pairs_true: int = ACTIVE.training["pairs_true"], **metrics: float) -> Card:
    at = {**ACTIVE.metrics["at_threshold"], **{k: v for k, v in metrics.items() if k in ("precision", "recall")}}
    rest = {k: v for k, v in metrics.items() if k not in at}
    return replace(
        ACTIVE,
        version="ba9876543210",
        metrics={**ACTIVE.metrics, **rest, "at_threshold": at},
        training={**ACTIVE.training, "pairs_true": pairs_true},
    )


def check(card: Card, active: Card = ACTIVE) -> None:
    check_as_good(compare(card_metrics(card), card_metrics(active)), card, active)


def test_an_equal_or_better_classifier_passes() -> None:
    check(ACTIVE)
    check(card_with(recall=0.97, pair_recall_at_p99=0.97))


def test_a_worse_one_is_refused_with_both_numbers() -> None:
    for metrics in ({"recall": 0.8}, {"pair_recall_at_p99": 0.8}, {"precision": 0.97}, {"calibration_error": 0.05}):
        with pytest.raises(BadArtefact, match="is worse than") as caught:
            check(card_with(**metrics))
        ((name, value),) = metrics.items()
        assert name.removeprefix("pair_") in str(caught.value)
        assert f"{value:.4f}" in str(caught.value)
        assert "active 0." in str(caught.value)


def test_the_same_metrics_on_few_pairs_are_not_enough() -> None:
    with pytest.raises(BadArtefact, match="recall_at_p99"):
        check(card_with(pairs_true=40))
    check(ACTIVE, card_with(pairs_true=40))


def test_an_unlucky_random_start_is_not_refused() -> None:
    recall = ACTIVE.metrics["at_threshold"]["recall"]
    check(card_with(recall=recall - 0.002))


def test_any_measured_classifier_may_replace_an_unmeasured_one() -> None:
    assert compare(card_metrics(card_with(recall=0.1)), card_metrics(replace(ACTIVE, metrics={}))) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"metrics": {}},
        {"metrics": {**ACTIVE.metrics, "at_threshold": {}}},
        {"metrics": {**ACTIVE.metrics, "pair_recall_at_p99": float("nan")}},
        {"metrics": {**ACTIVE.metrics, "pair_recall_at_p99": "good"}},
        {"metrics": {**ACTIVE.metrics, "calibration_error": float("nan")}},
        {"training": {}},
    ],
)
def test_an_unmeasured_classifier_is_refused(changes: dict) -> None:
    with pytest.raises(BadArtefact, match="never measured"):
        check_usable(replace(ACTIVE, **changes))


@pytest.mark.parametrize("thresholds", [(0.0, 0.0), (1.5, 0.5), (0.4, 0.6), (float("nan"), 0.5)])
def test_invalid_thresholds_are_refused(thresholds: tuple[float, float]) -> None:
    with pytest.raises(BadArtefact, match="thresholds"):
        check_usable(replace(ACTIVE, threshold=thresholds[0], head_threshold=thresholds[1]))


def test_other_embeddings_are_refused_with_both_dimensions_and_versions() -> None:
    with pytest.raises(BadArtefact, match=r"\[128\].*\[256\]"):
        check_fits(replace(ACTIVE, lsh_dim=128), ACTIVE)
    with pytest.raises(BadArtefact, match=r"'other'.*'dct-colour-3'"):
        check_fits(replace(ACTIVE, pair_version="other"), ACTIVE)
