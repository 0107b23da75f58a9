"""The assets of each hour of a day in fast-forward: `python -m tests.hourly_quality.measured_day --images 10000`.

Prints one line for each hour: what was planted, how many images are decided, and the checks that are red.
"""

import argparse
import json
import logging
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from assets.coverage import coverage
from assets.decisions_log import decisions_log
from assets.drift import drift
from assets.recall import recall
from assets.topic_logs import topic_logs
from neardup_platform.client import Client
from neardup_platform.kafka.topics import ensure_topics
from neardup_platform.s3_client import ensure_bucket, open_s3
from neardup_platform.servers.embedded_servers import running_servers
from neardup_platform.serving.app import build_app
from neardup_platform.settings import Settings
from neardup_platform.terms.hyperplanes import load_term_space
from neardup_platform.testing import eventually
from neardup_platform.testing.traffic import DIM, PAIR_DIM
from resources.platform import PlatformResource
from tests.dagster.operation_run import variables
from tests.hourly_quality.fast_forward import BURSTS, NONE, Day, Fault, fitted, models
from tests.serving.conftest import listening

QUALITY = [coverage, recall, drift]
_NEEDED = frozenset[dg.AssetKey]().union(*(asset.asset_deps[asset.key] for asset in QUALITY))
LOGS = [asset for asset in (decisions_log, *topic_logs) if asset.key in _NEEDED]
_ANNOUNCED = [asset for asset in LOGS if asset.key.path[-1].startswith("embeddings")]

# What is planted, and the checks that it should turn red. An index that finds little changes what is decided, too.
FAULTS = {
    "a flood of spam": (Fault(spam=0.7), {"no_cluster_is_flooded"}),
    "another model under the same version": (Fault(shift=0.1), {"embeddings_are_as_before"}),
    "a producer that dies": (Fault(dead_from=BURSTS // 2), {"both_embeddings_arrive"}),
    "a producer of garbage": (Fault(garbage=0.05), {"few_are_refused"}),
    "a slow worker": (Fault(delay_ms=3_000), {"decisions_are_prompt"}),
    "messages deleted before they are read": (Fault(unread_from=BURSTS - 1), {"every_image_is_decided"}),
    "a search that finds little": (
        Fault(min_overlap=50),
        {
            *("matches_are_found", "decisions_are_repeatable", "as_many_are_duplicates"),
            *("scores_are_as_before", "scores_fit_the_classifier"),
        },
    ),
}


@dataclass(frozen=True, slots=True)
class MeasuredHour:
    """An hour and the names of its red checks, with what they say."""

    hour: datetime
    planted: str
    decided: int
    red: Mapping[str, str]


@contextmanager
def serving_traffic(servers: Settings) -> Iterator[Settings]:
    """An API over the traffic, a bucket of its own, and the environment that runs read."""
    own = servers.s3.model_copy(update={"bucket": f"day-{time.time_ns()}"})
    ensure_bucket(open_s3(own), own)
    quality = servers.quality.model_copy(update={"sample": 40})
    settings = fitted(servers.model_copy(update={"s3": own, "quality": quality}))
    space = load_term_space(settings.terms.space)
    with listening(build_app(settings, lambda: models(settings, space))) as http:
        settings = settings.model_copy(update={"api": settings.api.model_copy(update={"port": http.base_url.port})})
        with variables(settings):
            yield settings


def measured_day(
    settings: Settings, healthy: int, planted: Sequence[str], most: int, *, steep: float = 1.0, seed: int = 0
) -> Iterator[MeasuredHour]:
    """Live through healthy hours, then through one with each fault, and measure each.

    Args:
        settings: of `serving_traffic`.
        healthy: hours; the faults begin at 11 in the morning.
        planted: names of `FAULTS`.
        most: images in the busiest hour.
        steep, seed: as of `Day`.
    """
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    day = Day(settings, now - timedelta(hours=healthy + len(planted) + 1), most, 11 - healthy, steep=steep, seed=seed)
    hours = [("", NONE)] * healthy + [(name, FAULTS[name][0]) for name in planted]
    with dg.DagsterInstance.ephemeral() as instance, Client.from_settings(settings) as api:
        try:
            for name, fault in hours:
                hour, assets = day.hour(fault), [*LOGS, *QUALITY]
                if fault.unread_from < BURSTS:
                    _materialised(instance, hour, _ANNOUNCED)
                    day.forget()
                    assets = [asset for asset in assets if asset not in _ANNOUNCED]
                decided = day.decided
                eventually(lambda decided=decided: api.status().images == decided)  # type: ignore[misc]
                # Samples are decided again by the search, which follows the worker by itself.
                eventually(lambda: _images_searched(api) == day.searchable)
                yield MeasuredHour(hour, name, decided, _materialised(instance, hour, assets))
        finally:
            day.close()


def _images_searched(api: Client) -> int:
    return api.search(lsh=[1.0] * DIM, pair=[1.0] * PAIR_DIM).images_searched


def _materialised(
    instance: dg.DagsterInstance, hour: datetime, assets: Sequence[dg.AssetsDefinition]
) -> dict[str, str]:
    """The checks that are red, with what they say."""
    result = dg.materialize(
        [*LOGS, *QUALITY],
        selection=assets,
        partition_key=f"{hour:%Y-%m-%d-%H:00}",
        resources={"platform": PlatformResource()},
        instance=instance,
    )
    return {
        check.check_name: check.description or "" for check in result.get_asset_check_evaluations() if not check.passed
    }


def main() -> None:
    """Live through a healthy day and every fault, on servers of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000, help="images in the busiest hour")
    parser.add_argument("--healthy", type=int, default=24, help="hours before the faults")
    parser.add_argument("--steep", type=float, default=1.0, help="power of the curve of the day")
    parser.add_argument("--seed", type=int, default=0, help="of the traffic")
    parser.add_argument("--no-faults", action="store_true", help="healthy hours alone")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running_servers(Settings(home=folder / "servers")) as servers:
            ensure_topics(servers.kafka)
            with serving_traffic(servers.model_copy(update={"home": folder / "home"})) as settings:
                planted = [] if given.no_faults else list(FAULTS)
                shape = {"steep": given.steep, "seed": given.seed}
                for each in measured_day(settings, given.healthy, planted, given.images, **shape):
                    shown = {"hour": f"{each.hour:%Y-%m-%dT%H}", "planted": each.planted, "decided": each.decided}
                    print(json.dumps({**shown, "red": dict(each.red)}), flush=True)  # noqa: T201 -- its output


if __name__ == "__main__":
    main()
