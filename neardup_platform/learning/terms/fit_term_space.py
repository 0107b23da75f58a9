"""Fits the term space to a folder of diverse pictures; the shipped one was created like this.

    python -m neardup_platform.learning.terms.fit_term_space PICTURES OUT.npz

255 tables of 8 bits are the best of the grid that `neardup tune` measures (docs/accuracy.md). The built-in embedder
whitens, so there is nothing left to whiten here. Another embedder is used if `images.lsh_model` names one; name the
result in `terms.space`.
"""

import sys
from pathlib import Path

import numpy as np

from neardup_platform.images.active_embedders import load_embedders
from neardup_platform.images.embedded_pictures import PictureSource, embed_pictures
from neardup_platform.learning.terms.fitting import fit_term_space
from neardup_platform.records import Kind
from neardup_platform.settings import ImageSettings, Settings
from neardup_platform.terms.hyperplanes import TermSpace, save_term_space

TABLES, BITS, WHITENING, SEED = 255, 8, 0.0, 1


def fit_to_pictures(folder: Path, settings: ImageSettings) -> TermSpace:
    """Fit to every JPEG in a folder, embedded by the `lsh` embedder of the settings."""
    files = sorted(folder.rglob("*.jpg"))
    lsh, _ = load_embedders(settings)
    sources = (PictureSource(str(file), str(file), file.read_bytes) for file in files)
    batches = embed_pictures(sources, [lsh], settings)
    vectors = [picture.vectors[Kind.LSH][1] for batch in batches for picture in batch.pictures]
    # Vectors are stored as float16, so terms are computed from float16.
    sample = np.stack(vectors).astype(np.float16).astype(np.float32)
    return fit_term_space(sample, lsh.model_version, tables=TABLES, bits=BITS, whitening=WHITENING, seed=SEED)


if __name__ == "__main__":
    _folder, _out = map(Path, sys.argv[1:3])
    _space = fit_to_pictures(_folder, Settings().images)
    save_term_space(_space, _out)
    sys.stdout.write(f"{_space.version} for {_space.model_version} written to {_out}\n")
