"""An hour of `neardup.decisions`: its log, and what its decisions say."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from neardup_platform.decisions_log.duckdb_decisions import (
    DecisionCounts,
    count_decisions,
    decided_alike,
    first_decisions,
)
from neardup_platform.decisions_log.wrong_matches import DecidedAlike, WrongMatches, expected_wrong_matches
from neardup_platform.errors import NeardupError
from neardup_platform.scoring.card import read_card
from neardup_platform.scoring.threshold_table import ThresholdTable
from neardup_platform.settings import Settings
from neardup_platform.topic_logs.kafka_materialise import MaterialisedHour, materialise
from neardup_platform.topic_logs.topic_log import DECISIONS

PREVIEW_ROWS = 10


@dataclass(frozen=True, slots=True)
class MaterialisedDecisions:
    """What was written.

    Attributes:
        preview: the first decisions of the hour, by column.
        wrong_matches: expected of the decisions; None if their classifiers have no table of thresholds.
    """

    hour: MaterialisedHour
    counts: DecisionCounts
    preview: list[dict[str, Any]]
    wrong_matches: WrongMatches | None


def materialise_decisions(settings: Settings, s3: Any, hour: datetime) -> MaterialisedDecisions:
    """Write the decisions of an hour and count them; arguments and errors as of `materialise`."""
    found: list[tuple[DecisionCounts, list[dict[str, Any]], list[DecidedAlike]]] = []

    def use(files: list[Path]) -> None:
        found.append((count_decisions(files), first_decisions(files, PREVIEW_ROWS), decided_alike(files)))

    written = materialise(settings, s3, DECISIONS, hour, use)
    ((counts, preview, alike),) = found
    tables = {version: _table_of(settings, version) for version in {group.classifier for group in alike}}
    return MaterialisedDecisions(written, counts, preview, expected_wrong_matches(alike, tables))


def _table_of(settings: Settings, version: str) -> ThresholdTable | None:
    """The table of a classifier; None if it has none, or cannot be had: the hour matters more than the estimate."""
    from neardup_platform.learning.classifier.keras_active_classifier import classifier_folder

    try:
        return read_card(classifier_folder(settings, version)).threshold_table
    except NeardupError:
        return None
