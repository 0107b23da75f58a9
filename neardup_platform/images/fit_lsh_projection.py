"""Makes `weights/lsh-projection.npz` from a folder of diverse pictures; run when the network or they change.

    python -m neardup_platform.images.fit_lsh_projection PICTURES/manifest.csv

The pictures must be none of those that quality is measured on.
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from neardup_platform.images.decode import Pixels, decode
from neardup_platform.images.keras_efficientnet_lite0 import INPUT_PX
from neardup_platform.images.keras_lsh_embedder import (
    NETWORK_FILE,
    PROJECTION_FILE,
    WEIGHTS_FOLDER,
    compile_features,
    embed_features,
    load_weights,
)
from neardup_platform.images.lsh_projection import fit_projection
from neardup_platform.settings import ImageSettings


def fit_shipped_projection(manifest: Path, out: Path) -> int:
    """Fits the projection to the pictures of a manifest and writes it.

    Args:
        manifest: CSV with a column `file`, relative to it.
        out: the `.npz` to write, float16 arrays `mean` and `matrix`.

    Returns:
        The number of pictures used.
    """
    features = compile_features(load_weights(WEIGHTS_FOLDER / NETWORK_FILE))
    rows = np.concatenate([embed_features(features, pictures) for pictures in _batches(manifest)])
    mean, matrix = fit_projection(rows)
    np.savez(out, mean=mean, matrix=matrix)
    return len(rows)


def _batches(manifest: Path) -> Iterator[list[Pixels]]:
    limits = ImageSettings()
    with manifest.open(newline="") as lines:
        files = [manifest.parent / row["file"] for row in csv.DictReader(lines)]
    for start in range(0, len(files), 32):
        yield [
            decode(
                file.read_bytes(),
                max_pixels=limits.max_pixels,
                max_bytes=limits.max_bytes,
                enough_px=INPUT_PX,
            )
            for file in files[start : start + 32]
        ]


if __name__ == "__main__":
    count = fit_shipped_projection(Path(sys.argv[1]), WEIGHTS_FOLDER / PROJECTION_FILE)
    sys.stdout.write(f"fitted to {count:,} pictures\n")
