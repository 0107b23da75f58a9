"""Evaluated pairs as pictures side by side: thumbnails, and a sheet of them as a PNG.

Worst pairs → **thumbnails** → HTML report; → **sheet** → Dagster metadata.
"""

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from neardup_platform.errors import BadPicture
from neardup_platform.evaluation.manifest import Row
from neardup_platform.evaluation.worst_pairs import EvaluatedPair
from neardup_platform.images.decode import decode
from neardup_platform.settings import ImageSettings
from neardup_platform.structure.overlap import Outline

THUMBNAIL_PX = 176
_GAP_PX, _CAPTION_PX, _FONT_PX, _COLUMNS = 8, 18, 13, 4
# A line, and a lighter one below it, so that it shows on any picture.
_OUTLINE = (("#ffffff", 5), ("#4f46e5", 3))
_PAPER, _INK, _EMPTY = "#ffffff", "#1d2430", "#e4e7ec"


def thumbnail(path: Path, limits: ImageSettings, side_px: int = THUMBNAIL_PX) -> Image.Image | None:
    """The picture within a square of `side_px`; None if it is no longer readable."""
    try:
        pixels = decode(path.read_bytes(), max_pixels=limits.max_pixels, max_bytes=limits.max_bytes, enough_px=side_px)
    except (BadPicture, OSError):
        return None
    image = Image.fromarray(pixels)
    if max(image.size) < side_px // 2:  # a tiny picture is enlarged without interpolation
        image = image.resize((image.width * side_px // max(image.size), image.height * side_px // max(image.size)), 0)
    image.thumbnail((side_px, side_px))
    return image


def outlined(image: Image.Image, outline: Outline) -> Image.Image:
    """A copy of a picture with an outline, of which parts may lie outside, drawn over it."""
    copy = image.copy()
    points = [(x * (image.width - 1), y * (image.height - 1)) for x, y in (*outline, *outline[:2])]
    for colour, width in _OUTLINE:
        ImageDraw.Draw(copy).line(points, fill=colour, width=width, joint="curve")
    return copy


def jpeg(image: Image.Image) -> bytes:
    """A thumbnail as JPEG."""
    content = io.BytesIO()
    image.save(content, "JPEG", quality=80, optimize=True)
    return content.getvalue()


def caption(pair: EvaluatedPair) -> str:
    """Score and outcome of a pair, in a few words."""
    score = "no candidate" if pair.score is None else f"score {pair.score:.3f}"
    return f"{score}, {'together' if pair.together else 'apart'}"


def draw_pairs(pairs: Sequence[EvaluatedPair], rows: Sequence[Row], limits: ImageSettings) -> bytes:
    """A PNG of all pairs, four per line, each with its score below; for an empty list, a line that says so.

    Args:
        pairs: of `rows`.
        rows: of the manifest.
        limits: of decoding.
    """
    cell_width, cell_height = 2 * THUMBNAIL_PX + 3 * _GAP_PX, THUMBNAIL_PX + _CAPTION_PX + 2 * _GAP_PX
    columns, lines = min(_COLUMNS, max(1, len(pairs))), max(1, -(-len(pairs) // _COLUMNS))
    sheet = Image.new("RGB", (columns * cell_width, lines * cell_height), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT_PX)
    if not pairs:
        draw.text((_GAP_PX, _GAP_PX), "no such pair", fill=_INK, font=font)
    for place, pair in enumerate(pairs):
        left, top = place % _COLUMNS * cell_width + _GAP_PX, place // _COLUMNS * cell_height + _GAP_PX
        for side, number in enumerate((pair.earlier, pair.later)):
            corner = left + side * (THUMBNAIL_PX + _GAP_PX), top
            _paste(sheet, thumbnail(rows[number].file, limits), corner)
        draw.text((left, top + THUMBNAIL_PX + 2), caption(pair), fill=_INK, font=font)
    content = io.BytesIO()
    sheet.save(content, "PNG", optimize=True)
    return content.getvalue()


def _paste(sheet: Image.Image, image: Image.Image | None, corner: tuple[int, int]) -> None:
    if image is None:
        ImageDraw.Draw(sheet).rectangle((*corner, corner[0] + THUMBNAIL_PX, corner[1] + THUMBNAIL_PX), fill=_EMPTY)
        return
    spare = (THUMBNAIL_PX - image.width) // 2, (THUMBNAIL_PX - image.height) // 2
    sheet.paste(image, (corner[0] + spare[0], corner[1] + spare[1]))
