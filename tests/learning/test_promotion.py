"""Claims about which classifier may take the place of another."""

from dataclasses import replace

import pytest

from neardup_platform.errors import BadArtefact
from neardup_platform.learning.classifier.promotion import check_as_good, check_fits, check_usable, compare, measured
from neardup_platform.scoring.card import SHIPPED_FOLDER, Card, read_card

IN_USE = read_card(SHIPPED_FOLDER)


def card_saying(pairs_true: int = 2_301, **figures: float) -> Card:
    at = {**IN_USE.metrics["at_threshold"], **{k: v for k, v in figures.items() if k in ("precision", "recall")}}
    rest = {k: v for k, v in figures.items() if k not in at}
    return replace(
        IN_USE,
        version="ba9876543210",
        metrics={**IN_USE.metrics, **rest, "at_threshold": at},
        training={**IN_USE.training, "pairs_true": pairs_true},
    )


def judge(card: Card, in_use: Card = IN_USE) -> None:
    check_as_good(compare(measured(card), measured(in_use)), card, in_use)


def test_an_equal_or_better_classifier_passes() -> None:
    judge(IN_USE)
    judge(card_saying(recall=0.97, pair_recall_at_p99=0.97))


def test_a_worse_one_is_refused_with_both_numbers() -> None:
    for figures in ({"recall": 0.8}, {"pair_recall_at_p99": 0.8}, {"precision": 0.97}, {"calibration_error": 0.05}):
        with pytest.raises(BadArtefact, match="is worse than") as caught:
            judge(card_saying(**figures))
        ((name, value),) = figures.items()
        assert name.removeprefix("pair_") in str(caught.value)
        assert f"{value:.4f}" in str(caught.value)
        assert "in use 0." in str(caught.value)


def test_the_same_figures_measured_on_few_pairs_do_not_suffice() -> None:
    with pytest.raises(BadArtefact, match="recall_at_p99"):
        judge(card_saying(pairs_true=40))
    judge(IN_USE, card_saying(pairs_true=40))


def test_the_luck_of_a_start_is_no_reason_to_refuse() -> None:
    recall = IN_USE.metrics["at_threshold"]["recall"]
    judge(card_saying(recall=recall - 0.002))


def test_anything_measured_may_follow_what_was_never_measured() -> None:
    assert compare(measured(card_saying(recall=0.1)), measured(replace(IN_USE, metrics={}))) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"metrics": {}},
        {"metrics": {**IN_USE.metrics, "at_threshold": {}}},
        {"metrics": {**IN_USE.metrics, "pair_recall_at_p99": float("nan")}},
        {"metrics": {**IN_USE.metrics, "pair_recall_at_p99": "good"}},
        {"metrics": {**IN_USE.metrics, "calibration_error": float("nan")}},
        {"training": {}},
    ],
)
def test_an_unmeasured_classifier_is_refused(changes: dict) -> None:
    with pytest.raises(BadArtefact, match="never measured"):
        check_usable(replace(IN_USE, **changes))


@pytest.mark.parametrize("thresholds", [(0.0, 0.0), (1.5, 0.5), (0.4, 0.6), (float("nan"), 0.5)])
def test_thresholds_that_are_none_are_refused(thresholds: tuple[float, float]) -> None:
    with pytest.raises(BadArtefact, match="thresholds"):
        check_usable(replace(IN_USE, threshold=thresholds[0], head_threshold=thresholds[1]))


def test_other_embeddings_are_refused_with_both_dimensions_and_versions() -> None:
    with pytest.raises(BadArtefact, match=r"\[128\].*\[256\]"):
        check_fits(replace(IN_USE, lsh_dim=128), IN_USE)
    with pytest.raises(BadArtefact, match=r"'other'.*'dct-colour-2'"):
        check_fits(replace(IN_USE, pair_version="other"), IN_USE)
