"""Which hours, days or weeks of an asset should be materialised and are not."""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta

import dagster as dg

# As long as topics keep their messages by default: what is older cannot be repaired from Kafka.
LOOKED_BACK = timedelta(days=7)
# Reports are made some time after their day is over.
_REPORTED_WITHIN = timedelta(hours=3)
_HOUR = timedelta(hours=1)
_GROUPS = frozenset({"logs", "logs_by_day", "quality", "reports"})


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
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    now: datetime,
    told: Collection[tuple[dg.AssetKey, str]] = (),
) -> Iterator[tuple[str, Mapping[dg.AssetKey, list[str]]]]:
    """The gaps of each group of assets that has any, by asset.

    Not those that wait, by their automation condition, for a gap of an asset that they depend on.

    Args:
        told: partitions that do not count, as people know of them; those that wait for them do not count either.
    """
    graph = repository.asset_graph
    # The windows that are missing, of each asset seen so far: those that it depends on come before it.
    windows: dict[dg.AssetKey, list[dg.TimeWindow]] = {}
    found: dict[str, dict[dg.AssetKey, list[str]]] = {}
    for key in graph.toposorted_asset_keys:
        node = graph.get(key)
        if node.group_name not in _GROUPS or not isinstance(node.partitions_def, dg.TimeWindowPartitionsDefinition):
            continue
        missing = {
            each: node.partitions_def.time_window_for_partition_key(each)
            for each in gaps(instance, key, node.partitions_def, now)
        }
        windows[key] = list(missing.values())
        awaits = node.parent_keys if node.automation_condition is not None else ()
        awaited = [window for parent in awaits for window in windows.get(parent, ())]
        due = [
            each
            for each, window in missing.items()
            if (key, each) not in told and not any(_within(inner, window) for inner in awaited)
        ]
        if due:
            found.setdefault(node.group_name, {})[key] = due
    for group, assets in sorted(found.items()):
        yield group, dict(sorted(assets.items(), key=lambda item: str(item[0])))


def _within(inner: dg.TimeWindow, outer: dg.TimeWindow) -> bool:
    return outer.start <= inner.start and inner.end <= outer.end


def _due(window: dg.TimeWindow) -> datetime:
    return window.end if window.end - window.start <= _HOUR else window.end + _REPORTED_WITHIN
