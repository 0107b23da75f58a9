"""Queries over the Parquet files of a decisions log, with DuckDB."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from neardup_platform.decisions_log.wrong_matches import DecidedAlike
from neardup_platform.records import QUARANTINED
from neardup_platform.topic_logs.duckdb_files import parquet_rows
from neardup_platform.topic_logs.topic_log import DECISIONS

# Enough for the distinct counts of an hour at 200 images/s; beyond it DuckDB spills to disk.
_MEMORY = "512MB"


@dataclass(frozen=True, slots=True)
class DecisionCounts:
    """Counts over the files of one window.

    Attributes:
        records: messages in the log, including repeats.
        decisions: distinct event ids, which is the number of decisions.
        images: distinct image ids.
        clusters_founded: decisions by which an image became the head of a new cluster.
        joined: decisions by which an image joined a cluster; decisions that forget an image have no head.
        held_apart: decisions that held an image apart from a guarded cluster.
        quarantined: decisions that held an image apart from a cluster in quarantine.
        undistinctive: decisions about undistinctive images.
        undecodable: records that are not a decision.
    """

    records: int
    decisions: int
    images: int
    clusters_founded: int
    joined: int
    held_apart: int
    quarantined: int
    undistinctive: int
    undecodable: int


def count_decisions(files: Sequence[Path]) -> DecisionCounts:
    """Count over all files together; columns that a file of an earlier version lacks are null."""
    query = f"""
        select count(*), count(distinct event_id), count(distinct image_id),
            count(distinct event_id) filter (head = image_id),
            count(distinct event_id) filter (head not in (image_id, '')),
            count(distinct event_id) filter (guard is not null and guard.reason != '{QUARANTINED}'),
            count(distinct event_id) filter (guard.reason = '{QUARANTINED}'),
            count(distinct event_id) filter (undistinctive),
            count(*) filter (event_id is null)
        from decided
    """  # noqa: S608 -- our own names
    return DecisionCounts(*_ask(query, files)[0])


def decided_alike(files: Sequence[Path]) -> list[DecidedAlike]:
    """Count the decisions of the stream over all files together, by classifier, threshold and distinctiveness."""
    query = """
        select classifier_version, threshold, undistinctive, avg(corpus_images), count(distinct event_id)
        from decided where cause = '' and corpus_images is not null
        group by all order by all
    """
    return [DecidedAlike(*row) for row in _ask(query, files)]


def first_decisions(files: Sequence[Path], limit: int) -> list[dict[str, Any]]:
    """The first decisions, in decision order, for a preview."""
    names = ("sequence", "image_id", "head", "score", "candidates_found", "kafka_partition", "kafka_offset")
    query = f"""
        select {", ".join(names)} from decided where event_id is not null
        order by sequence limit {limit:d}
    """  # noqa: S608 -- our own names and number
    return [dict(zip(names, row, strict=True)) for row in _ask(query, files)]


def _ask(query: str, files: Sequence[Path]) -> list[tuple[Any, ...]]:
    with duckdb.connect(config={"memory_limit": _MEMORY, "threads": 2}) as connection:
        connection.register("known", DECISIONS.schema.empty_table())
        connection.execute(f"create view decided as from known union all by name from {parquet_rows(files)}")
        return connection.execute(query).fetchall()
