"""The asset `handover/parity`: an hour of another pipeline's output compared with our clusters, and the gate.

The other pipeline's Parquet files on S3 → **handover/parity** → the check `ready_to_cut_over` → the job `cut_over`
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.hourly_checks import HourlyCheck, check_results, hourly_checks
from assets.markdown_pictures import escaped, gallery
from assets.table_metadata import number, table
from assets.topic_logs import hours
from neardup_platform.errors import PermanentError, SetupError
from neardup_platform.settings import Settings
from resources.code_references import code_reference
from resources.platform import PlatformResource

if TYPE_CHECKING:
    from neardup_platform.handover.parity import Parity

_KEY = dg.AssetKey(["handover", "parity"])
_CHECKS = {
    "ready_to_cut_over": HourlyCheck(
        "Enough images of the hour are compared, they are decided here, and the clusters of the two pipelines agree "
        "(settings handover.*). Green over the hours that matter, the job cut_over may end the shadow.",
        "guess/cut_over",
    ),
    "other_output_is_good": HourlyCheck(
        "Every row of the other pipeline's files can be used.", "assets/handover/parity"
    ),
}
_MEASURES = ("agreement", "bcubed_f1", "pair_precision", "pair_recall", "pair_f1")
_COUNTS = (
    *("files", "rows", "repeated", "bad_rows", "images", "decided", "together", "clusters", "identical", "split"),
    *("merged", "other_heads", "announced", "announced_only"),
)
_MEANINGS = {
    "coverage": "share of the other's images that are decided here",
    "agreement": "BCubed F1 over the images that are not alone in both pipelines; the gate looks at it",
    "pair precision, recall": "of the pairs that ours, or theirs, has in one cluster, the share that the other has",
    "together": "images that are not alone in both",
    "clusters, identical, split": "clusters of the other; those that are the same here, and in several of ours",
    "merged": "clusters of ours that hold images of several of the other's",
    "other heads": "images whose head here has another id",
}
_COLUMNS = ("kind", "cluster", "images", "parts", "pairs")


@dg.asset(
    key=_KEY,
    pool="batch",
    partitions_def=hours,
    group_name="handover",
    kinds={"s3", "parquet"},
    owners=["team:operations"],
    tags={"neardup/kind": "handover"},
    metadata=code_reference(__file__),
    check_specs=hourly_checks(_KEY, _CHECKS),
    description="How far another pipeline, which this one is to replace, and ours agree on the images of an hour: "
    "coverage, pairs, whole clusters, and the largest disagreements as pictures. Clusters are compared by their "
    "images, not by their ids. Materialise an hour again after a correction: our clusters are those of now.",
)
def handover_parity(
    context: dg.AssetExecutionContext, platform: PlatformResource
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
    """Compare one hour."""
    from neardup_platform.handover.parity import judge_parity, measure_parity
    from neardup_platform.s3_client import open_s3

    settings = platform.settings()
    s3 = open_s3(settings.s3)
    try:
        found = measure_parity(settings, s3, [context.partition_time_window.start], context.log.info)
    except (PermanentError, SetupError) as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    yield dg.MaterializeResult(
        metadata=metadata(settings, found),
        check_results=check_results(
            judge_parity(found, settings.handover),
            _CHECKS,
            "as it should be",
            {"hour": context.partition_key},
            settings.dagster.url,
        ),
    )


def metadata(settings: Settings, found: "Parity") -> dict[str, Any]:
    """Dagster metadata and plots of an hour; a measure that has no denominator is left out."""
    from neardup_platform.operations.cut_over_in_words import compared_in_words

    flat = found.flat()
    shown: dict[str, Any] = {"summary": compared_in_words(flat), "coverage": number(found.coverage)}
    shown |= {name: number(flat[name]) for name in _MEASURES if flat[name] is not None}
    shown |= {name: dg.MetadataValue.int(flat[name]) for name in _COUNTS if flat[name] is not None}
    if found.bad_examples:
        lines = (f"- row {row['row']} of {row['file']}: {escaped(str(row['reason']))}" for row in found.bad_examples)
        shown["bad_examples"] = dg.MetadataValue.md("\n".join(lines))
    shown["numbers"] = dg.MetadataValue.md("\n".join(f"- {name}: {text}" for name, text in _MEANINGS.items()))
    return {**shown, **shown_disagreements(settings, found)}


def shown_disagreements(settings: Settings, found: "Parity") -> dict[str, Any]:
    """The largest disagreements as a table and as pictures; nothing where there are none."""
    from neardup_platform.operations.cut_over import examples
    from neardup_platform.what_if.httpx_pictures import fetch_pictures

    rows = examples(settings, found)
    if not rows:
        return {}
    pictures = fetch_pictures(settings, (image for row in rows for image in (row["one"], row["other"])))
    pairs = [(f"{n}. {row['kind']}", row["pairs"], row["one"], row["other"]) for n, row in enumerate(rows, 1)]
    return {
        "disagreements": table(rows, _COLUMNS),
        "pictures": gallery(
            ("disagreement", "pairs of images", "one", "the other"), pairs, pictures, settings.api.image_page
        ),
    }
