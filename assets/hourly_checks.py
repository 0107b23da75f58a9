"""What the assets that judge an hour have in common: when they run, their checks, and how a verdict is shown."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import dagster as dg

from assets.topic_logs import hours

if TYPE_CHECKING:
    from neardup_platform.hourly_quality.verdicts import Verdict

# An hour is measured when its logs are, and again when one of them is written again.
WHEN_LOGGED = dg.AutomationCondition.eager().without(dg.AutomationCondition.in_latest_time_window())


def hourly_checks(key: dg.AssetKey, claims: Mapping[str, str]) -> list[dg.AssetCheckSpec]:
    """The checks of an asset, by name, each with a result for every hour."""
    return [dg.AssetCheckSpec(name, asset=key, description=text, partitions_def=hours) for name, text in claims.items()]


def check_results(
    verdicts: Iterable["Verdict"], good: str, shown: Mapping[str, str | int]
) -> list[dg.AssetCheckResult]:
    """The results of the checks of an hour.

    Args:
        good: what a check says that found no problem.
        shown: metadata of every result, beside what was compared.
    """
    return [
        dg.AssetCheckResult(
            passed=verdict.problem is None,
            check_name=verdict.name,
            severity=dg.AssetCheckSeverity.ERROR if verdict.severe else dg.AssetCheckSeverity.WARN,
            description=verdict.problem or good,
            metadata={**shown, **verdict.numbers},
        )
        for verdict in verdicts
    ]
