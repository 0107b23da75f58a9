"""Chooses tables and bits for a required recall: `neardup tune`, and the Dagster asset `term_space`.

Not part of the data flow: labelled pictures → a term space for each point of a grid → what each costs and finds → **the
cheapest that reaches the target**. The hyperplanes are random, drawn with a fixed seed and fitted to nothing, so no
groups need to be held out; centring and cells are fitted, to other pictures than the evaluated pairs.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import PermanentError, SetupError
from neardup_platform.files import staged_file
from neardup_platform.images.active_embedders import load_embedders
from neardup_platform.learning.terms.fitting import CELLS, fit_term_space
from neardup_platform.learning.terms.term_sample import TermSample, embed_sample
from neardup_platform.learning.terms.term_space_measures import CANDIDATES, RecallWithin, SpaceMetrics, measure_space
from neardup_platform.learning.terms.term_truth import find_truth
from neardup_platform.settings import ImageSettings
from neardup_platform.terms.hyperplanes import TermSpace, save_term_space

# Whole planes of 64 tables, because a plane takes the same bytes however many tables fill it; 255 is the maximum. Bits
# from four, the fewest that give a signature of 256 bits with 64 tables, to the maximum.
GRID = tuple(product((64, 128, 192, 255), (4, 6, 8, 10, 12, 16)))
# No whitening: the built-in embedder already whitens, and the error maths applies to the vectors' own angles.
WHITENING, SEED = 0.0, 1


@dataclass(frozen=True, slots=True)
class Target:
    """The requirements for a term space.

    Attributes:
        recall: 0…1, of the true pairs that exhaustive search by cosine puts within its first 100.
        images: size of the corpus that the recall applies to.
        most_candidates: largest K that may be chosen: each candidate is scored by the classifier.
    """

    recall: float
    images: int
    most_candidates: int


@dataclass(frozen=True)
class Tuned:
    """The choice and what it was chosen from.

    Attributes:
        target: the requirements.
        pictures, fitted: number of pictures in the sample, and of those fitted to (in the sample or in addition).
        pairs, pairs_within: true pairs in both directions; those of them that exhaustive search finds.
        queries: number of query pictures.
        unrelated_pairs: number of unrelated pairs compared.
        rows: the grid, cheapest first.
        chosen: the chosen row.
        candidates: the chosen K.
        space: fitted with cells.
    """

    target: Target
    pictures: int
    fitted: int
    pairs: int
    pairs_within: int
    queries: int
    unrelated_pairs: int
    rows: tuple[SpaceMetrics, ...]
    chosen: SpaceMetrics
    candidates: RecallWithin
    space: TermSpace

    def as_json(self) -> dict[str, Any]:
        """JSON-ready values; the space is represented by its version and number of cells."""
        values = {name: value for name, value in vars(self).items() if isinstance(value, int | float)}
        return {
            **asdict(self.target),
            **values,
            "rows": [asdict(row) for row in self.rows],
            "chosen": asdict(self.chosen),
            "candidates": asdict(self.candidates),
            "version": self.space.version,
            "cells": self.space.cells,
        }


def tune_on_pictures(
    manifest: Path, diverse: Path | None, limits: ImageSettings, target: Target, report: Callable[[str], None]
) -> Tuned:
    """Embed the pictures of one or two CSV files, measure the grid on them and choose.

    Args:
        manifest: as for `embed_sample`.
        diverse: as for `embed_sample`.
        limits: which embedders, and limits of decoding.
        target: the requirements.
        report: called with a line about the current step.

    Raises:
        SetupError: a CSV is unusable, or there are too few pictures for so many images.
        BadPicture: a picture is refused.
        PermanentError: no term space reaches the target.
    """
    return tune(embed_sample(manifest, diverse, load_embedders(limits), limits, report), target, report)


def tune(sample: TermSample, target: Target, report: Callable[[str], None]) -> Tuned:
    """Measure the grid on a sample and choose; arguments and errors as for `tune_on_pictures`."""

    def fit(tables: int, bits: int, cells: int) -> TermSpace:
        return fit_term_space(
            sample.fitted, sample.model_version, tables=tables, bits=bits, whitening=WHITENING, seed=SEED, cells=cells
        )

    truth = find_truth(_centred(fit(*GRID[0], 1), sample.vectors), sample.groups, target.images)
    report(
        f"measuring {len(GRID)} term spaces: {len(truth.queries):,} queries, {len(truth.rows):,} true pairs, "
        f"{len(sample.vectors):,} pictures"
    )
    # Cells are not measured, and signatures do not depend on them: only the chosen space gets fitted ones.
    ks = sorted({*CANDIDATES, target.most_candidates})
    measured = [measure_space(fit(tables, bits, 1), sample.vectors, truth, ks) for tables, bits in GRID]
    rows = tuple(sorted(measured, key=lambda row: (row.bytes_per_image, row.tables)))
    chosen, candidates = choose(rows, target)
    return Tuned(
        target,
        len(sample.vectors),
        len(sample.fitted),
        len(truth.rows),
        int(truth.within.sum()),
        len(truth.queries),
        int(truth.unrelated.sum()),
        rows,
        chosen,
        candidates,
        fit(chosen.tables, chosen.bits, CELLS),
    )


def choose(rows: Sequence[SpaceMetrics], target: Target) -> tuple[SpaceMetrics, RecallWithin]:
    """The cheapest row and K that reach the target: fewest bytes, then smallest K, then highest recall.

    Args:
        rows: at least one, with at least one K of at most `target.most_candidates`.
        target: the requirements.

    Raises:
        PermanentError: none reaches it; names the best one.
    """
    points = [(row, within) for row in rows for within in row.within if within.k <= target.most_candidates]
    reaching = [(row, within) for row, within in points if within.recall >= target.recall]
    if reaching:
        return min(reaching, key=lambda p: (p[0].bytes_per_image, p[1].k, -p[1].recall))
    row, within = min(points, key=lambda p: (-p[1].recall, p[0].bytes_per_image, p[1].k))
    raise PermanentError(
        f"no term space reaches recall {target.recall} among {target.images:,} images: the best, "
        f"{row.tables}×{row.bits} ({row.bytes_per_image} bytes per image), reaches "
        f"{np.floor(within.recall * 1e4) / 1e4:.4f} within {within.k:,} candidates; lower --recall or --images, raise "
        "terms.max_candidates, or use an lsh embedder that separates near-duplicates further from the rest"
    )


def write_space(space: TermSpace, path: Path) -> None:
    """Write the space atomically, and create its folder if it is missing.

    Args:
        space: to write.
        path: ends in `.npz`.

    Raises:
        SetupError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with staged_file(path) as staged:
            save_term_space(space, staged)
    except OSError as error:
        raise SetupError(f"the term space cannot be written to {path} ({error}): name another file") from error


def _centred(space: TermSpace, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return space.hash(vectors).unit
