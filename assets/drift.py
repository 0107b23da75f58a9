"""The asset `quality/drift`: how far an hour differs from the 24 hours before it.

logs/decisions, logs/embeddings_lsh of an hour → its profile on S3 → **quality/drift** → its checks
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.hourly_checks import WHEN_LOGGED, check_results, hourly_checks
from assets.table_metadata import URI
from assets.topic_logs import hours
from neardup_platform.errors import PermanentError
from resources.code_references import code_reference
from resources.platform import PlatformResource, s3_resource

if TYPE_CHECKING:
    from neardup_platform.hourly_quality.measured_drift import MeasuredDrift

_KEY = dg.AssetKey(["quality", "drift"])
_CHECKS = {
    "scores_are_as_before": "The scores of the best match are spread as in the 24 hours before, up to "
    "quality.max_score_psi.",
    "embeddings_are_as_before": "The mean `lsh` vector is that of the 24 hours before, up to quality.max_vector_shift.",
    "as_many_are_duplicates": "The share of images that join a cluster is that of the 24 hours before, up to the "
    "factor quality.max_duplicate_change.",
    "no_cluster_is_flooded": "No cluster takes more than the share quality.max_crowd of the images that join one.",
    "one_version_decides": "One classifier and one term space decided the hour.",
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
    backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=1),
    deps=[dg.AssetKey(["logs", name]) for name in ("decisions", "embeddings_lsh")],
    automation_condition=WHEN_LOGGED,
    check_specs=hourly_checks(_KEY, _CHECKS),
    description="How far an hour differs from the 24 hours before it, as far as they are measured: scores, numbers of "
    "candidates, embeddings, duplicates, the largest influx into one cluster, versions. With too little of either, "
    "nothing is judged; the first hours of a platform have no reference.",
)
def drift(
    context: dg.AssetExecutionContext, platform: PlatformResource
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
    """Measure one hour."""
    from neardup_platform.hourly_quality.drift import judge_drift
    from neardup_platform.hourly_quality.measured_drift import measure_drift
    from neardup_platform.hourly_quality.s3_profiles import profile_key

    settings, hour = platform.settings(), context.partition_time_window.start
    s3 = s3_resource(settings.s3).get_client()
    try:
        found = measure_drift(settings, s3, hour)
    except PermanentError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    yield dg.MaterializeResult(
        metadata=metadata(found, f"s3://{settings.s3.bucket}/{profile_key(hour)}"),
        check_results=check_results(
            judge_drift(found.hour, found.reference, settings.quality),
            "as before, or too little to judge",
            {"hour": context.partition_key, "reference_hours": found.hours},
        ),
    )


def metadata(found: "MeasuredDrift", uri: str) -> dict[str, Any]:
    """Dagster metadata and plots of an hour."""
    hour = found.hour
    shown: dict[str, Any] = {
        URI: uri,
        "reference": f"the {found.hours} measured hours of the 24 before"
        if found.hours
        else "none: no hour of the 24 before is measured, so nothing is judged",
        "versions": ", ".join(f"{name}: {count:,}" for name, count in hour.versions.items()),
    }
    for name in ("decisions", "joined", "undistinctive", "held_apart", "most_joined", "vectors"):
        shown[name] = dg.MetadataValue.int(getattr(hour, name))
    for name, value in asdict(found.drift).items():
        if value is not None:
            shown[name] = dg.MetadataValue.float(value)
    if hour.decisions:
        shown["joined_share"] = dg.MetadataValue.float(hour.joined / hour.decisions)
    if (share := hour.top_term_share) is not None:
        shown["top_term_share"] = dg.MetadataValue.float(share)
    return shown
