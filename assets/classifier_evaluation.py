"""The asset `classifier_evaluation`, which judges a new classifier on held-out pictures, and the check that guards it.

training_pairs, pair_classifier → **classifier_evaluation** → check → promoted_classifier. The evaluation runs the whole
pipeline; the check scores the same pairs with the new classifier and the active one.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.markdown_pictures import picture
from assets.table_metadata import ROWS, URI
from assets.training_pairs import GROUP
from resources.code_references import code_reference
from resources.platform import PlatformResource
from resources.versions import VERSION, given

if TYPE_CHECKING:
    from neardup_platform.evaluation.outcome import Evaluation
    from neardup_platform.learning.classifier.promotion import MetricComparison
    from neardup_platform.settings import ImageSettings

_SHOWN = (
    *("images", "pairs_true", "precision", "recall", "f1", "bcubed_precision", "bcubed_recall", "candidate_recall"),
    *("pair_best_f1", "pair_recall_at_p99", "pair_recall_at_p99_low", "pair_recall_at_p99_high"),
    *("pair_average_precision", "calibration_error", "pairs_scored", "most_groups_in_a_cluster"),
)
_WORST = 12


@dg.asset(
    pool="batch",
    ins=given("training_pairs", "pair_classifier"),
    dagster_type=VERSION,
    group_name=GROUP,
    kinds={"tensorflow", "matplotlib"},
    owners=["team:models"],
    tags={"neardup/kind": "model"},
    metadata=code_reference(__file__),
    description="The whole pipeline with the new classifier over the held-out pictures: metrics, precision against "
    "recall, reliability, scores of true and other pairs, and the worst errors as pictures.",
)
def classifier_evaluation(
    training_pairs: str, pair_classifier: str, platform: PlatformResource
) -> dg.MaterializeResult[str]:
    """Evaluate; the value is the evaluated version."""
    from neardup_platform.evaluation.held_out import evaluate_held_out
    from neardup_platform.learning.classifier.keras_active_classifier import classifier_folder
    from neardup_platform.learning.classifier.s3_registry import PREFIX
    from neardup_platform.learning.classifier.s3_training_data import get_training_data
    from neardup_platform.s3_client import open_s3

    settings = platform.settings()
    data = get_training_data(open_s3(settings.s3), settings.s3, training_pairs)
    evaluation = evaluate_held_out(classifier_folder(settings, pair_classifier), data, settings)
    return dg.MaterializeResult(
        value=pair_classifier,
        metadata={
            URI: f"s3://{settings.s3.bucket}/{PREFIX}/{pair_classifier}/",
            "version": dg.MetadataValue.text(pair_classifier),
            "training_pairs": dg.MetadataValue.text(training_pairs),
            **metadata(evaluation, settings.images),
        },
    )


@dg.asset_check(
    asset=classifier_evaluation,
    additional_ins=given("training_pairs", "pair_classifier"),
    blocking=True,
    description="On the same held-out pairs the new classifier is no worse than the worker's active one: precision "
    "and recall at their thresholds, recall at 99% precision, calibration. If the check fails, nothing is promoted and "
    "the worker keeps its classifier; look at the worst errors, add pictures, or promote manually with --force.",
)
def not_worse_than_in_use(training_pairs: str, pair_classifier: str, platform: PlatformResource) -> dg.AssetCheckResult:
    """Compare with the active classifier."""
    from neardup_platform.errors import BadArtefact
    from neardup_platform.evaluation.held_out import measure_held_out
    from neardup_platform.learning.classifier.active_version import active_version
    from neardup_platform.learning.classifier.keras_active_classifier import active_folder, classifier_folder
    from neardup_platform.learning.classifier.promotion import check_as_good, check_fits, compare
    from neardup_platform.learning.classifier.s3_training_data import get_training_data
    from neardup_platform.s3_client import open_s3
    from neardup_platform.scoring.keras_classifier import load_classifier

    settings = platform.settings()
    data = get_training_data(open_s3(settings.s3), settings.s3, training_pairs)
    new = load_classifier(classifier_folder(settings, pair_classifier))
    active = load_classifier(active_folder(settings, active_version(settings) or ""))
    shown: dict[str, Any] = {
        "version": new.version,
        "in_use": active.version,
        "pairs": len(data.held_out_pairs.a),
        "pairs_true": int(data.held_out_pairs.same.sum()),
    }
    try:
        check_fits(new.card, active.card)
        (measured, further), (measured_active, further_active) = (measure_held_out(c, data) for c in (new, active))
        metrics = compare(measured, measured_active)
        shown |= comparison(metrics, further, further_active)
        check_as_good(metrics, new.card, active.card)
    except BadArtefact as error:
        return dg.AssetCheckResult(passed=False, description=str(error), metadata=shown)
    return dg.AssetCheckResult(passed=True, description=f"no worse than the active {active.version}", metadata=shown)


def comparison(
    metrics: "list[MetricComparison]", further: dict[str, float], further_active: dict[str, float]
) -> dict[str, Any]:
    """Dagster metadata of two classifiers on the same pairs: a table, and each metric by its name, for plots."""
    rows: list[dict[str, str | float | bool]] = [
        {"metric": m.name, "new": m.value, "in use": m.active_value, "decides": True, "worse": m.worse} for m in metrics
    ]
    rows += [
        {"metric": name, "new": value, "in use": further_active[name], "decides": False, "worse": False}
        for name, value in further.items()
    ]
    return {
        **{str(row["metric"]): dg.MetadataValue.float(float(row["new"])) for row in rows},
        **{f"{row['metric']}_in_use": dg.MetadataValue.float(float(row["in use"])) for row in rows},
        "comparison": dg.MetadataValue.table([dg.TableRecord(row) for row in rows]),
    }


def metadata(evaluation: "Evaluation", limits: "ImageSettings") -> dict[str, Any]:
    """Dagster metadata and plots of an evaluation."""
    from neardup_platform.evaluation.measures import pair_curve, pairs_within
    from neardup_platform.evaluation.metrics import metrics
    from neardup_platform.evaluation.outcome import outcome
    from neardup_platform.evaluation.picture_sheet import draw_pairs
    from neardup_platform.evaluation.worst_pairs import worst_false_positives, worst_misses

    found, whole = metrics(evaluation), outcome(evaluation)
    shown: dict[str, Any] = {name: found[name] for name in _SHOWN if found.get(name) is not None}
    # The pairs that were scored are what the numbers and plots are of.
    shown[ROWS] = len(whole.scores)
    sheets = {"worst_false_positives": worst_false_positives, "worst_misses": worst_misses}
    for name, worst in sheets.items():
        pairs = worst(evaluation, _WORST)
        shown[name] = picture(name.replace("_", " "), partial(draw_pairs, pairs, evaluation.rows, limits))
    if len(whole.scores):
        threshold = evaluation.runs[0].matching.threshold
        shown["reliability"] = picture("reliability", lambda: _plots().draw_reliability(whole.scores, whole.true))
        shown["scores"] = picture(
            "scores of pairs",
            lambda: _plots().draw_score_histograms(whole.scores, whole.true, threshold=threshold),
        )
    curve = pair_curve(whole.scores, whole.true, pairs_within(whole.groups.tolist()) - int(whole.true.sum()))
    if curve is not None:
        shown["precision_recall"] = picture("precision and recall", lambda: _plots().draw_precision_recall(curve))
    return shown


def _plots() -> Any:
    """Import the plots only when they are drawn, because matplotlib is an extra."""
    from neardup_platform.evaluation import matplotlib_scores

    return matplotlib_scores
