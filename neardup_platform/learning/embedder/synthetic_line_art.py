"""Synthetic line art: sheet music, drawings of splines and formulas."""

import numpy as np
from PIL import Image

from neardup_platform.learning.embedder.synthetic_sheet import (
    Rng,
    Sheet,
    chance,
    count,
    curve,
    font,
    pick,
)

_FORMULA = "∑∫√∂∞≤≥≠≈±×÷∈∉⊂∪∩∀∃∇αβγδεθλμπρσφψωΓΔΘΛΣΦΨΩxyzabnkij0123456789+−=()[]"


def line_art(template: Rng, content: Rng) -> Image.Image:
    """Sheet music, a drawing of splines, or formulas."""
    sheet = Sheet(template, content, (0.8, 1.4), scale=2)
    pick(template, (_music, _splines, _formulas))(sheet)
    return sheet.finish()


def _music(sheet: Sheet) -> None:
    gap, margin = sheet.width * sheet.template.uniform(0.011, 0.02), sheet.width * 0.06
    rise, title, ink, rng = sheet.template.uniform(11, 15), sheet.words(2, fixed=True), sheet.theme.ink, sheet.content
    sheet.write((sheet.width / 2, margin * 0.6), f"{title} {count(rng, 1, 99)}", gap * 4, style=1, anchor="ma")
    top = margin + gap * 6
    while top + gap * 8 < sheet.height:
        for i in range(5):
            sheet.pen.line((margin, top + i * gap, sheet.width - margin, top + i * gap), fill=ink, width=2)
        x = margin + gap * 4
        sheet.pen.line(_clef(margin, top, gap), fill=ink, width=4)
        while x < sheet.width - margin - gap * 2:
            _note(sheet, x, top, gap)
            x += gap * rng.uniform(2.2, 5)
            if chance(rng, 0.2):
                sheet.pen.line((x, top, x, top + 4 * gap), fill=ink, width=3)
                x += gap * 2
        top += gap * rise


def _clef(left: float, top: float, gap: float) -> list[float]:
    points = [
        (1.5, 3),
        (1, 2),
        (2.2, 2),
        (2, 3.8),
        (0.6, 3.4),
        (0.8, 2),
        (2, 0),
        (1.4, -1),
        (1.2, 1),
        (1.6, 5),
        (0.8, 5),
    ]
    return [float(v) for v in (curve(np.array(points)) * gap + (left, top)).ravel()]


def _note(sheet: Sheet, x: float, top: float, gap: float) -> None:
    rng, ink = sheet.content, sheet.theme.ink
    y = top + gap * count(rng, -2, 10) / 2
    head = (x - gap * 0.65, y - gap * 0.48, x + gap * 0.65, y + gap * 0.48)
    sheet.pen.ellipse(head, fill=ink if chance(rng, 0.75) else None, outline=ink, width=3)
    down = y < top + 2 * gap
    side, end = (x - gap * 0.6, y + gap * 3.4) if down else (x + gap * 0.6, y - gap * 3.4)
    if chance(rng, 0.9):
        sheet.pen.line((side, y, side, end), fill=ink, width=3)
    if chance(rng, 0.3):
        sheet.pen.line((side, end, side + gap * 1.2, end + gap * (-1 if down else 1)), fill=ink, width=5)


def _splines(sheet: Sheet) -> None:
    wide, tones = count(sheet.template, 2, 8), (sheet.theme.ink, pick(sheet.template, sheet.theme.accents))
    closed, rng, extent = chance(sheet.template, 0.5), sheet.content, np.array([sheet.width, sheet.height])
    for _ in range(count(rng, 5, 14)):
        middle, reach = rng.uniform(0.2, 0.8, 2), rng.uniform(0.05, 0.25)
        points = middle + rng.normal(0, reach, (count(rng, 4, 9), 2))
        if closed:
            points = points[np.argsort(np.arctan2(*(points - middle).T))]
            points = np.concatenate([points, points[:1]])
        line = curve(points.clip(0.03, 0.97) * extent, 12).ravel().tolist()
        sheet.pen.line(line, fill=pick(rng, tones), width=wide, joint="curve")


def _formulas(sheet: Sheet) -> None:
    size, rng = sheet.width * sheet.template.uniform(0.045, 0.09), sheet.content
    name = pick(sheet.template, ("DejaVuSans", "DejaVuSerif", "STIXGeneral", "STIXGeneralItalic"))
    y = size
    while y < sheet.height - size * 2:
        x, end = size + rng.uniform(0, 0.3) * sheet.width, sheet.width * rng.uniform(0.6, 0.95)
        while x < end:
            face = font(name, round(size * pick(rng, (0.55, 1.0, 1.0, 1.0))))
            symbol, shift = pick(rng, _FORMULA), pick(rng, (-0.4, 0.0, 0.0, 0.0, 0.35)) * size
            sheet.pen.text((x, y + shift), symbol, fill=sheet.theme.ink, font=face)
            if chance(rng, 0.1):
                sheet.pen.line((x, y + size * 1.2, x + size * 2, y + size * 1.2), fill=sheet.theme.ink, width=3)
            x += face.getlength(symbol) * 1.15
        y += size * 1.9
