"""The asset `quality/coverage`: whether every image that was announced in an hour was decided, and how soon.

logs/embeddings_*, logs/decisions, logs/dead_letters, logs/expiries of an hour → **quality/coverage** → its checks
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.hourly_checks import WHEN_LOGGED, HourlyCheck, check_results, hourly_checks
from assets.markdown_pictures import picture
from assets.table_metadata import number
from assets.topic_logs import hours
from neardup_platform.errors import PermanentError
from resources.code_references import code_reference
from resources.platform import PlatformResource

if TYPE_CHECKING:
    from neardup_platform.hourly_quality.coverage import Coverage

_KEY = dg.AssetKey(["quality", "coverage"])
_DEPS = ("embeddings_lsh", "embeddings_pair", "decisions", "dead_letters", "expiries")
_CHECKS = {
    "every_image_is_decided": HourlyCheck(
        "Every image whose two embeddings were announced in the hour is decided, refused with a reason, or stored "
        "already. An error: images may be missing. Materialise the hour again to judge it again.",
        "assets/stream/worker",
    ),
    "decisions_are_prompt": HourlyCheck(
        "99 of 100 images are decided within quality.max_p99_ms of their last embedding.", "assets/stream/worker"
    ),
    "few_are_refused": HourlyCheck(
        "At most the share quality.max_refused of images is in the dead letters.", "guess/replay_dead_letters"
    ),
    "both_embeddings_arrive": HourlyCheck(
        "At most the share quality.max_unpaired of images lacks an embedding.", "assets/logs/expiries"
    ),
}


@dg.asset(
    key=_KEY,
    pool="batch",
    partitions_def=hours,
    group_name="quality",
    kinds={"duckdb", "s3"},
    owners=["team:operations"],
    tags={"neardup/kind": "quality"},
    metadata=code_reference(__file__),
    deps=[dg.AssetKey(["logs", name]) for name in _DEPS],
    automation_condition=WHEN_LOGGED,
    check_specs=hourly_checks(_KEY, _CHECKS),
    description="What became of the images that were announced in an hour: decided, refused, expired, waiting for an "
    "embedding, stored before, or lost; and how long they waited. Images that nothing was published about are looked "
    "up by the API.",
)
def coverage(
    context: dg.AssetExecutionContext, platform: PlatformResource
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
    """Measure one hour."""
    from neardup_platform.hourly_quality.coverage import judge_coverage, measure_coverage
    from neardup_platform.hourly_quality.s3_coverage import put_coverage
    from neardup_platform.s3_client import open_s3

    settings = platform.settings()
    s3 = open_s3(settings.s3)
    try:
        found = measure_coverage(settings, s3, context.partition_time_window.start, datetime.now(UTC))
        put_coverage(s3, settings.s3.bucket, found)
    except PermanentError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    yield dg.MaterializeResult(
        metadata=metadata(found),
        check_results=check_results(
            judge_coverage(found, settings.quality),
            _CHECKS,
            "as it should be",
            {"hour": context.partition_key},
            settings.dagster.url,
        ),
    )


def metadata(found: "Coverage") -> dict[str, Any]:
    """Dagster metadata and plots of an hour."""
    fates = found.fates
    shown: dict[str, Any] = {
        "until": found.until.isoformat(timespec="seconds"),
        "coverage": number(found.share),
        "known": dg.MetadataValue.int(found.known),
        "lost": dg.MetadataValue.int(found.lost),
        "unverified": dg.MetadataValue.int(found.unverified),
        "in_shadow": dg.MetadataValue.bool(found.in_shadow),
    }
    for name in ("announced", "decided", "refused", "expired", "incomplete", "unexplained"):
        shown[name] = dg.MetadataValue.int(getattr(fates, name))
    for percent, value in zip((50, 95, 99, 100), fates.latency_ms, strict=False):
        shown[f"latency_p{percent}_ms"] = number(value)
    if fates.announced:
        shown["fates"] = picture("what became of the images", partial(_draw, found))
    return shown


def _draw(found: "Coverage") -> bytes:
    from neardup_platform.hourly_quality.matplotlib_hour import draw_counts

    fates = found.fates
    counts = {
        "decided": fates.decided,
        "stored before": found.known,
        "refused": fates.refused,
        "expired": fates.expired,
        "one embedding": fates.incomplete,
        "not looked up": found.unverified,
        "lost": found.lost,
    }
    return draw_counts(counts, "images", bad=("lost",))
