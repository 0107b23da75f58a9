"""Queries over the logs of an hour: what became of each image that was announced in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from neardup_platform.hourly_quality.chance import fewest_surely_above
from neardup_platform.hourly_quality.duckdb_views import MEMORY, add_view
from neardup_platform.topic_logs.topic_log import (
    DEAD_LETTERS,
    DECISIONS,
    EXPIRIES,
    LSH_EMBEDDINGS,
    PAIR_EMBEDDINGS,
    TopicLog,
)

# Images without a trace that are listed.
MOST_UNEXPLAINED = 10_000
_ANNOUNCED = ("image_id", "kafka_partition", "kafka_offset", "kafka_timestamp")
# What is read of each log: vectors, two gigabytes of an hour at 200 images/s, are not.
COLUMNS: Mapping[TopicLog, Sequence[str]] = {
    LSH_EMBEDDINGS: _ANNOUNCED,
    PAIR_EMBEDDINGS: _ANNOUNCED,
    DECISIONS: ("event_id", "image_id", "cause", "kafka_timestamp"),
    DEAD_LETTERS: ("topic", "partition", "offset", "reason"),
    EXPIRIES: ("halves",),
}
LOGS = tuple(COLUMNS)

_FATES = f"""
    create temp table fates as
    with announced as (
        select image_id, '{LSH_EMBEDDINGS.topic}' as topic, kafka_partition, kafka_offset, kafka_timestamp
        from {LSH_EMBEDDINGS.name} where image_id is not null
        union all
        select image_id, '{PAIR_EMBEDDINGS.topic}', kafka_partition, kafka_offset, kafka_timestamp
        from {PAIR_EMBEDDINGS.name} where image_id is not null
    ),
    first as (select image_id, topic, min(epoch_ms(kafka_timestamp)) as at_ms from announced group by all),
    images as (
        select image_id, max(at_ms) as complete_ms, count(*) = 2 as complete from first
        group by 1 having complete_ms >= $begin_ms and complete_ms < $end_ms
    ),
    decided as (
        select image_id, min(epoch_ms(kafka_timestamp)) as at_ms from {DECISIONS.name}
        where event_id is not null and cause in ('', 're-embedded', 'replaced') group by 1
    ),
    refused as (
        select distinct image_id from announced
        join {DEAD_LETTERS.name} as letter on letter.topic = announced.topic
            and letter.partition = announced.kafka_partition and letter.offset = announced.kafka_offset
        where letter.reason not in ('expired', 'evicted')
    ),
    expired as (select distinct half.image_id from (select unnest(halves) as half from {EXPIRIES.name}))
    select images.image_id, complete_ms, decided.at_ms - complete_ms as latency_ms,
        case
            when decided.image_id is not null then 'decided'
            when refused.image_id is not null then 'refused'
            when expired.image_id is not null then 'expired'
            when not complete then 'incomplete'
            else 'unexplained'
        end as fate
    from images left join decided using (image_id) left join refused using (image_id) left join expired using (image_id)
"""  # noqa: S608 -- our own names

_SLOWEST_SHARE = 0.01
_SLOW = "select greatest(latency_ms, 0) from fates where fate = 'decided' order by 1 desc limit 1 offset $skipped"


@dataclass(frozen=True, slots=True)
class Fates:
    """What became of the images whose last embedding was announced in a time.

    Attributes:
        announced: images.
        decided, refused, expired: of them.
        incomplete: only one of their embeddings was announced, and it has not expired.
        unexplained: both were, and nothing was published about them: announced again, or lost.
        unexplained_ids: of those, at most `MOST_UNEXPLAINED`, a random sample.
        latency_ms: percentiles 50, 95, 99 and 100 of the time from the last embedding to the decision, by Kafka's
            timestamps; empty if none was decided.
        lsh, pair: announcements in the hour, repeats included.
        p99_least_ms: the 99th percentile as far as it is sure: so many waited at least so long that, beyond chance,
            more than one in a hundred do; 0 of too few images. None in measures of earlier releases.
    """

    announced: int
    decided: int
    refused: int
    expired: int
    incomplete: int
    unexplained: int
    unexplained_ids: tuple[str, ...]
    latency_ms: tuple[float, ...]
    lsh: int
    pair: int
    p99_least_ms: float | None = None


def read_fates(files: Mapping[TopicLog, Sequence[Path]], begin_ms: int, end_ms: int, folder: Path) -> Fates:
    """Follow the images of a time through the logs.

    Args:
        files: of `LOGS`, of this hour and those around it; a log without files had no messages.
        begin_ms, end_ms: Unix milliseconds; images whose last embedding was announced from begin to before end.
        folder: where DuckDB puts what does not fit into memory.
    """
    config: Any = {"memory_limit": MEMORY, "threads": 2, "temp_directory": str(folder)}
    window = {"begin_ms": begin_ms, "end_ms": end_ms}
    with duckdb.connect(config=config) as db:
        for log in LOGS:
            add_view(db, log, files.get(log, ()))
        db.execute(_FATES, window)
        counted = dict(db.execute("select fate, count(*) from fates group by 1").fetchall())
        ids = db.execute(
            "select image_id from fates where fate = 'unexplained' order by hash(image_id) limit ?", [MOST_UNEXPLAINED]
        )
        unexplained = tuple(image_id for (image_id,) in ids.fetchall())
        spread = "select quantile_cont(greatest(latency_ms, 0), [0.5, 0.95, 0.99, 1]) from fates where fate = 'decided'"
        latencies = (db.execute(spread).fetchone() or (None,))[0]
        fewest = fewest_surely_above(int(counted.get("decided", 0)), _SLOWEST_SHARE)
        slow = db.execute(_SLOW, {"skipped": fewest - 1}).fetchone() if fewest else None
        lsh, pair = (_count(db, log, window) for log in (LSH_EMBEDDINGS, PAIR_EMBEDDINGS))
    fates = {name: int(counted.get(name, 0)) for name in ("decided", "refused", "expired", "incomplete", "unexplained")}
    return Fates(
        announced=sum(fates.values()),
        **fates,
        unexplained_ids=unexplained,
        latency_ms=tuple(latencies or ()),
        lsh=lsh,
        pair=pair,
        p99_least_ms=float(slow[0]) if slow else 0.0,
    )


def _count(db: duckdb.DuckDBPyConnection, log: TopicLog, window: Mapping[str, int]) -> int:
    query = f"select count(*) from {log.name} where epoch_ms(kafka_timestamp) between $begin_ms and $end_ms - 1"  # noqa: S608 -- our own name
    found = db.execute(query, dict(window)).fetchone()
    return int(found[0]) if found else 0
