"""A sample of the decisions of an hour, the nearest neighbours of its images, and what was recorded about them all.

Logs of decisions and `lsh` embeddings of an hour → sample by hash of the id → exhaustive search among **every image
decided in the hour**, block by block → records of the sample and of its neighbours
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
from numpy.typing import NDArray

from neardup_platform.hourly_quality.duckdb_views import MEMORY, add_view
from neardup_platform.hourly_quality.faiss_neighbours import nearest
from neardup_platform.hourly_quality.vector_rows import decoded_vectors, of_length_1
from neardup_platform.terms.hyperplanes import TermSpace
from neardup_platform.topic_logs.topic_log import DECISIONS, LSH_EMBEDDINGS

# Of each sampled image.
NEIGHBOURS = 5
_BLOCK = 8_192

# Where the first announcement of each image is; reads no vectors.
_ANNOUNCED = f"""
    create temp table announced as
    with decided as (
        select distinct image_id from {DECISIONS.name} where event_id is not null and cause = ''
    )
    select image_id, min({{'partition': kafka_partition, 'offset': kafka_offset}}) as place
    from {LSH_EMBEDDINGS.name} semi join decided using (image_id) where model_version = $model group by 1
"""  # noqa: S608 -- our own names
_SAMPLED = "create temp table sampled as select * from announced order by hash(image_id), image_id limit $most"
_VECTORS = """
    select e.image_id, e.dtype, e.vector from {log} as e join {chosen} as c
    on e.image_id = c.image_id and e.kafka_partition = c.place.partition and e.kafka_offset = c.place.offset
"""
_RECORDS = f"""
    select image_id, sequence, head, score, threshold, override_id,
        [each.image_id for each in candidates], [each.score for each in candidates],
        [each.head for each in candidates]
    from {DECISIONS.name} semi join wanted using (image_id) where event_id is not null and cause = ''
    order by image_id, sequence
"""  # noqa: S608 -- our own names


@dataclass(frozen=True, slots=True)
class Record:
    """The decision of the stream about an image.

    Attributes:
        score: of the best match in the cluster joined; 0 for a founder.
        candidates: score by id, as far as they were recorded.
        heads: of the candidates' clusters, and of its own.
        pinned: whether an override decided.
    """

    image_id: str
    sequence: int
    head: str
    score: float
    threshold: float
    candidates: Mapping[str, float]
    heads: frozenset[str]
    pinned: bool


class Near(NamedTuple):
    """Two images of the hour that are near each other, in the order in which they were decided."""

    earlier: str
    later: str
    cosine: float


@dataclass(frozen=True, slots=True)
class Sample:
    """Sampled images and their neighbours.

    Attributes:
        sampled: ids.
        near: pairs of a sampled image and one of its `NEIGHBOURS` nearest, nearest pairs first.
        records: of all of them, by id.
        searched: images that were looked at: those decided in the hour with an embedding in it.
    """

    sampled: tuple[str, ...]
    near: tuple[Near, ...]
    records: Mapping[str, Record]
    searched: int


def read_sample(
    decisions: Sequence[Path], embeddings: Sequence[Path], space: TermSpace, most: int, folder: Path
) -> Sample:
    """Sample an hour; the same files give the same sample.

    Args:
        decisions, embeddings: of the logs of decisions and of `lsh` embeddings.
        space: names the model of the embeddings; others are left out.
        most: images sampled.
        folder: where DuckDB puts what does not fit into memory.
    """
    config: Any = {"memory_limit": MEMORY, "threads": 2, "temp_directory": str(folder)}
    with duckdb.connect(config=config) as db:
        add_view(db, DECISIONS, decisions)
        add_view(db, LSH_EMBEDDINGS, embeddings)
        db.execute(_ANNOUNCED, {"model": space.model_version})
        db.execute(_SAMPLED, {"most": most})
        sampled = list(_blocks(db, "sampled", space.dim))
        ids = [image_id for names, _ in sampled for image_id in names]
        queries = np.concatenate([vectors for _, vectors in sampled] or [np.empty((0, space.dim), np.float32)])
        searched = db.execute("select count(*) from announced").fetchall()[0][0]
        # Itself, too.
        found = nearest(queries, _blocks(db, "announced", space.dim), NEIGHBOURS + 1)
        wanted = {*ids, *(each.image_id for row in found for each in row)}
        records = _records(db, wanted)
    near = {
        frozenset((image_id, other.image_id)): other.cosine
        for image_id, row in zip(ids, found, strict=True)
        for other in [each for each in row if each.image_id != image_id][:NEIGHBOURS]
    }
    pairs = []
    for pair, cosine in near.items():
        earlier, later = sorted(pair, key=lambda each: records[each].sequence)
        pairs.append(Near(earlier, later, cosine))
    return Sample(tuple(ids), tuple(sorted(pairs, key=lambda each: (-each.cosine, each))), records, int(searched))


def _blocks(db: duckdb.DuckDBPyConnection, chosen: str, dim: int) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    """Ids and vectors of length 1 of a table of announcements."""
    query = _VECTORS.format(log=LSH_EMBEDDINGS.name, chosen=chosen)
    reader: Any = db.sql(query).to_arrow_reader(_BLOCK)
    for batch in reader:
        ids, dtypes, vectors = (column.to_pylist() for column in batch.columns)
        rows, kept = decoded_vectors(dtypes, vectors, dim)
        yield [ids[row] for row in rows], of_length_1(kept)


def _records(db: duckdb.DuckDBPyConnection, wanted: set[str]) -> dict[str, Record]:
    """The last decision of the stream about each image."""
    db.execute("create temp table wanted (image_id varchar)")
    if wanted:
        db.execute("insert into wanted select unnest($ids)", {"ids": sorted(wanted)})
    return {
        image_id: Record(
            image_id,
            sequence,
            head,
            score,
            threshold,
            dict(zip(ids or (), scores or (), strict=True)),
            frozenset((head, *(heads or ()))),
            bool(override_id),
        )
        for image_id, sequence, head, score, threshold, override_id, ids, scores, heads in db.execute(
            _RECORDS
        ).fetchall()
    }
