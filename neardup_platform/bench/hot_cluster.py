"""The effect of a cluster as large as the original system's largest on queries near it.

Its members are added as the stream adds them: each block is searchable immediately, and all but the representatives are
retired once they are decided.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from neardup_platform.bench.image_tree import centred_to_embeddings, unit_rows
from neardup_platform.bench.search_engine import KeptImages
from neardup_platform.bench.search_measures import BATCH_QUERIES, Load, measure_speed
from neardup_platform.bench.term_index_engine import TermIndexEngine
from neardup_platform.terms.hyperplanes import Hashed, TermSpace

# Members of the largest cluster of the original system.
MEMBERS = 1_100_000
# Share of bits in which a member differs from the image that all are copies of: a recompressed picture.
_FLIPPED = 0.02


def measure_hot_cluster(
    engine: TermIndexEngine, setting: str, image: Hashed, load: Load, representatives: int
) -> list[dict[str, Any]]:
    """Speed of queries similar to one image, before and after it has become a cluster of MEMBERS.

    Args:
        engine: opened.
        setting: to search with.
        image: one row.
        load: what else is known about the corpus.
        representatives: members that stay in the index.

    Returns:
        Two rows, without the metrics that do not change.
    """
    rng = np.random.default_rng(0)
    near = Load(_copies(engine.space, image, BATCH_QUERIES * 8, rng), load.newcomers, load.k)
    rows = []
    for members in (0, MEMBERS):
        if members:
            _add_members(engine, image, representatives, rng)
        speed = measure_speed(engine, setting, near)
        rows.append({"setting": f"{setting}, near a cluster of {members:,}", "cluster_members": members, **speed})
    return rows


def _copies(space: TermSpace, image: Hashed, count: int, rng: np.random.Generator) -> Hashed:
    """Copies whose signatures differ in a few random bits: the share is the angle between them, in half turns."""
    noise = unit_rows(rng.standard_normal((count, space.dim)).astype(np.float32))
    copies = unit_rows(image.unit + np.float32(np.tan(np.pi * _FLIPPED)) * noise)
    # Whatever cells are fitted, an engine finds those of the copies by their signatures.
    return replace(space, fitted=None).hash(centred_to_embeddings(copies, space.mean))


def _add_members(engine: TermIndexEngine, image: Hashed, representatives: int, rng: np.random.Generator) -> None:
    index = engine.index
    copies = KeptImages.of(_copies(engine.space, image, 4 * BATCH_QUERIES, rng), engine.space.mean)
    added = kept = 0
    while added < MEMBERS:
        ordinals = np.arange(len(index), len(index) + min(len(copies), index.room, MEMBERS - added))
        engine.add(copies[: len(ordinals)])
        added += len(ordinals)
        stay = min(len(ordinals), representatives - kept)
        kept += stay
        index.retire(ordinals[stay:])
    index.flush()
