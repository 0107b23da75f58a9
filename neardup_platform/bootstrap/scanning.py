"""The first half of a load: reads all but the vectors of a data set, and divides its images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from neardup_platform.bootstrap.bulk_files import IMAGES
from neardup_platform.bootstrap.division import by_cluster, divide, retired_of
from neardup_platform.bootstrap.load_order import Scanned
from neardup_platform.bootstrap.parquet_rows import Rows, read_rows
from neardup_platform.bootstrap.parquet_source import Source
from neardup_platform.bootstrap.parquet_vectors import found_in_vectors, read_vectors
from neardup_platform.bootstrap.row_checks import REASON_NAMES, Models
from neardup_platform.bootstrap.row_fates import NONE, Fate, Fates, fates_of
from neardup_platform.bootstrap.scanned_rows import HEAD_ID, Described, head_ids, images_table, write_table
from neardup_platform.bootstrap.store_overlap import StoreOverlap
from neardup_platform.progress import Progress
from neardup_platform.store.view import StoreView

REST = "rest.arrow"
_EXAMPLES = 5


def scan(
    sources: Sequence[Source],
    models: Models,
    store: StoreView,
    folder: Path,
    *,
    now_ms: int,
    skip_bad: bool,
    max_representatives: int,
    progress: Progress,
) -> Scanned:
    """Check and divide the rows, and write the images of both parts into a folder, unless a bad row refuses the load.

    Args:
        sources: the files of the data set.
        models: what embeddings must be of.
        store: a checkpoint.
        now_ms: the clock, Unix milliseconds.
        skip_bad: whether bad rows are skipped. Then, and where rows are repeated, vectors are read already here.
        max_representatives: of a cluster in the term index.
    """
    rows = _read(sources, models, now_ms, progress)
    overlap = StoreOverlap(store, progress)
    fates = fates_of(rows, overlap.known)
    if skip_bad or len(fates.rows(Fate.REPEATED)):
        wanted = np.isin(fates.fate, (Fate.HEADED, Fate.JOINED, Fate.REPEATED))
        vectors = read_vectors(sources, rows, models, wanted, lambda _: progress("checking vectors", 0, len(rows)))
        fates = fates_of(rows, overlap.known, found_in_vectors(vectors, rows, fates))
    progress("dividing", 0, len(rows))
    bad = fates.bad()
    bulk = rest = 0
    if skip_bad or not bad:
        division = divide(fates, overlap.touched(rows.image_id))
        progress("dividing", len(rows), len(rows))
        bulk, rest = len(division.bulk), len(division.rest)
        described = Described(sources, len(rows), progress)
        retired = retired_of(by_cluster(division.heads), max_representatives)
        images = images_table(rows, fates, described, division.bulk, division.heads, retired)
        write_table(images, folder / IMAGES)
        none = np.full(rest, NONE), np.zeros(rest, np.bool_)
        others = images_table(rows, fates, described, division.rest, *none)
        write_table(others.append_column(HEAD_ID, head_ids(rows, fates, division.rest)), folder / REST)
    return Scanned(
        rows=len(rows),
        bulk=bulk,
        rest=rest,
        other=len(rows) - bulk - rest - bad.total(),
        bad=dict(bad),
        examples=_examples(rows, fates),
        checkpoint_ordinals=store.state().ordinals,
    )


def _read(sources: Sequence[Source], models: Models, now_ms: int, progress: Progress) -> Rows:
    read = 0

    def count(rows: int) -> None:
        nonlocal read
        read += rows
        progress("reading ids and heads", read, 0)

    return read_rows(sources, models, now_ms, count)


def _examples(rows: Rows, fates: Fates) -> tuple[str, ...]:
    """The first of the bad rows, as text."""
    shown = []
    for row in fates.rows(Fate.BAD)[:_EXAMPLES].tolist():
        file, number = rows.place(row)
        detail = rows.details.get(row, "")
        shown.append(f"{file} row {number}: {REASON_NAMES[fates.reasons[row]]}{': ' if detail else ''}{detail}")
    return tuple(shown)
