"""The asset `quality/cluster_proposals`: splits and merges of clusters to review, and clusters to look at.

logs/decisions → **quality/cluster_proposals** → an operator → the job `override_csv`.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from assets.decisions_log import decisions_log
from assets.markdown_pictures import gallery
from assets.table_metadata import ROWS, URI, columns, table
from neardup_platform.errors import PermanentError, SetupError
from neardup_platform.settings import Settings
from resources.code_references import code_reference
from resources.platform import PlatformResource

_NUMBERS = ("images", "pairs", "splits", "merges", "rows", "largest_component")
# Of what was not proposed; the notes say why.
_EXCEPTIONS = ("left_out", "incomplete", "unjudged", "too_large")
_ROW = {
    "action": "alone: the image founds a cluster; move: it goes to another image's",
    "image_id": "the image that moves",
    "other_id": "of a move, the image that it goes to",
    "reason": "why, with the recorded scores",
}


class ClusterProposalsConfig(dg.Config):
    """Which hours to look at, and by what."""

    hours: str = Field(
        "",
        max_length=80,
        description="FROM..TO in UTC, TO exclusive, as `2026-01-01..2026-02-01`; empty for the last 24 hours.",
    )
    clusters: list[str] = Field([], max_length=1_000, description="Only proposals about these heads; empty for all.")
    match: float | None = Field(
        None, gt=0, lt=1, description="Match threshold; without it, that of each image's decision."
    )
    head: float | None = Field(None, gt=0, lt=1, description="Threshold against the head, likewise.")


@dg.asset(
    key=["quality", "cluster_proposals"],
    pool="batch",
    group_name="quality",
    kinds={"duckdb", "csv"},
    owners=["team:models"],
    tags={"neardup/kind": "quality"},
    metadata=code_reference(__file__),
    deps=[decisions_log],
    description="Splits of clusters whose members do not agree with their head, and merges of bridged clusters whose "
    "heads agree, from recorded scores, as rows for the job `override_csv`; and the clusters that look like chains, "
    "that many images bridge, or that grow fast. Changes nothing.",
)
def cluster_proposals(
    context: dg.AssetExecutionContext, config: ClusterProposalsConfig, platform: PlatformResource
) -> dg.MaterializeResult[None]:
    """Propose; the rows of each run are a file of its own in NEARDUP_HOME/proposals."""
    from neardup_platform.operations.proposals import kept_file, pictures_of, propose
    from neardup_platform.reclustering.compared_pairs import Thresholds
    from neardup_platform.what_if.hours import parse_hours

    settings, now = platform.settings(), datetime.now(UTC)
    file = kept_file(settings.home, now, context.run.run_id)
    try:
        hours = parse_hours(config.hours, now)
        thresholds = Thresholds(config.match, config.head)
        answer = propose(settings, hours, thresholds, config.clusters, file, context.log.info)
    except (PermanentError, SetupError) as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    return dg.MaterializeResult(metadata=metadata(settings, answer, pictures_of(settings, answer)))


def metadata(settings: Settings, answer: dict[str, Any], pictures: dict[str, str]) -> dict[str, Any]:
    """Dagster metadata of an answer."""
    from neardup_platform.reclustering.proposal import OverrideRow

    shown: dict[str, Any] = {
        URI: Path(answer["file"]).as_uri(),
        ROWS: answer["rows"],
        **columns(((name, "string") for name in OverrideRow._fields), _ROW),
        **{name: answer[name] for name in _NUMBERS},
        **{name: answer[name] for name in _EXCEPTIONS if answer[name]},
        "file": dg.MetadataValue.path(answer["file"]),
        "notes": dg.MetadataValue.md("\n".join(f"- {note}" for note in answer["notes"])),
    }
    if answer["proposals"]:
        shown["proposals"] = table(answer["proposals"], ("kind", "head", "to", "images", "score"))
        pairs = [(each["kind"], each["score"], *each["pair"]) for each in answer["proposals"]]
        shown["pictures"] = gallery(
            ("proposal", "score", "head", "the other"), pairs, pictures, settings.api.image_page
        )
    if answer["alarms"]:
        shown["alarms"] = table(answer["alarms"], ("head", "reasons", "held_apart", "bridged", "most_in_an_hour"))
    return shown
