"""Pixels of any mode to upright RGB, strip by strip, so that a large picture is not copied several times.

Decoded file → **RGB** → embedders. Transparent parts are laid over white, as web pages show them; a picture that would
be invisible on white, such as a white logo, is laid over black.
"""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageCms

Pixels = NDArray[np.uint8]

_STRIP_PIXELS = 4_000_000
# Above this many pixels, pictures that cannot be decoded at a smaller scale are reduced afterwards: at most 150 MB are
# passed on.
REDUCED_ABOVE_PIXELS = 50_000_000

_ALPHA_MODES = frozenset({"RGBA", "LA", "PA", "RGBa", "La"})
# On white a picture is blank if fewer than one in a thousand of its visible pixels differ by more levels than this.
_SEEN_LEVELS, _SEEN_SHARE = 16, 0.001
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)

_Strip = Callable[[Image.Image], Image.Image]


class _Range(NamedTuple):
    """The scale of grey levels of more than eight bits: (value - low) × factor."""

    low: float
    factor: float


def to_rgb(image: Image.Image, orientation: int, enough_px: int | None = None) -> Pixels:
    """RGB pixels of a loaded picture.

    Args:
        image: of any mode.
        orientation: EXIF orientation, 1…8; any other value counts as 1.
        enough_px: a picture above `REDUCED_ABOVE_PIXELS` is averaged down until its shorter side is no less than this;
            None: it keeps its size.

    Returns:
        uint8 [height, width, 3], upright, contiguous.

    Raises:
        ValueError: Pillow does not convert the mode.
    """
    factor = _reduction(image.size, enough_px)
    prepare = _eight_bits(image)
    if _is_transparent(image):
        pixels, visible, seen = _on(_WHITE, image, prepare, factor)
        if seen < _SEEN_SHARE * visible:
            darker, visible, seen = _on(_BLACK, image, prepare, factor)
            if seen >= _SEEN_SHARE * visible:
                pixels = darker
    else:
        pixels = _joined(image, factor, (np.asarray(_opaque(prepare(s))) for s in _strips(image, factor)))
    return np.ascontiguousarray(_upright(pixels, orientation))


def _is_transparent(image: Image.Image) -> bool:
    return image.mode in _ALPHA_MODES or "transparency" in image.info


def _on(background: tuple[int, int, int], image: Image.Image, prepare: _Strip, factor: int) -> tuple[Pixels, int, int]:
    """The picture on a background, the number of visible pixels, and of those that differ from the background."""
    visible = seen = 0
    # Once this many are seen, the share is reached whatever the rest is; for most pictures counting stops here.
    enough = _SEEN_SHARE * image.width * image.height

    def strips() -> Iterator[Pixels]:
        nonlocal visible, seen
        for strip in _strips(image, factor):
            rgba = _with_alpha(strip, prepare)
            laid = Image.alpha_composite(Image.new("RGBA", rgba.size, (*background, 255)), rgba).convert("RGB")
            if seen <= enough:
                visible += int(np.count_nonzero(np.asarray(rgba.getchannel("A"))))
                seen += _differing(laid, background)
            yield np.asarray(laid)

    return _joined(image, factor, strips()), visible, seen


def _differing(laid: Image.Image, background: tuple[int, int, int]) -> int:
    """The number of pixels with a channel at least `_SEEN_LEVELS` from the background, white or black."""
    extreme = ImageChops.darker if background == _WHITE else ImageChops.lighter
    red, green, blue = laid.split()
    counts = extreme(extreme(red, green), blue).histogram()
    return sum(counts[: 255 - _SEEN_LEVELS] if background == _WHITE else counts[_SEEN_LEVELS + 1 :])


