"""Two pictures compared directly: their pair score, and where they agree. Needs no servers.

Two pictures → vectors, sketches → **pair score, alignment** → `neardup compare`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import uniform_filter

from neardup_platform.errors import BadPicture
from neardup_platform.images.decode import Pixels
from neardup_platform.images.picture_embedder import Picture, PictureEmbedder
from neardup_platform.images.picture_sketch import sketch_of
from neardup_platform.matching import Matching
from neardup_platform.pair_comparison import PairComparison, compare_vectors
from neardup_platform.scoring.keras_classifier import load_classifier
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.settings import Settings
from neardup_platform.structure.affines import Affine, after
from neardup_platform.structure.agreement import NAMES, Prepared, features
from neardup_platform.structure.alignment import Alignment, align
from neardup_platform.structure.overlap import between_fractions
from neardup_platform.structure.sketch import decode_sketch

_PANEL_PX, _GAP_PX = 480, 12
# Differences of local contrast, averaged over as many cells a side, that are not marked, and that are red.
_NO_RED, _FULL_RED, _SMOOTH = 0.4, 1.0, 5
_RED = (220, 30, 30)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is known about two pictures.

    Attributes:
        pair: score, terms, and where the pictures agree; a is the first picture.
        evidence: features of the alignment, by name; see `neardup_platform.structure.agreement.NAMES`.
        overlay: RGB, one picture, the other laid over it, and where they differ, in red.
    """

    pair: PairComparison
    evidence: dict[str, float]
    overlay: Image.Image


def compare_pictures(first: Picture, second: Picture, settings: Settings) -> Comparison:
    """Compares two pictures with the classifier and the embedders of the settings.

    Raises:
        BadPicture: one cannot be decoded within the limits.
        OSError: a file cannot be read.
        SetupError: the embedders are not those of the classifier.
    """
    classifier = load_classifier(settings.scoring.model, clustering=settings.scoring.kinds)
    embedder = PictureEmbedder(settings.images, classifier.required_models)
    try:
        pixels = [_decoded(embedder, "first", first), _decoded(embedder, "second", second)]
        vectors = ImageVectors(*(kind.astype(np.float16) for kind in embedder.embed(pixels)))
    finally:
        embedder.close()
    a, b = (Prepared.of(decode_sketch(sketch_of(each))) for each in pixels)
    found = align(a.view, b.view)
    return Comparison(
        compare_vectors(classifier, Matching.of(settings, classifier), vectors),
        dict(zip(NAMES, features(a, b, found).tolist(), strict=True)),
        _overlay((pixels[0], pixels[1]), (a, b), found),
    )


def _decoded(embedder: PictureEmbedder, which: str, picture: Picture) -> Pixels:
    try:
        return embedder.decode(picture)
    except BadPicture as error:
        raise BadPicture(f"the {which} is no picture that can be read ({error})") from error


def write_overlay(comparison: Comparison, path: Path) -> None:
    """Writes the overlay as a picture; the suffix says in which format.

    Raises:
        OSError: it cannot be written.
    """
    comparison.overlay.save(path)


def _overlay(pictures: tuple[Pixels, Pixels], prepared: tuple[Prepared, Prepared], found: Alignment) -> Image.Image:
    """The frame, the other picture laid over it, and where their sketches differ; side by side."""
    frame, over = (1, 0) if found.swapped else (0, 1)
    below = Image.fromarray(pictures[frame])
    below.thumbnail((_PANEL_PX, _PANEL_PX))
    above = Image.fromarray(pictures[over])
    laid = above.transform(
        below.size,
        Image.Transform.AFFINE,
        _between_pixels(between_fractions(found, prepared[frame], prepared[over]), below, above).ravel().tolist(),
        Image.Resampling.BILINEAR,
        fillcolor="white",
    )
    different = uniform_filter(np.abs(prepared[frame].view.detail - found.detail), _SMOOTH)
    red = np.where(found.covered, np.clip((different - _NO_RED) / (_FULL_RED - _NO_RED), 0.0, 0.8), 0.0)
    mask = Image.fromarray((255 * red).astype(np.uint8)).resize(laid.size, Image.Resampling.BILINEAR)
    marked = Image.composite(Image.new("RGB", laid.size, _RED), laid.convert("L").convert("RGB"), mask)
    sheet = Image.new("RGB", (3 * below.width + 2 * _GAP_PX, below.height), "white")
    for number, panel in enumerate((below, laid, marked)):
        sheet.paste(panel, (number * (below.width + _GAP_PX), 0))
    return sheet


def _between_pixels(affine: Affine, below: Image.Image, above: Image.Image) -> Affine:
    """Turns an affine between fractions of two pictures into one between their pixels."""
    scaled: Affine = after(
        np.diag([above.width, above.height, 1.0])[:2],
        after(affine, np.diag([1 / below.width, 1 / below.height, 1.0])[:2]),
    )
    return scaled
