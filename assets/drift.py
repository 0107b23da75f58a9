"""The asset `quality/drift`: how far an hour differs from the 24 hours before it.

logs/decisions, logs/embeddings_lsh of an hour → its profile on S3 → **quality/drift** → its checks
"""

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.hourly_checks import WHEN_LOGGED, HourlyCheck, check_results, hourly_checks
from assets.markdown_pictures import picture
from assets.table_metadata import URI, number
from assets.topic_logs import hours
from neardup_platform.errors import PermanentError
from resources.code_references import code_reference
from resources.platform import PlatformResource

if TYPE_CHECKING:
    from neardup_platform.hourly_quality.measured_drift import MeasuredDrift

_KEY = dg.AssetKey(["quality", "drift"])
_CHECKS = {
    "scores_are_as_before": HourlyCheck(
        "The scores of the best match are spread as in the 24 hours before, up to quality.max_score_psi.",
        "assets/quality/what_if",
    ),
    "scores_fit_the_classifier": HourlyCheck(
        "The scores of the best match are spread as in the first 24 hours that this classifier decided, up to "
        "quality.max_score_psi: what drifts slowly differs from them, and never from the hours before.",
        "guess/train_classifier",
    ),
    "embeddings_are_as_before": HourlyCheck(
        "The lsh vectors are those of the 24 hours before: their mean up to quality.max_vector_shift, their spread "
        "up to quality.max_spread_shift, their mean length up to the factor quality.max_length_change.",
        "assets/logs/embeddings_lsh",
    ),
    "terms_are_as_before": HourlyCheck(
        "Two images have the same term as often as in the 24 hours before, up to the factor quality.max_term_change: "
        "terms that many images share find much and tell little.",
        "assets/term_space",
    ),
    "as_many_are_duplicates": HourlyCheck(
        "The share of images that join a cluster is that of the 24 hours before, up to the factor "
        "quality.max_duplicate_change.",
        "assets/quality/what_if",
    ),
    "no_cluster_is_flooded": HourlyCheck(
        "No cluster takes more than the share quality.max_crowd of the images that join one.", "guess/override"
    ),
    "one_version_decides": HourlyCheck(
        "One classifier and one term space decided the hour.", "guess/classifier_rollback"
    ),
}


@dg.asset(
    key=_KEY,
    pool="batch",
    partitions_def=hours,
    group_name="quality",
    kinds={"duckdb", "s3"},
    owners=["team:models"],
    tags={"neardup/kind": "quality"},
    metadata=code_reference(__file__),
    deps=[dg.AssetKey(["logs", name]) for name in ("decisions", "embeddings_lsh")],
    automation_condition=WHEN_LOGGED,
    check_specs=hourly_checks(_KEY, _CHECKS),
    description="How far an hour differs from the 24 hours before it, as far as they are measured: scores, numbers of "
    "candidates, embeddings, terms, duplicates, the largest influx into one cluster, versions; and its scores from "
    "those of the first 24 hours that the classifier decided. With too little of either, nothing is judged; the first "
    "hours of a platform have no reference.",
)
def drift(
    context: dg.AssetExecutionContext, platform: PlatformResource
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
    """Measure one hour."""
    from neardup_platform.hourly_quality.drift import judge_drift
    from neardup_platform.hourly_quality.measured_drift import measure_drift
    from neardup_platform.hourly_quality.s3_profiles import profile_key
    from neardup_platform.s3_client import open_s3

    settings, hour = platform.settings(), context.partition_time_window.start
    s3 = open_s3(settings.s3)
    try:
        found = measure_drift(settings, s3, hour)
    except PermanentError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    yield dg.MaterializeResult(
        metadata=metadata(found, f"s3://{settings.s3.bucket}/{profile_key(hour)}"),
        check_results=check_results(
            judge_drift(found.hour, found.reference, settings.quality, found.start),
            _CHECKS,
            "as before, or too little to judge" if found.hours else "nothing to judge by: too few hours are measured",
            {"hour": context.partition_key, "reference_hours": found.hours},
            settings.dagster.url,
        ),
    )


def metadata(found: "MeasuredDrift", uri: str) -> dict[str, Any]:
    """Dagster metadata and plots of an hour."""
    hour = found.hour
    shown: dict[str, Any] = {
        URI: uri,
        "reference": f"the {found.hours} measured hours of the 24 before"
        if found.hours
        else "none: fewer than 3 hours of the 24 before are measured, so nothing is judged",
        "start": _start(found),
        "versions": ", ".join(f"{name}: {count:,}" for name, count in hour.versions.items()),
    }
    for name in ("decisions", "joined", "undistinctive", "held_apart", "most_joined", "vectors"):
        shown[name] = dg.MetadataValue.int(getattr(hour, name))
    for name, value in asdict(found.drift).items():
        if value is not None:
            shown[name] = number(value)
    if hour.decisions:
        shown["joined_share"] = number(hour.joined / hour.decisions)
        shown["undistinctive_share"] = number(hour.undistinctive / hour.decisions)
        shown["scores"] = picture("scores of the best match", partial(_draw_scores, found))
    if hour.joined:
        shown["crowds"] = picture("images that joined the same cluster", partial(_draw_crowds, found))
    if (share := hour.top_term_share) is not None:
        shown["top_term_share"] = number(share)
        shown["mean_length"] = number(hour.lengths / hour.vectors)
    return shown


def _start(found: "MeasuredDrift") -> str:
    if not found.start_hours:
        return "none: several classifiers decided this hour, or too little was decided since this one began"
    first, last = found.start_hours[0], found.start_hours[-1]
    return f"the first {len(found.start_hours)} hours of the classifier: {first:%Y-%m-%dT%H} to {last:%Y-%m-%dT%H}"


def _draw_scores(found: "MeasuredDrift") -> bytes:
    from neardup_platform.hourly_quality.matplotlib_hour import draw_shares

    bins = len(found.hour.scores) - 1
    edges = ["none", *(f"{number / bins:.1f}" if number % 4 == 0 and number else "" for number in range(bins))]
    return draw_shares(found.hour.scores, found.reference.scores, edges, "score of the best match, from")


def _draw_crowds(found: "MeasuredDrift") -> bytes:
    from neardup_platform.hourly_quality.matplotlib_hour import draw_shares

    edges = [f"{1 << number:,}" if number % 2 == 0 else "" for number in range(len(found.hour.crowds))]
    label = "images that joined the same cluster in an hour, from"
    return draw_shares(found.hour.crowds, found.reference.crowds, edges, label)