def _with_alpha(strip: Image.Image, prepare: _Strip) -> Image.Image:
    """RGBA; a single transparent value of a PNG is compared at the file's own depth."""
    key = strip.info.get("transparency")
    if isinstance(key, int) and strip.mode in ("1", "L", "I;16", "I;16B", "I;16L", "I"):
        hidden = np.asarray(strip.convert("I" if strip.mode != "1" else "L")) == key
        rgba = _opaque(prepare(strip)).convert("RGBA")
        rgba.putalpha(Image.fromarray(np.where(hidden, 0, 255).astype(np.uint8)))
        return rgba
    return prepare(strip).convert("RGBA")


def _opaque(strip: Image.Image) -> Image.Image:
    if strip.mode == "LAB":
        return _from_lab(strip)
    strip.info.pop("transparency", None)
    return strip if strip.mode == "RGB" else strip.convert("RGB")


def _from_lab(strip: Image.Image) -> Image.Image:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    converted = ImageCms.profileToProfile(strip, lab, srgb, outputMode="RGB")
    if converted is None:
        raise ValueError("Lab colours cannot be converted")
    return converted


def _eight_bits(image: Image.Image) -> _Strip:
    """How to convert strips of this picture to eight bits per channel."""
    if image.mode.startswith("I;16"):
        _, high = cast("tuple[int, int]", image.getextrema())
        # A sixteen-bit file that holds eight-bit values: shifted, it would be black.
        return (lambda strip: _grey(strip, _Range(0, 1))) if high <= 255 else _shifted
    if image.mode not in ("I", "F"):
        return lambda strip: strip
    scale = _scale(image)
    return lambda strip: _grey(strip, scale)


def _scale(image: Image.Image) -> _Range:
    low, high = (float(value) for value in image.getextrema())  # type: ignore[arg-type]
    if not (np.isfinite(low) and np.isfinite(high)):
        values = np.asarray(image)
        finite = values[np.isfinite(values)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if low < 0 or high > 65_535:
        return _Range(low, 255 / (high - low) if high > low else 0.0)
    if image.mode == "F" and high <= 1:
        return _Range(0, 255)
    return _Range(0, 1 if high <= 255 else 1 / 256)


def _grey(strip: Image.Image, scale: _Range) -> Image.Image:
    values = np.asarray(strip.convert("I") if strip.mode != "F" else strip, dtype=np.float64)
    levels = np.nan_to_num((values - scale.low) * scale.factor, nan=0.0, posinf=255.0, neginf=0.0)
    return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))


def _shifted(strip: Image.Image) -> Image.Image:
    return Image.fromarray((np.asarray(strip.convert("I"), dtype=np.int32) >> 8).astype(np.uint8))


def _reduction(size: tuple[int, int], enough_px: int | None) -> int:
    """The factor by which a picture is averaged down: 1 up to the limit, and never below `enough_px`."""
    if enough_px is None or size[0] * size[1] <= REDUCED_ABOVE_PIXELS:
        return 1
    wanted = int(np.ceil(np.sqrt(size[0] * size[1] / REDUCED_ABOVE_PIXELS)))
    return max(1, min(wanted, min(size) // max(1, enough_px)))


def _strips(image: Image.Image, factor: int) -> Iterator[Image.Image]:
    rows = max(1, _STRIP_PIXELS // image.width // factor) * factor
    if rows >= image.height:
        yield image.copy() if "transparency" in image.info else image
        return
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(top + rows, image.height)))


def _joined(image: Image.Image, factor: int, strips: Iterator[Pixels]) -> Pixels:
    first = next(strips)
    if factor == 1 and len(first) == image.height:
        return first
    pixels = np.empty((-(-image.height // factor), -(-image.width // factor), 3), np.uint8)
    top = 0
    for strip in chain([first], strips):
        part = strip if factor == 1 else np.asarray(Image.fromarray(strip).reduce(factor))
        pixels[top : top + len(part)] = part
        top += len(part)
    return pixels


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    turned = pixels.transpose(1, 0, 2) if orientation in (5, 6, 7, 8) else pixels
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    return turned
