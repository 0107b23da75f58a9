"""Real pictures to plant in a synthetic corpus: those of a labelled CSV, or the samples and altered copies of them."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neardup_platform.bench.planted_corpus import Planted
from neardup_platform.errors import SetupError
from neardup_platform.images.decode import Pixels, decode
from neardup_platform.images.embedded_pictures import BATCH_PICTURES, PictureSource, embed_pictures
from neardup_platform.images.embedder import Embedder
from neardup_platform.learning.embedder.alterations import alter
from neardup_platform.learning.embedder.labelled_pictures import read_manifest
from neardup_platform.records import Kind
from neardup_platform.settings import ImageSettings
from neardup_platform.terms.hyperplanes import TermSpace

# Tried in this order, relative to the working directory, if no manifest is given.
DEFAULT_MANIFEST = Path("../shared/data/evaluate.csv")
SAMPLES = Path("samples/pictures")
COPIES = 4

Labelled = tuple[NDArray[np.float32], NDArray[np.int64]]


def plant(
    manifest: Path | None, lsh: Embedder, space: TermSpace, limits: ImageSettings, report: Callable[[str], None]
) -> tuple[str, Planted]:
    """Embed the pictures to plant.

    Args:
        manifest: CSV with the columns `file` and `group`; None: the first default that exists.
        lsh: the embedder of kind `lsh`.
        space: centres the vectors.
        limits: of decoding.
        report: called with a line about the current step.

    Returns:
        A description of what was planted, and the vectors.

    Raises:
        SetupError: the manifest, or every default, is missing; no two of its pictures are near-duplicates; or the space
            was fitted to another embedder.
        BadPicture: a sample picture is refused.
    """
    if space.model_version != lsh.model_version:
        raise SetupError(
            f"the term space is for {space.model_version}, not for {lsh.model_version}: "
            "set terms.space to one fitted to it"
        )
    manifest = manifest or (DEFAULT_MANIFEST if DEFAULT_MANIFEST.exists() else None)
    samples = sorted(SAMPLES.glob("*.jpg"))
    if manifest is None and not samples:
        raise SetupError(f"neither {DEFAULT_MANIFEST} nor {SAMPLES} exists: give labelled pictures with --manifest")
    what = str(manifest) if manifest else f"{SAMPLES} and {COPIES} altered copies of each"
    report(f"embedding {what}")
    vectors, groups = _embed_manifest(manifest, lsh, limits) if manifest else _embed_samples(samples, lsh, limits)
    if not np.any(np.bincount(groups[groups >= 0]) > 1):
        raise SetupError(f"{what}: no group has two pictures, so there are no near-duplicates")
    return what, Planted(space.hash(vectors).unit, groups)


def _embed_manifest(manifest: Path, lsh: Embedder, limits: ImageSettings) -> Labelled:
    rows = read_manifest(manifest, ("file", "group"))
    files = [manifest.parent / row["file"] for row in rows]
    sources = (PictureSource(str(number), str(file), file.read_bytes) for number, file in enumerate(files))
    pictures = [picture for batch in embed_pictures(sources, [lsh], limits) for picture in batch.pictures]
    if not pictures:
        raise SetupError(f"{manifest}: none of its {len(rows)} pictures can be read")
    names, codes = np.unique([row["group"].strip() for row in rows], return_inverse=True)
    groups = np.where(names[codes] == "", -1, codes)[[int(picture.image_id) for picture in pictures]]
    return np.stack([picture.vectors[Kind.LSH][1] for picture in pictures]), groups.astype(np.int64)


def _embed_samples(samples: Sequence[Path], lsh: Embedder, limits: ImageSettings) -> Labelled:
    pixels = _altered(samples, lsh, limits)
    batches: list[NDArray[np.float32]] = []
    while batch := list(islice(pixels, BATCH_PICTURES)):
        batches.append(lsh.embed(batch))
    return np.concatenate(batches), np.repeat(np.arange(len(samples)), COPIES + 1)


def _altered(samples: Sequence[Path], lsh: Embedder, limits: ImageSettings) -> Iterator[Pixels]:
    """Each sample, followed by its copies."""
    for number, file in enumerate(samples):
        rng = np.random.default_rng(number)
        original = decode(
            file.read_bytes(), max_pixels=limits.max_pixels, max_bytes=limits.max_bytes, enough_px=lsh.enough_px
        )
        yield original
        for _ in range(COPIES):
            yield alter(original, rng)[0]
