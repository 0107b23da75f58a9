"""The asset `quality/recall`: whether a sample of an hour's decisions found what there was to find, and is repeatable.

logs/decisions, logs/embeddings_lsh of an hour, the API → **quality/recall**, kept on S3 → its checks
"""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.hourly_checks import WHEN_LOGGED, HourlyCheck, check_results, hourly_checks
from assets.markdown_pictures import picture
from assets.table_metadata import number
from assets.topic_logs import hours
from neardup_platform.clock import SystemClock
from neardup_platform.errors import PermanentError
from resources.code_references import code_reference
from resources.platform import PlatformResource

if TYPE_CHECKING:
    from neardup_platform.hourly_quality.recall import Recall

_KEY = dg.AssetKey(["quality", "recall"])
_CHECKS = {
    "matches_are_found": HourlyCheck(
        "Of the matching pairs among the images of the hour, at least the share quality.min_recall was found: of each "
        "sampled image, the nearest by exhaustive search among all images decided in the hour.",
        "guess/reprocess_hour",
    ),
    "decisions_are_repeatable": HourlyCheck(
        "At least the share quality.min_agreement of the sampled images would be in the same cluster if they were "
        "decided again now.",
        "guess/reprocess_hour",
    ),
}
_COUNTS = ("searched", "sampled", "pairs", "recorded", "matches", "cluster_found", "scored", "decided_again")


@dg.asset(
    key=_KEY,
    pool="batch",
    partitions_def=hours,
    group_name="quality",
    kinds={"duckdb", "faiss", "s3"},
    owners=["team:models"],
    tags={"neardup/kind": "quality"},
    metadata=code_reference(__file__),
    deps=[dg.AssetKey(["logs", name]) for name in ("decisions", "embeddings_lsh")],
    automation_condition=WHEN_LOGGED,
    check_specs=hourly_checks(_KEY, _CHECKS),
    description="For quality.sample images of an hour: the matches among their nearest neighbours, by exhaustive "
    "search over all images decided in the hour, that the decisions missed; and the cluster that each would be in if "
    "it were decided again now. The API scores pairs and decides; without it, nothing is measured, and the checks say "
    "so. Changes nothing.",
)
def recall(
    context: dg.AssetExecutionContext, platform: PlatformResource
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
    """Measure one hour."""
    from neardup_platform.hourly_quality.recall import judge_recall, measure_recall
    from neardup_platform.hourly_quality.s3_recall import put_recall
    from neardup_platform.s3_client import open_s3

    settings = platform.settings()
    s3 = open_s3(settings.s3)
    try:
        found = measure_recall(settings, s3, context.partition_time_window.start, SystemClock())
        put_recall(s3, settings.s3.bucket, found)
    except PermanentError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    yield dg.MaterializeResult(
        metadata=metadata(found),
        check_results=check_results(
            judge_recall(found, settings.quality),
            _CHECKS,
            "as it should be",
            {"hour": context.partition_key, "measured_over": _measured_over(found)},
            settings.dagster.url,
        ),
    )


def metadata(found: "Recall") -> dict[str, Any]:
    """Dagster metadata and plots of an hour."""
    shown: dict[str, Any] = {"measured_over": _measured_over(found)}
    for name in _COUNTS:
        shown[name] = dg.MetadataValue.int(getattr(found, name))
    for name in ("recall", "agreement"):
        if (share := getattr(found, name)) is not None:
            shown[name] = number(share)
    if found.unmeasured:
        shown["not_measured"] = found.unmeasured
    if found.pairs:
        shown["pairs_by_fate"] = picture("near pairs", partial(_draw, found))
    for name in ("missed", "disagreements"):
        if rows := getattr(found, name):
            shown[name] = dg.MetadataValue.table([dg.TableRecord(row._asdict()) for row in rows])
    return shown


def _measured_over(found: "Recall") -> str:
    return (
        f"{found.sampled:,} sampled images and their nearest neighbours among the {found.searched:,} images decided in "
        "the hour; matches with images of earlier hours are not seen"
    )


def _draw(found: "Recall") -> bytes:
    from neardup_platform.hourly_quality.matplotlib_hour import draw_counts

    counts = {
        "recorded as a match": found.matches,
        "recorded as none": found.recorded - found.matches,
        "its cluster was found": found.cluster_found,
        "missed": len(found.missed),
        "scored: no match": found.scored - len(found.missed),
        "not scored": found.pairs - found.recorded - found.cluster_found - found.scored,
    }
    return draw_counts(counts, "near pairs", bad=("missed",))
