"""The asset `logs/decisions`: every decision, hour by hour, as Parquet on S3, with what the decisions say."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.table_metadata import number, table
from assets.topic_logs import Metadata, log_asset, log_checks, log_metadata
from neardup_platform.topic_logs.topic_log import DECISIONS

if TYPE_CHECKING:
    from neardup_platform.decisions_log.materialised_decisions import MaterialisedDecisions
    from neardup_platform.settings import Settings


def _materialise(settings: "Settings", s3: Any, hour: datetime) -> Metadata:
    from neardup_platform.decisions_log.materialised_decisions import materialise_decisions

    return metadata(materialise_decisions(settings, s3, hour))


def metadata(written: "MaterialisedDecisions") -> Metadata:
    """Dagster metadata and plots of a materialised hour."""
    counts = written.counts
    shown: Metadata = {
        **log_metadata(DECISIONS, written.hour),
        "decisions": dg.MetadataValue.int(counts.decisions),
        "images": dg.MetadataValue.int(counts.images),
        "clusters_founded": dg.MetadataValue.int(counts.clusters_founded),
        "joined": dg.MetadataValue.int(counts.joined),
        "held_apart": dg.MetadataValue.int(counts.held_apart),
        "quarantined": dg.MetadataValue.int(counts.quarantined),
        "undistinctive": dg.MetadataValue.int(counts.undistinctive),
    }
    if (wrong := written.wrong_matches) is not None:
        shown["wrong_matches_per_1000"] = number(wrong.per_1000)
        shown["wrong_matches_per_1000_low"] = number(wrong.per_1000_low)
        shown["wrong_matches_per_1000_high"] = number(wrong.per_1000_high)
    if written.preview:
        shown["preview"] = table(_readable(row) for row in written.preview)
    return shown


def _readable(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}


decisions_log = log_asset(DECISIONS, _materialise, __file__)
decisions_log_checks = log_checks(DECISIONS, decisions_log)
