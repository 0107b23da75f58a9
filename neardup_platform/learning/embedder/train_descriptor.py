"""Creates `weights/copy-detection.npz`: EfficientNet-Lite0 trained as a whole to recognise copies of a picture.

    python -m neardup_platform.learning.embedder.train_descriptor PICTURES/manifest.csv PUBLISHED.npz OUT.npz

The pictures need no labels, but none may resemble another, or one that quality is measured on. PyTorch does the
training; the platform itself does not need it, so it is installed by hand: `pip install torch`. A GPU with 36 GB of
free memory is meant: an H200 takes 2,130 steps in the six minutes of the recipe.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from neardup_platform.errors import NeardupError, SetupError
from neardup_platform.images.keras_lsh_embedder import load_weights
from neardup_platform.learning.embedder.descriptor_pictures import draw_look_alikes, join, read_photographs
from neardup_platform.learning.embedder.descriptor_recipe import Recipe


def train_descriptor(
    manifest: Path, published: Path, out: Path, recipe: Recipe, clock: Callable[[], float], log: Callable[[str], None]
) -> None:
    """Train on the pictures of a CSV with the column `file`, relative to it, and write the weights.

    Args:
        manifest: five sixths of its pictures are learned from, at least as many as a batch.
        published: `efficientnet-lite0.npz`, described in `images/weights/NOTICE.md`.
        out: the `.npz` to write.
        recipe: time, batches, rates, seed.
        clock: seconds since any moment.
        log: called with one line at a time.

    Raises:
        SetupError: PyTorch, the CSV, its column, a picture of it, or matplotlib is missing; there are fewer pictures
            than a batch; the folder of `out` does not exist.
        BadPicture: a picture is refused.
        BadArtefact: the published weights are missing, damaged, or of another network.
    """
    if find_spec("torch") is None:
        raise SetupError("PyTorch is not installed: run `pip install torch`, best on a machine with a GPU")
    if not out.parent.is_dir():
        raise SetupError(f"cannot write {out}: create the folder {out.parent} first")
    weights = load_weights(published)
    photographs = read_photographs(manifest)
    _check_number(f"{manifest} has {len(photographs)} pictures to learn from", len(photographs), recipe)
    _check_number(f"the recipe draws {recipe.look_alikes} look-alikes", recipe.look_alikes, recipe)
    look_alikes = draw_look_alikes(recipe.templates, recipe.contents)
    log(f"{len(photographs)} photographs and {len(look_alikes)} synthetic look-alikes")
    # Only now: the processes that read and drew have no use for it.
    from neardup_platform.learning.embedder.torch_training import train

    trained = train(join(photographs, look_alikes), weights, recipe, clock, log)
    np.savez(out, allow_pickle=False, **trained)


def _check_number(found: str, number: int, recipe: Recipe) -> None:
    if number < recipe.batch:
        raise SetupError(f"{found}, fewer than a batch of {recipe.batch}: add pictures or lower the batch")


def main() -> None:
    """Train as the command line asks."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("pictures", type=Path, help="CSV of unlabelled pictures, column file")
    parser.add_argument("published", type=Path, help="efficientnet-lite0.npz")
    parser.add_argument("out", type=Path, help="the .npz to write")
    parser.add_argument("--minutes", type=float, default=Recipe().seconds / 60, help="time for the steps")
    given = parser.parse_args()
    recipe = replace(Recipe(), seconds=given.minutes * 60)
    log = partial(print, flush=True)
    try:
        train_descriptor(given.pictures, given.published, given.out, recipe, time.monotonic, log)
    except NeardupError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
