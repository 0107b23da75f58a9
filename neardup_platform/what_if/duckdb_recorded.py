"""Reads recorded decisions from Parquet files of the decisions log into columns, with DuckDB.

Of each image the last decision that compared candidates is taken, and an image that was forgotten since is left out. A
repeat of a message changes nothing. Memory is bounded: DuckDB spills to disk, and too many candidates are refused.
"""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from neardup_platform.errors import BadCommand, NotFound
from neardup_platform.topic_logs.duckdb_files import parquet_rows
from neardup_platform.topic_logs.topic_log import DECISIONS
from neardup_platform.what_if.recorded import Edges, Handovers, Recorded

MAX_DECISIONS = 5_000_000
# 14 bytes each as columns, and about 100 on disk while they are read.
MAX_CANDIDATES = 40_000_000
_MEMORY = "1GB"

_CHOSEN = """
    create temp table chosen as
    with decided as (
        select image_id, head, cause, sequence, filename, file_row_number,
            row_number() over (partition by image_id order by sequence desc, filename, file_row_number) as place,
            bool_or(head = '' and sequence = last) over (partition by image_id) as forgotten
        from (select *, max(sequence) over (partition by image_id) as last from rows where event_id is not null)
        where cause <> 'handover'
    )
    select (row_number() over (order by sequence, image_id) - 1)::integer as node, filename, file_row_number, image_id
    from decided where place = 1 and not forgotten
"""
_COLUMNS = """
    create temp table decided as
    select c.node, r.image_id, r.head, r.sequence, r.decided_ms, r.head_score, r.threshold, r.head_threshold,
        r.override_id <> '' as pinned, r.guard is not null as held, coalesce(r.undistinctive, false) as undistinctive,
        coalesce(r.corpus_images, 0)::bigint as corpus_images, r.classifier_version
    from rows r join chosen c using (filename, file_row_number)
"""
_MENTIONED = """
    create temp table mentioned as
    select c.node, x.place, x.one.image_id as candidate, x.one.head as head, x.one.score as score,
        x.one.overlap = try_cast(split_part(r.terms_version, 'x', 1) as integer) as copy
    from rows r join chosen c using (filename, file_row_number),
        lateral (select unnest(r.candidates) as one, unnest(range(len(r.candidates))) as place) x
    where r.candidates[1].score >= least({least}, r.threshold)
"""
_NODES = """
    create temp table outside as
    with named as (
        select candidate as id from mentioned union select head from mentioned union select head from decided
        union select image_id from rows where cause = 'handover' and event_id is not null
    )
    select id, (row_number() over (order by id) - 1 + (select count(*) from chosen))::integer as node
    from named anti join chosen on named.id = chosen.image_id
"""
_ALL_NODES = "create temp table nodes as select image_id as id, node from chosen union all select id, node from outside"


def read_recorded(files: Sequence[Path], scratch: Path, least_score: float = 0.0) -> Recorded:
    """Reads the decisions of some files.

    Args:
        files: Parquet, with the columns of the decisions log; those that an earlier version lacks are null.
        scratch: folder for what does not fit into memory.
        least_score: candidates are read of images whose best one reaches it; the others found clusters anyway.

    Raises:
        NotFound: there is no decision in them.
        BadCommand: there are more than `MAX_DECISIONS` decisions or `MAX_CANDIDATES` candidates.
    """
    with duckdb.connect(config={"memory_limit": _MEMORY, "threads": 2, "temp_directory": str(scratch)}) as db:
        db.register("known", DECISIONS.schema.empty_table())
        db.execute(f"create view stored as from {parquet_rows(files, 'filename', 'file_row_number')}")
        db.execute("create temp view rows as from known union all by name from stored")
        db.execute(_CHOSEN)
        _bound(db, "chosen", MAX_DECISIONS, "decisions")
        db.execute(_COLUMNS)
        db.execute(_MENTIONED.format(least=float(least_score)))
        _bound(db, "mentioned", MAX_CANDIDATES, "recorded candidates")
        db.execute(_NODES)
        db.execute(_ALL_NODES)
        return _columns(db)


def _bound(db: duckdb.DuckDBPyConnection, table: str, most: int, what: str) -> None:
    ((count,),) = db.execute(f"select count(*) from {table}").fetchall()  # noqa: S608 -- our own names
    if table == "chosen" and not count:
        raise NotFound("these hours hold no decision: choose others, or materialise logs/decisions for them")
    if count > most:
        raise BadCommand(f"these hours hold {count:,} {what}, {most:,} are read at most: choose fewer hours")


def _columns(db: duckdb.DuckDBPyConnection) -> Recorded:
    own = db.sql(
        "select d.* exclude (image_id, head), n.node as head from decided d join nodes n on n.id = d.head order by 1"
    ).to_arrow_table()
    edges = db.sql(
        "select m.node, n.node as candidate, m.score, coalesce(m.copy, false) as copy from mentioned m "
        "join nodes n on n.id = m.candidate order by m.node, m.place"
    ).to_arrow_table()
    homes = db.sql(
        "select o.node, coalesce(h.node, o.node) as head from outside o left join "
        "(select candidate, arg_max(head, node) as head from mentioned group by candidate) m on m.candidate = o.id "
        "left join nodes h on h.id = m.head order by 1"
    ).to_arrow_table()
    handed = db.sql(
        "select o.node as old, n.node as new, max(sequence) as sequence from rows r join nodes o on o.id = "
        "r.replaced_head join nodes n on n.id = r.image_id where r.cause = 'handover' group by all order by sequence"
    ).to_arrow_table()
    named = db.sql(
        "select n.id, f.image_id is not null as forgotten from nodes n left join (select image_id from rows where "
        "event_id is not null group by 1 having arg_max(head, sequence) = '') f on f.image_id = n.id order by n.node"
    ).to_arrow_table()
    counts = db.execute("select classifier_version, count(*) from decided group by 1 order by 1").fetchall()
    starts = np.searchsorted(edges["node"].to_numpy(), np.arange(len(own) + 1))
    return Recorded(
        ids=pa.chunked_array(named["id"].chunks, pa.string()).combine_chunks(),
        forgotten=named["forgotten"].to_numpy(),
        sequence=own["sequence"].to_numpy(),
        decided_ms=own["decided_ms"].to_numpy(),
        head=own["head"].to_numpy(),
        head_score=own["head_score"].to_numpy(),
        match=own["threshold"].to_numpy(),
        least_head=own["head_threshold"].to_numpy(),
        pinned=own["pinned"].to_numpy(),
        held=own["held"].to_numpy(),
        undistinctive=own["undistinctive"].to_numpy(),
        corpus_images=own["corpus_images"].to_numpy(),
        outside_head=homes["head"].to_numpy(),
        edges=Edges(
            starts.astype(np.int64),
            edges["candidate"].to_numpy(),
            edges["score"].to_numpy(),
            edges["copy"].to_numpy(),
        ),
        handovers=Handovers(*(handed[name].to_numpy() for name in Handovers._fields)),
        classifiers=dict(counts),
    )
