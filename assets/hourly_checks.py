"""What the assets that judge an hour have in common: when they run, their checks, and how a verdict is shown."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import dagster as dg

from assets.topic_logs import hours

if TYPE_CHECKING:
    from neardup_platform.hourly_quality.verdicts import Verdict

# An hour is measured when its logs are, and again when one of them is written again.
WHEN_LOGGED = dg.AutomationCondition.eager().without(dg.AutomationCondition.in_latest_time_window())


class HourlyCheck(NamedTuple):
    """A check of an hour.

    Attributes:
        claim: what holds while it is green.
        remedy: the page of the UI where what repairs it is started, or seen: of a job (`guess/…`) or an asset.
    """

    claim: str
    remedy: str


Checks = Mapping[str, HourlyCheck]


def hourly_checks(key: dg.AssetKey, checks: Checks) -> list[dg.AssetCheckSpec]:
    """The checks of an asset, by name, each with a result for every hour."""
    return [
        dg.AssetCheckSpec(name, asset=key, description=check.claim, partitions_def=hours)
        for name, check in checks.items()
    ]


def check_results(
    verdicts: Iterable["Verdict"], checks: Checks, good: str, shown: Mapping[str, str | int], url: str
) -> list[dg.AssetCheckResult]:
    """The results of the checks of an hour.

    Args:
        good: what a check says that found no problem.
        shown: metadata of every result, beside what was compared.
        url: of the webserver.
    """
    return [
        dg.AssetCheckResult(
            passed=verdict.problem is None,
            check_name=verdict.name,
            severity=dg.AssetCheckSeverity.ERROR if verdict.severe else dg.AssetCheckSeverity.WARN,
            description=verdict.problem or verdict.good or good,
            metadata={
                **shown,
                **verdict.numbers,
                "remedy": dg.MetadataValue.url(f"{url}/{checks[verdict.name].remedy}"),
            },
        )
        for verdict in verdicts
    ]
