"""Clusters to look at: those that look like chains, those that many images bridge, those that grow fast.

Recorded decisions → **clusters, each with its reasons** → proposals, Dagster.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from neardup_platform.topic_logs.duckdb_files import parquet_rows
from neardup_platform.topic_logs.topic_log import DECISIONS

# From so many images on, in the hours looked at.
LEAST_BRIDGES = 5
# From so many images that join within one hour on.
LEAST_FLOOD = 500
MOST_ALARMS = 50
_MEMORY = "1GB"

_QUERY = """
    with decided as (
        select event_id, any_value(head) as head, any_value(image_id) as image_id, any_value(bridges) as bridges,
            any_value(guard.head) as apart, any_value(decided_ms) // 3600000 as hour
        from (from known union all by name from stored) where event_id is not null and cause <> 'handover' group by 1
    ),
    joined as (select head, hour, count(*) as images from decided where head not in ('', image_id) group by all),
    counted as (
        select head, sum(images) as joined, max(images) as most, 0 as bridged, 0 as apart from joined group by 1
        union all
        select head, 0, 0, count(*), 0 from (select unnest(bridges) as head from decided) group by 1
        union all
        select apart, 0, 0, 0, count(*) from decided where apart is not null group by 1
    )
    select head, sum(apart)::bigint as held_apart, sum(bridged)::bigint as bridged, sum(joined)::bigint as joined,
        max(most)::bigint as most_in_an_hour
    from counted group by head
    having held_apart > 0 or bridged >= {bridges} or most_in_an_hour >= {flood}
    order by held_apart desc, bridged desc, most_in_an_hour desc, head limit {most}
"""


@dataclass(frozen=True, slots=True)
class Alarm:
    """A cluster to look at.

    Attributes:
        head: of the cluster, as the decisions named it.
        held_apart: images that the guard kept out of it, because too few of its members agree with them.
        bridged: images that matched it and joined another cluster, or founded one.
        joined: images that joined it.
        most_in_an_hour: of these, in one hour.
    """

    head: str
    held_apart: int
    bridged: int
    joined: int
    most_in_an_hour: int

    @property
    def reasons(self) -> str:
        """Why it is listed."""
        found = {
            "chain suspected": self.held_apart > 0,
            "bridges": self.bridged >= LEAST_BRIDGES,
            "flood": self.most_in_an_hour >= LEAST_FLOOD,
        }
        return ", ".join(name for name, holds in found.items() if holds)


def read_alarms(files: Sequence[Path], scratch: Path) -> list[Alarm]:
    """Returns at most `MOST_ALARMS` clusters, those with most images held apart first; repeats are counted once.

    Args:
        files: Parquet, of the decisions log.
        scratch: folder for what does not fit into memory.
    """
    with duckdb.connect(config={"memory_limit": _MEMORY, "threads": 2, "temp_directory": str(scratch)}) as db:
        db.register("known", DECISIONS.schema.empty_table())
        db.execute(f"create view stored as from {parquet_rows(files)}")
        query = _QUERY.format(bridges=LEAST_BRIDGES, flood=LEAST_FLOOD, most=MOST_ALARMS)
        return [Alarm(*row) for row in db.execute(query).fetchall()]
