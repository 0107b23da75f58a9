"""Queries over the decisions of an hour for examples. Images of labelled clusters are never among them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from neardup_platform.hourly_quality.duckdb_views import MEMORY, add_view
from neardup_platform.quality_report.examples import (
    MOST_GROWN,
    MOST_IN_CLUSTER,
    MOST_SHOWN,
    Chain,
    Examples,
    Grown,
    Pair,
)
from neardup_platform.topic_logs.topic_log import DECISIONS

# A label may be why nobody should see a picture.
_DECIDED = f"""
    create temp table decided as
    select event_id, any_value(image_id) as image_id, any_value(head) as head, any_value(head_score) as head_score,
        any_value(threshold) as threshold, any_value(head_threshold) as head_threshold,
        any_value(candidates[1]) as best, any_value(guard) as guard, max(sequence) as sequence
    from {DECISIONS.name}
    where event_id is not null and cause = '' and coalesce(len(labels), 0) = 0 group by 1
"""  # noqa: S608 -- our own name
_MERGES = f"""
    select image_id, head, head_score, head_threshold, true, hash(event_id) / 18446744073709551616.0
    from decided where head <> image_id order by hash(event_id), event_id limit {MOST_SHOWN}
"""  # noqa: S608 -- our own number
_UNCERTAIN = f"""
    select image_id, best.image_id, best.score, threshold, head <> image_id, abs(best.score - threshold) as distance
    from decided where best.image_id <> image_id order by distance, event_id limit {MOST_SHOWN}
"""  # noqa: S608 -- our own number
_CHAINS = f"""
    select guard.head, arg_max(image_id, sequence), arg_max(guard.agreed, sequence), arg_max(guard.compared, sequence),
        arg_max(guard.size, sequence), count(*) as held
    from decided where guard.reason = 'chain-suspected' group by 1 order by held desc, 1 limit {MOST_GROWN}
"""  # noqa: S608 -- our own number
_GROWN = f"""
    select head, list(image_id order by sequence)[:{MOST_IN_CLUSTER - 1}], count(*) as joined
    from decided where head <> image_id group by 1 order by joined desc, 1 limit {MOST_GROWN}
"""  # noqa: S608 -- our own numbers


def read_examples(decisions: Sequence[Path], folder: Path) -> Examples:
    """The examples of some files.

    Args:
        decisions: of the log of decisions.
        folder: where DuckDB puts what does not fit into memory.
    """
    config: Any = {"memory_limit": MEMORY, "threads": 2, "temp_directory": str(folder)}
    with duckdb.connect(config=config) as db:
        add_view(db, DECISIONS, decisions)
        db.execute(_DECIDED)
        return Examples(
            merges=tuple(Pair(*row) for row in db.execute(_MERGES).fetchall()),
            grown=tuple(Grown(head, tuple(images), int(n)) for head, images, n in db.execute(_GROWN).fetchall()),
            chains=tuple(Chain(*row) for row in db.execute(_CHAINS).fetchall()),
            uncertain=tuple(Pair(*row) for row in db.execute(_UNCERTAIN).fetchall()),
        )
