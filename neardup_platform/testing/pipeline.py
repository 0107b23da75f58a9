"""A small pipeline over a term index of small blocks, so that a few dozen images seal segments and retire members."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from neardup_platform.corpus import Corpus
from neardup_platform.learning.terms.fitting import fit_term_space
from neardup_platform.matching import Matching
from neardup_platform.pipeline import Pipeline
from neardup_platform.records import Kind
from neardup_platform.scoring.vectors import MemoryVectors
from neardup_platform.terms.effort import Effort
from neardup_platform.terms.hyperplanes import TermSpace
from neardup_platform.terms.index import TermIndex
from neardup_platform.testing.images import LSH_DIM, MODELS, PAIR_DIM
from neardup_platform.testing.scorer import CosineScorer

BLOCK_IMAGES = 32
MAX_REPRESENTATIVES = 4
# A search that looks at every image.
EXHAUSTIVE = Effort(scan=1 << 30, shortlist=1 << 14)


@cache
def small_term_space() -> TermSpace:
    """Returns a term space of 32 terms of 6 bits over the `lsh` vectors of `images.py`; always the same."""
    sample = np.random.default_rng(0).standard_normal((300, LSH_DIM)).astype(np.float32)
    return fit_term_space(sample, MODELS[Kind.LSH].version, tables=32, bits=6, whitening=0.0, seed=1)


def small_index_space() -> TermSpace:
    """Returns the same space for an index that ranks by cosine, as by default."""
    return replace(small_term_space(), by_cosine=True)


def small_index(source: str = "", folder: Path | None = None) -> TermIndex:
    """Opens a term index with blocks of `BLOCK_IMAGES` images, which searches all it holds.

    Args:
        source: id of the store that the images come from.
        folder: of the segments; None keeps them in memory.
    """
    return TermIndex(folder, small_index_space(), EXHAUSTIVE, source=source, block_images=BLOCK_IMAGES)


def small_pipeline(
    corpus: Corpus | None = None,
    *,
    max_representatives: int = MAX_REPRESENTATIVES,
    max_candidates: int = 1_000,
    scorer: CosineScorer | None = None,
) -> Pipeline:
    """Returns a pipeline that finds every candidate there is.

    Args:
        corpus: decided against; None begins with an empty one in memory.
        max_representatives: members of a cluster that are searched.
        max_candidates: candidates of an image.
        scorer: scores pairs and gives the thresholds.
    """
    space, scorer = small_term_space(), scorer or CosineScorer()
    if corpus is None:
        corpus = Corpus(space, small_index(), MemoryVectors(LSH_DIM, PAIR_DIM))
    thresholds = scorer.threshold, scorer.head_threshold
    matching = Matching(max_candidates, 0, *thresholds, max_representatives, table=scorer.threshold_table)
    return Pipeline(space, scorer, corpus, matching)
