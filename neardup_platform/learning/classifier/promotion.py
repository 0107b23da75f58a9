"""May this classifier take the place of that one?

Registry → **judgement** → swap. The worker goes by their cards, before anything is loaded; Dagster's check by both on
the same pairs. A refusal names the numbers of both, because the operator who reads it decides whether to insist. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from neardup_platform.errors import BadArtefact
from neardup_platform.scoring.calibration import wilson_interval
from neardup_platform.scoring.card import Card

# How far the lower end of a 95% interval may lie under that of the classifier in use, so that a classifier trained
# anew on much the same pictures is not refused for the luck of its start.
TOLERANCE = 0.005
# Calibration error that is no worse than any other smaller one.
CALIBRATION_LIMIT = 0.02


@dataclass(frozen=True, slots=True)
class Measured:
    """What a classifier was measured to do on pairs it was not trained on.

    Attributes:
        shares: by name, a share, 0…1, and the number of trials it is of.
        calibration_error: expected difference of score and share of true pairs.
    """

    shares: Mapping[str, tuple[float, int]]
    calibration_error: float


@dataclass(frozen=True, slots=True)
class Figure:
    """One measure of two classifiers; `low` is the lower end of its 95% interval (Wilson), or the value itself."""

    name: str
    value: float
    low: float
    value_in_use: float
    low_in_use: float
    worse: bool

    def __str__(self) -> str:
        return (
            f"{self.name} {self.value:.4f} (at least {self.low:.4f}), in use {self.value_in_use:.4f} "
            f"(at least {self.low_in_use:.4f})"
        )


def measured(card: Card) -> Measured | None:
    """What its card says, of groups held out of training; None where it says too little or nonsense."""
    try:
        metrics, at = card.metrics, card.metrics["at_threshold"]
        true_pairs = int(card.training["pairs_true"])
        found = Measured(
            {
                "precision_at_threshold": (float(at["precision"]), int(at["matches"])),
                "recall_at_threshold": (float(at["recall"]), true_pairs),
                "recall_at_p99": (float(metrics["pair_recall_at_p99"]), true_pairs),
            },
            float(metrics["calibration_error"]),
        )
    except (KeyError, TypeError, ValueError):
        return None
    shares = [share for share, _ in found.shares.values()]
    return found if all(0 <= share <= 1 for share in (*shares, found.calibration_error)) else None


def check_usable(card: Card) -> None:
    """Refuse a classifier that nobody measured, or whose thresholds are none.

    Raises:
        BadArtefact: a figure is missing from the card, or a threshold is not between 0 and 1.
    """
    if not 0 < card.head_threshold <= card.threshold < 1:
        raise BadArtefact(
            f"classifier {card.version} has thresholds {card.threshold} and {card.head_threshold}, which must be "
            "0 < head_threshold <= threshold < 1: train it again"
        )
    if measured(card) is None:
        raise BadArtefact(
            f"classifier {card.version} was never measured, or its card does not say what came of it: train it with "
            "`neardup train`, which measures it on groups held out"
        )


def check_fits(card: Card, in_use: Card) -> None:
    """Refuse a classifier for other embeddings than those that arrive.

    Raises:
        BadArtefact: a dimension or a model version differs from the classifier in use.
    """
    for kind, expected in in_use.expects.items():
        found = card.expects[kind]
        if found != expected:
            raise BadArtefact(
                f"classifier {card.version} fits {kind} embeddings of {found.version!r} [{found.dim}], those in force "
                f"are of {expected.version!r} [{expected.dim}]: train one for them"
            )


def compare(new: Measured | None, in_use: Measured | None) -> list[Figure]:
    """Figures of two classifiers side by side; none where one of them was never measured.

    A figure is worse when the lower end of its interval lies more than `TOLERANCE` under that of the one in use:
    a classifier measured on few pairs has a wide interval, and has to show that it is as good.
    """
    if new is None or in_use is None:
        return []
    figures = []
    for name, (share, trials) in new.shares.items():
        share_in_use, trials_in_use = in_use.shares[name]
        low, low_in_use = _low(share, trials), _low(share_in_use, trials_in_use)
        figures.append(Figure(name, share, low, share_in_use, low_in_use, low < low_in_use - TOLERANCE))
    error, error_in_use = new.calibration_error, in_use.calibration_error
    worse = error > max(CALIBRATION_LIMIT, error_in_use)
    return [*figures, Figure("calibration_error", error, error, error_in_use, error_in_use, worse)]


def check_as_good(figures: list[Figure], card: Card, in_use: Card) -> None:
    """Refuse a classifier that is worse than the one in use.

    Raises:
        BadArtefact: with the numbers.
    """
    worse = [str(figure) for figure in figures if figure.worse]
    if worse:
        raise BadArtefact(
            f"classifier {card.version} is worse than {in_use.version} in use on groups held out: {'; '.join(worse)}. "
            "To use it all the same, say --force"
        )


def _low(share: float, trials: int) -> float:
    return float(wilson_interval(round(share * trials), trials)[0])
