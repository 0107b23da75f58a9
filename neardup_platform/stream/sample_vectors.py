"""A sample of the images of the worker's store: runs of stored vectors from all over it, to fit the search to.

The worker may go on deciding meanwhile. The images of a hot cluster that the term index has retired are left out.
"""

from collections.abc import Callable
from contextlib import closing
from itertools import islice, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from neardup_platform.corpus import stored_vectors
from neardup_platform.errors import SetupError
from neardup_platform.scoring.features import widened
from neardup_platform.settings import Settings
from neardup_platform.store.secondary import SecondaryStore
from neardup_platform.terms.hyperplanes import TermSpace, Vectors

# Stored one after the other and read at once.
RUN_IMAGES = 1_024
_RUNS_PER_LINE = 64


def sample_vectors(settings: Settings, space: TermSpace, images: int, report: Callable[[str], None]) -> Vectors:
    """Images that the index holds, spread over the store: float32 [≤ images, dim], centred, of length 1.

    Args:
        settings: of the worker.
        space: of the store.
        images: at most.
        report: called with a line about the current step.

    Raises:
        SetupError: there is no store, or it is of another term space.
    """
    if not settings.store_path.exists():
        raise SetupError(f"there is no store at {settings.store_path}: no worker has run yet")
    parts = [np.zeros((0, space.dim), np.float32)]
    with (
        TemporaryDirectory(prefix="neardup-cells-") as scratch,
        closing(SecondaryStore(settings.store_path, Path(scratch))) as store,
    ):
        state = store.state()
        if state.terms_version not in ("", space.version):
            raise SetupError(f"the store holds terms of {state.terms_version}, settings give {space.version}")
        starts = np.unique(np.linspace(0, state.ordinals, max(1, images // RUN_IMAGES) + 1, dtype=np.int64))
        for number, (first, end) in enumerate(pairwise(starts.tolist())):
            if number % _RUNS_PER_LINE == 0:
                report(f"reading images from ordinal {first:,} of {state.ordinals:,}")
            run = islice(store.vectors.numbered(first), RUN_IMAGES)
            held = [(record.lsh, record.pair) for ordinal, record in run if ordinal < end and not record.retired]
            if held:
                lsh = stored_vectors(held).lsh
                parts.append(space.centre(widened(lsh, np.arange(len(lsh)))))
    return np.concatenate(parts)
