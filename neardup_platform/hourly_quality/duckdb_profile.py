"""The profile of an hour from its logs: each decision of the stream once, and `lsh` vectors of a sample of clusters."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from neardup_platform.hourly_quality.duckdb_views import MEMORY, add_view
from neardup_platform.hourly_quality.profile import CANDIDATE_BINS, CROWD_BINS, SCORE_BINS, Profile, spread_directions
from neardup_platform.hourly_quality.vector_rows import decoded_vectors, of_length_1
from neardup_platform.terms.hyperplanes import TermSpace
from neardup_platform.topic_logs.topic_log import DECISIONS, LSH_EMBEDDINGS

# The same images whenever the hour is read again: those with the smallest hashes of their ids.
SAMPLED_VECTORS = 5_000

_DECIDED = f"""
    create temp table decided as
    select event_id, any_value(image_id) as image_id, any_value(head) as head,
        max(list_max([each.score for each in candidates])) as score,
        any_value(candidates_found) as candidates_found, bool_or(undistinctive) as undistinctive,
        bool_or(guard is not null) as held_apart, any_value(classifier_version) as classifier_version,
        any_value(terms_version) as terms_version
    from {DECISIONS.name} where event_id is not null and cause = '' group by 1
"""  # noqa: S608 -- our own names
_COUNTS = """
    select count(*), count(*) filter (head <> image_id), count(*) filter (undistinctive), count(*) filter (held_apart)
    from decided
"""
# Bin 0: no candidate is recorded; a score of 1 belongs to the last one.
_SCORES = f"""
    select case when score is null then 0 else 1 + least(floor(score * {SCORE_BINS - 1})::int, {SCORE_BINS - 2}) end,
        count(*)
    from decided group by 1
"""  # noqa: S608 -- our own numbers
_CANDIDATES = f"""
    select
        case when found = 0 then 0 else 1 + least(floor(log2(found))::int, {CANDIDATE_BINS - 2}) end, count(*)
    from (select candidates_found as found from decided) group by 1
"""  # noqa: S608 -- our own numbers
_VERSIONS = """
    select 'classifier ' || classifier_version, count(*) from decided group by 1
    union all select 'terms ' || terms_version, count(*) from decided group by 1 order by 1
"""
# How many of the hour joined the same cluster, and the number of images in clusters of that many.
_CROWDS = f"""
    select least(floor(log2(images))::int, {CROWD_BINS - 1}), sum(images)::bigint
    from (select count(*) as images from decided where head <> image_id group by head) group by 1
"""  # noqa: S608 -- our own numbers
_CROWD = "select head, count(*) as images from decided where head <> image_id group by 1 order by 2 desc, 1 limit 1"
# One image of each cluster: copies are not independent, and a flood of one picture says nothing about the others.
_CHOSEN = f"""
    create temp table chosen as
    select image_id from (select arg_min(image_id, hash(image_id)) as image_id from decided group by head)
    order by hash(image_id), image_id limit {SAMPLED_VECTORS}
"""  # noqa: S608 -- our own number
_VECTORS = f"""
    select any_value(dtype), any_value(vector) from {LSH_EMBEDDINGS.name} semi join chosen using (image_id)
    where model_version = $model group by image_id order by hash(image_id), image_id
"""  # noqa: S608 -- our own name


def read_profile(decisions: Sequence[Path], embeddings: Sequence[Path], space: TermSpace, folder: Path) -> Profile:
    """The profile of some files.

    Args:
        decisions, embeddings: of the logs of decisions and of `lsh` embeddings.
        space: hashes the sampled vectors; vectors of other models than its own are left out.
        folder: where DuckDB puts what does not fit into memory.
    """
    config: Any = {"memory_limit": MEMORY, "threads": 2, "temp_directory": str(folder)}
    with duckdb.connect(config=config) as db:
        add_view(db, DECISIONS, decisions)
        add_view(db, LSH_EMBEDDINGS, embeddings)
        db.execute(_DECIDED)
        count, joined, undistinctive, held_apart = db.execute(_COUNTS).fetchall()[0]
        crowd = db.execute(_CROWD).fetchone() or ("", 0)
        versions = {str(name): int(number) for name, number in db.execute(_VERSIONS).fetchall()}
        scores = _bins(db.execute(_SCORES).fetchall(), SCORE_BINS)
        candidates = _bins(db.execute(_CANDIDATES).fetchall(), CANDIDATE_BINS)
        crowds = _bins(db.execute(_CROWDS).fetchall(), CROWD_BINS)
        db.execute(_CHOSEN)
        sampled = db.execute(_VECTORS, {"model": space.model_version}).fetchall()
    _, found = decoded_vectors([dtype for dtype, _ in sampled], [vector for _, vector in sampled], space.dim)
    vectors = of_length_1(found).astype(np.float64)
    projected = vectors @ spread_directions(space.dim).T
    top_terms, term_pairs = _terms(found, space) if len(found) else (0.0, 0.0)
    return Profile(
        decisions=int(count),
        joined=int(joined),
        undistinctive=int(undistinctive),
        held_apart=int(held_apart),
        scores=scores,
        candidates=candidates,
        versions=versions,
        most_joined=int(crowd[1]),
        crowded=str(crowd[0]),
        vectors=len(vectors),
        vector_sum=tuple(vectors.sum(axis=0).tolist()) if len(vectors) else (),
        top_terms=top_terms,
        crowds=crowds,
        lengths=float(np.linalg.norm(found, axis=1).sum()),
        products=tuple((projected.T @ projected).ravel().tolist()) if len(vectors) else (),
        vector_pairs=len(vectors) * (len(vectors) - 1) // 2,
        term_pairs=term_pairs,
    )


def _bins(rows: Sequence[tuple[Any, ...]], size: int) -> tuple[int, ...]:
    counts = [0] * size
    for number, count in rows:
        counts[int(number)] = int(count)
    return tuple(counts)


def _terms(vectors: NDArray[np.float32], space: TermSpace) -> tuple[float, float]:
    """Images with the commonest term of a table, and pairs of images with the same term; averages over tables."""
    planes = space.hash(vectors).signatures.reshape(len(vectors), space.bits, -1)
    bits = np.unpackbits(planes.view(np.uint8), axis=2, bitorder="little")[:, :, : space.tables]
    terms = np.tensordot(1 << np.arange(space.bits), bits.astype(np.int64), (0, 1))
    counts = [np.bincount(column) for column in terms.T]
    return float(np.mean([each.max() for each in counts])), float(
        np.mean([(each * (each - 1)).sum() / 2 for each in counts])
    )
