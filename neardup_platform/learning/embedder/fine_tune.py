"""Creates `weights/copy-detection.npz`: the late blocks of EfficientNet-Lite0, tuned to recognise copies of a picture.

    python -m neardup_platform.learning.embedder.fine_tune PICTURES/manifest.csv OUT.npz

The pictures need no labels, but none may resemble another, or one that quality is measured on. The early blocks are
frozen, so each view passes through them once; their maps (about 180 KB per picture) are kept in a temporary file.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neardup_platform.images.decode import Pixels, decode
from neardup_platform.images.keras_copy_detection import CopyDetector, Recipe
from neardup_platform.images.keras_efficientnet_lite0 import EARLY_CHANNELS, EARLY_STRIDE, build_early
from neardup_platform.images.keras_lsh_embedder import NETWORK_FILE, WEIGHTS_FOLDER, load_weights
from neardup_platform.learning.embedder.labelled_pictures import read_manifest
from neardup_platform.learning.embedder.training_views import MILD, STRONG, VIEW_PX, VIEWS, make_views
from neardup_platform.settings import ImageSettings

_REPORT_STEPS, _MINE_STEPS = 25, 200
# A hard batch: pictures, each with five of its sixteen nearest neighbours.
_NEAREST, _OTHERS = 16, 5
# Share of pictures shown as two tiny views, and of the rest as two strong ones; the others as one mild and one strong.
_TINY_SHARE, _BOTH_STRONG_SHARE = 0.2, 1 / 3

Maps = NDArray[np.float16]


def fine_tune(manifest: Path, out: Path, recipe: Recipe, log: Callable[[str], None]) -> None:
    """Tune on the pictures of a CSV with the column `file`, relative to it, and write the weights.

    Args:
        manifest: at least as many pictures as a batch.
        out: the `.npz` to write.
        recipe: steps, rates, seed.
        log: called with one line at a time.

    Raises:
        SetupError: the CSV is missing or lacks the column.
        BadPicture: a picture is refused.
    """
    published = load_weights(WEIGHTS_FOLDER / NETWORK_FILE)
    files = [manifest.parent / row["file"] for row in read_manifest(manifest, ("file",))]
    with tempfile.TemporaryFile() as file:
        side = VIEW_PX // EARLY_STRIDE
        shape = (len(files), VIEWS, side, side, EARLY_CHANNELS)
        maps: Maps = np.memmap(file, np.float16, "w+", shape=shape)
        early = build_early(published)
        for row, path in enumerate(files):
            maps[row] = early(make_views(_read(path), np.random.default_rng([recipe.seed, row])).astype(np.float32))
            if (row + 1) % 1_000 == 0:
                log(f"{row + 1} of {len(files)} pictures prepared")
        detector = CopyDetector(published, maps[:, 0], recipe)
        _descend(detector, maps, recipe, log)
    np.savez(out, allow_pickle=False, **detector.weights())


def _descend(detector: CopyDetector, maps: Maps, recipe: Recipe, log: Callable[[str], None]) -> None:
    rng = np.random.default_rng(recipe.seed)
    nearest = np.zeros((0, _NEAREST), np.int64)
    lost: list[tuple[float, float]] = []
    for step in range(recipe.steps):
        if step % _MINE_STEPS == 0:
            nearest = nearest_others(detector.embed(maps[:, 0]), _NEAREST)
        rows = _choose_pictures(len(maps), nearest, recipe, rng)
        first, second = choose_views(len(rows), rng)
        lost.append(detector.step(maps[rows, first], maps[rows, second]))
        if (step + 1) % _REPORT_STEPS == 0:
            contrast, entropy = np.mean(lost[-_REPORT_STEPS:], axis=0)
            log(f"step {step + 1} of {recipe.steps}: InfoNCE {contrast:.4f}, entropy loss {entropy:.4f}")


def _choose_pictures(n: int, nearest: NDArray[np.int64], recipe: Recipe, rng: np.random.Generator) -> NDArray[np.int64]:
    if rng.random() >= recipe.hard_share:
        return rng.choice(n, recipe.pictures, replace=False)
    seeds = rng.choice(n, recipe.pictures // (1 + _OTHERS), replace=False)
    others = nearest[seeds][:, rng.choice(_NEAREST, _OTHERS, replace=False)]
    return np.unique(np.concatenate([seeds, others.ravel()]))


def choose_views(n: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Two different views for each of n pictures, int64 [n] each: numbers of `make_views`."""
    first, second = rng.integers(0, MILD, n), MILD + rng.integers(0, STRONG, n)
    strong = rng.random(n) < _BOTH_STRONG_SHARE
    first = np.where(strong, MILD + (second - MILD + 1) % STRONG, first)
    tiny, start, count = rng.random(n) < _TINY_SHARE, MILD + STRONG, VIEWS - MILD - STRONG
    one = rng.integers(0, count, n)
    return np.where(tiny, start + one, first), np.where(tiny, start + (one + 1) % count, second)


def nearest_others(vectors: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """The k nearest other rows of each row by cosine, unordered: float32 [n, dim] of unit norm → int64 [n, k]."""
    out = np.empty((len(vectors), k), np.int64)
    for start in range(0, len(vectors), 1_024):
        rows = np.arange(start, min(start + 1_024, len(vectors)))
        cosines = vectors[rows] @ vectors.T
        cosines[np.arange(len(rows)), rows] = -np.inf
        out[rows] = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
    return out


def _read(path: Path) -> Pixels:
    limits = ImageSettings()
    return decode(path.read_bytes(), max_pixels=limits.max_pixels, max_bytes=limits.max_bytes, enough_px=VIEW_PX)


if __name__ == "__main__":
    fine_tune(Path(sys.argv[1]), Path(sys.argv[2]), Recipe(), lambda line: print(line, flush=True))  # noqa: T201
