"""The rules of promotion: may this classifier replace that one?

Registry → **decision** → swap. The worker compares the cards, before it loads anything; Dagster's check compares both
on the same pairs. A refusal names the numbers of both, because the operator who reads it decides whether to force the
promotion. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from neardup_platform.errors import BadArtefact
from neardup_platform.scoring.calibration import wilson_interval
from neardup_platform.scoring.card import Card

# How far the lower end of a 95% interval may be below that of the active classifier, so that retraining on nearly the
# same pictures is not refused because of an unlucky random start.
TOLERANCE = 0.005
# A calibration error up to this counts as good, whatever the other classifier's.
CALIBRATION_LIMIT = 0.02


@dataclass(frozen=True, slots=True)
class ClassifierMetrics:
    """The performance of a classifier on pairs that it was not trained on.

    Attributes:
        shares: by name, a share, 0…1, and its number of trials.
        calibration_error: expected difference between score and share of true pairs.
    """

    shares: Mapping[str, tuple[float, int]]
    calibration_error: float


@dataclass(frozen=True, slots=True)
class MetricComparison:
    """One metric of two classifiers; `low` is the lower end of its 95% interval (Wilson), or the value itself."""

    name: str
    value: float
    low: float
    active_value: float
    active_low: float
    worse: bool

    def __str__(self) -> str:
        return (
            f"{self.name} {self.value:.4f} (at least {self.low:.4f}), active {self.active_value:.4f} "
            f"(at least {self.active_low:.4f})"
        )


def card_metrics(card: Card) -> ClassifierMetrics | None:
    """The metrics on a card, measured on held-out groups; None if some are missing or invalid."""
    try:
        metrics, at = card.metrics, card.metrics["at_threshold"]
        true_pairs = int(card.training["pairs_true"])
        found = ClassifierMetrics(
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
    """Refuse a classifier without metrics or with invalid thresholds.

    Raises:
        BadArtefact: a metric is missing from the card, or a threshold is not between 0 and 1.
    """
    if not 0 < card.head_threshold <= card.threshold < 1:
        raise BadArtefact(
            f"classifier {card.version} has thresholds {card.threshold} and {card.head_threshold}, which must be "
            "0 < head_threshold <= threshold < 1: train it again"
        )
    if card_metrics(card) is None:
        raise BadArtefact(
            f"classifier {card.version} was never measured, or its card lacks the metrics: train it with "
            "`neardup train`, which measures it on held-out groups"
        )


def check_fits(card: Card, active: Card) -> None:
    """Refuse a classifier for other embeddings than those that arrive.

    Raises:
        BadArtefact: a dimension or a model version differs from the active classifier.
    """
    for kind, expected in active.required_models.items():
        found = card.required_models[kind]
        if found != expected:
            raise BadArtefact(
                f"classifier {card.version} fits {kind} embeddings of {found.version!r} [{found.dim}], the active ones "
                f"are of {expected.version!r} [{expected.dim}]: train one for them"
            )


def compare(new: ClassifierMetrics | None, active: ClassifierMetrics | None) -> list[MetricComparison]:
    """The metrics of two classifiers side by side; none if one of them was never measured.

    A metric is worse if the lower end of its interval is more than `TOLERANCE` below that of the active classifier:
    a classifier measured on few pairs has a wide interval, and must prove that it is as good.
    """
    if new is None or active is None:
        return []
    metrics = []
    for name, (share, trials) in new.shares.items():
        active_share, active_trials = active.shares[name]
        low, active_low = _low(share, trials), _low(active_share, active_trials)
        metrics.append(MetricComparison(name, share, low, active_share, active_low, low < active_low - TOLERANCE))
    error, active_error = new.calibration_error, active.calibration_error
    worse = error > max(CALIBRATION_LIMIT, active_error)
    return [*metrics, MetricComparison("calibration_error", error, error, active_error, active_error, worse)]


def check_as_good(metrics: list[MetricComparison], card: Card, active: Card) -> None:
    """Refuse a classifier that is worse than the active one.

    Raises:
        BadArtefact: it is worse; names the numbers.
    """
    worse = [str(metric) for metric in metrics if metric.worse]
    if worse:
        raise BadArtefact(
            f"classifier {card.version} is worse than the active {active.version} on held-out groups: "
            f"{'; '.join(worse)}. To promote it anyway, use --force"
        )


def _low(share: float, trials: int) -> float:
    return float(wilson_interval(round(share * trials), trials)[0])
