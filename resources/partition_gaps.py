"""Which hours, days or weeks of an asset should be materialised and are not."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

import dagster as dg

# As long as topics keep their messages by default: what is older cannot be repaired from Kafka.
LOOKED_BACK = timedelta(days=7)
# Reports are made some time after their day is over.
_REPORTED_WITHIN = timedelta(hours=3)
_HOUR = timedelta(hours=1)
_GROUPS = frozenset({"logs", "quality"})


def gaps(
    instance: dg.DagsterInstance, key: dg.AssetKey, partitions: dg.TimeWindowPartitionsDefinition, now: datetime
) -> list[str]:
    """The partitions of the last seven days that are over and were never materialised, the oldest first.

    Those before the first that ever was do not count: nothing was expected then.

    Args:
        now: with time zone.
    """
    done = instance.get_materialized_partitions(key)
    if not done:
        return []
    window = dg.TimeWindow(now - LOOKED_BACK, now)
    missing = [each for each in partitions.get_partition_keys_in_time_window(window) if min(done) < each not in done]
    return [each for each in missing if _due(partitions.time_window_for_partition_key(each)) <= now]


def gaps_by_group(
    instance: dg.DagsterInstance, repository: dg.RepositoryDefinition, now: datetime
) -> Iterator[tuple[str, Mapping[dg.AssetKey, list[str]]]]:
    """The gaps of each group of assets that has any, by asset."""
    graph = repository.asset_graph
    found: dict[str, dict[dg.AssetKey, list[str]]] = {}
    for key in sorted(graph.materializable_asset_keys, key=str):
        node = graph.get(key)
        if node.group_name in _GROUPS and isinstance(node.partitions_def, dg.TimeWindowPartitionsDefinition):
            missing = gaps(instance, key, node.partitions_def, now)
            if missing:
                found.setdefault(node.group_name, {})[key] = missing
    yield from sorted(found.items())


def _due(window: dg.TimeWindow) -> datetime:
    return window.end if window.end - window.start <= _HOUR else window.end + _REPORTED_WITHIN
