"""Synthetic drawings: codes, puzzles, symbols, maps and tiles, of which the content is the data."""

from math import ceil

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from neardup_platform.learning.embedder.synthetic_documents import bars
from neardup_platform.learning.embedder.synthetic_sheet import (
    Box,
    Colour,
    Rng,
    Sheet,
    blend,
    chance,
    colour,
    contrast,
    count,
    curve,
    font,
    pick,
)

# Ranges of Unicode that DejaVu Sans has: arrows, mathematics, shapes, dingbats.
_RANGES = (
    (0x2190, 0x21D5),
    (0x2200, 0x2254),
    (0x25A0, 0x269D),
    (0x270C, 0x2728),
    (0x2729, 0x274C),
    (0x2758, 0x275F),
    (0x2761, 0x2795),
    (0x2798, 0x27B0),
)
_SYMBOLS = "".join(chr(point) for first, end in _RANGES for point in range(first, end))


def code(template: Rng, content: Rng) -> Image.Image:
    """A matrix code of 21…57 modules with finder patterns, or bar codes, with a caption."""
    sheet = Sheet(template, content, (0.9, 1.3))
    modules, shop = 21 + 4 * count(template, 0, 9), sheet.words(2, fixed=True)
    share, size, banded = template.uniform(0.6, 0.95), sheet.width * template.uniform(0.03, 0.06), chance(template, 0.3)
    striped = chance(template, 0.25)
    if banded:
        sheet.pen.rectangle((0, 0, sheet.width, size * 2), fill=sheet.theme.accents[0])
        sheet.write((sheet.width / 2, size * 0.4), shop, size, sheet.theme.ground, style=1, anchor="ma")
    side = min(sheet.width * share, sheet.height - size * 4)
    left, top = (sheet.width - side) / 2, (sheet.height - side) / 2
    if striped:
        for i in range(rows := count(template, 1, 3)):
            y = top + i * side / rows
            bars(sheet, (left, y, left + side, y + side / rows - size * 2))
            sheet.write((sheet.width / 2, y + side / rows - size * 1.7), sheet.number(10**8, 10**12), size, anchor="ma")
        return sheet.finish()
    grid = Image.fromarray(_matrix(content, modules, logo=chance(template, 0.2)))
    side = modules * max(1, int(side / modules))
    at = ((sheet.width - side) // 2, (sheet.height - side) // 2)
    sheet.image.paste(sheet.theme.ink, at, grid.resize((side, side), Image.Resampling.NEAREST))
    if chance(template, 0.5):
        text = sheet.words(count(content, 1, 4))
        sheet.write((sheet.width / 2, sheet.height - size * 1.5), text, size, anchor="ma", room=sheet.width)
    return sheet.finish()


def _matrix(rng: Rng, modules: int, *, logo: bool) -> NDArray[np.uint8]:
    """255 where a module is dark: random but for finder, timing and alignment patterns."""
    grid = (rng.random((modules, modules)) < rng.uniform(0.42, 0.58)).astype(np.uint8) * 255
    grid[6, :] = grid[:, 6] = 255 * (np.arange(modules) % 2 == 0)
    if modules > 21:
        _square(grid, modules - 9, modules - 9, 5)
    for row, column in ((0, 0), (0, modules - 7), (modules - 7, 0)):
        grid[max(0, row - 1) : row + 8, max(0, column - 1) : column + 8] = 0
        _square(grid, row, column, 7)
    if logo:
        middle, reach = modules // 2, modules // 9
        grid[middle - reach : middle + reach + 1, middle - reach : middle + reach + 1] = 0
    return grid


def _square(grid: NDArray[np.uint8], row: int, column: int, side: int) -> None:
    grid[row : row + side, column : column + side] = 255
    grid[row + 1 : row + side - 1, column + 1 : column + side - 1] = 0
    grid[row + 2 : row + side - 2, column + 2 : column + side - 2] = 255


def puzzle(template: Rng, content: Rng) -> Image.Image:
    """A sudoku, crossword or word search."""
    sheet = Sheet(template, content, (1.0, 1.25))
    style, title = pick(template, ("sudoku", "crossword", "search")), sheet.words(2, fixed=True)
    cells = 9 if style == "sudoku" else count(template, 9, 17)
    side = int(sheet.width * template.uniform(0.82, 0.96) / cells)
    left, top = (sheet.width - side * cells) // 2, max(4, int(sheet.height - side * cells) // 2)
    if top > 20:
        sheet.write((sheet.width / 2, top / 2), f"{title} {count(content, 1, 999)}", 12, style=1, anchor="mm")
    ink, filled = sheet.theme.ink, content.uniform(0.3, 0.6) if style == "sudoku" else content.uniform(0.6, 0.85)
    shown = content.random((cells, cells)) < filled
    answered = chance(template, 0.5)
    letters = "".join(sheet.theme.language.words(content, 200)).upper()
    for row, column in np.ndindex(cells, cells):
        x, y = left + column * side, top + row * side
        if style == "crossword" and not shown[row, column]:
            sheet.pen.rectangle((x, y, x + side, y + side), fill=ink)
        elif style == "search" or (style == "crossword" and answered):
            sheet.write((x + side / 2, y + side / 2), letters[row * cells + column], side * 0.6, anchor="mm")
        elif style == "crossword" and chance(content, 0.25):
            sheet.write((x + 2, y + 1), str(count(content, 1, 80)), side * 0.35)
        elif style == "sudoku" and shown[row, column]:
            sheet.write((x + side / 2, y + side / 2), str(count(content, 1, 9)), side * 0.65, anchor="mm")
    for i in range(cells + 1):
        wide = 3 if style == "sudoku" and i % 3 == 0 else 1
        tone = sheet.theme.faint if style == "search" else ink
        sheet.pen.line((left, top + i * side, left + cells * side, top + i * side), fill=tone, width=wide)
        sheet.pen.line((left + i * side, top, left + i * side, top + cells * side), fill=tone, width=wide)
    if style == "search":
        _ovals(sheet, left, top, side, cells)
    return sheet.finish()


def _ovals(sheet: Sheet, left: int, top: int, side: int, cells: int) -> None:
    """Mark some found words."""
    for _ in range(count(sheet.content, 1, 5)):
        row, first = count(sheet.content, 0, cells - 1), count(sheet.content, 0, cells - 5)
        length = count(sheet.content, 3, cells - 1 - first)
        box = (left + first * side, top + row * side + 1, left + (first + length) * side, top + (row + 1) * side - 1)
        sheet.pen.rounded_rectangle(box, side / 2, outline=pick(sheet.content, sheet.theme.accents), width=2)


def icon(template: Rng, content: Rng) -> Image.Image:
    """A symbol, flat shapes or a flag on a white or coloured ground."""
    sheet = Sheet(template, content, (0.8, 1.15), scale=2)
    style, framed = pick(template, ("symbol", "symbol", "letters", "shapes", "flag")), chance(template, 0.35)
    tone = pick(template, (sheet.theme.ink, *sheet.theme.accents))
    middle, reach = (sheet.width / 2, sheet.height / 2), min(sheet.width, sheet.height) * template.uniform(0.3, 0.46)
    if framed and style != "flag":
        box = (middle[0] - reach, middle[1] - reach, middle[0] + reach, middle[1] + reach)
        sheet.pen.rounded_rectangle(box, reach * template.uniform(0.1, 1), fill=tone)
        tone, reach = sheet.theme.ground, reach * 0.75
    if style == "flag":
        _flag(sheet)
    elif style == "shapes":
        _shapes(sheet, middle, reach, tone)
    else:
        if style == "symbol":
            face, text = font("DejaVuSans", round(reach * 1.7)), pick(content, _SYMBOLS)
        else:
            text = "".join(sheet.theme.language.words(content, 2)).upper()[: count(template, 3, 4)]
            face = sheet.font(reach * 1.8 / len(text) ** 0.7, 1)
        left, top, right, bottom = face.getbbox(text)
        at = (middle[0] - (left + right) / 2, middle[1] - (top + bottom) / 2)
        sheet.pen.text(at, text, fill=tone, font=face)
    return sheet.finish()


def _flag(sheet: Sheet) -> None:
    upright, number, rng = chance(sheet.template, 0.5), count(sheet.template, 2, 5), sheet.content
    for i in range(number):
        start, end = i / number, (i + 1) / number
        box = (start, 0, end, 1) if upright else (0, start, 1, end)
        left, top, right, bottom = np.multiply(box, (sheet.width, sheet.height) * 2).tolist()
        sheet.pen.rectangle((left, top, right, bottom), fill=colour(rng, (0, 1), (0.1, 1)))
    if chance(rng, 0.6):
        middle = (sheet.width * rng.uniform(0.25, 0.75), sheet.height * rng.uniform(0.3, 0.7))
        _shapes(sheet, middle, sheet.height * 0.2, colour(rng, (0, 1), (0.1, 1)))


def _shapes(sheet: Sheet, middle: tuple[float, float], reach: float, tone: Colour) -> None:
    """A few polygons, stars and discs about a point, mirrored in half of the templates."""
    mirrored, rng = chance(sheet.template, 0.5), sheet.content
    for i in range(count(rng, 2, 4)):
        points = count(rng, 3, 12)
        angles = np.linspace(0, 2 * np.pi, points, endpoint=False) + rng.uniform(0, 6)
        radii = np.where(np.arange(points) % 2 == 0, 1, rng.uniform(0.3, 1)) * reach * rng.uniform(0.4, 0.9)
        shape = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None] + rng.normal(0, reach * 0.25, 2)
        if chance(rng, 0.4):
            shape = curve(np.concatenate([shape, shape[:1]]))
        fill = tone if i == 0 else pick(rng, (tone, sheet.theme.ground, *sheet.theme.accents))
        for side in (1, -1) if mirrored else (1,):
            sheet.pen.polygon((shape * (side, 1) + middle).ravel().tolist(), fill=fill)


def street_map(template: Rng, content: Rng) -> Image.Image:
    """A street map: colours and density stay, roads, water, parks and labels differ."""
    sheet = Sheet(template, content, (0.7, 1.3), scale=2)
    theme, size = sheet.theme, sheet.width * template.uniform(0.018, 0.028)
    water, park = blend(theme.ground, (70, 140, 220), 0.5), blend(theme.ground, (80, 170, 80), 0.4)
    land, road = (
        blend(theme.ground, theme.ink, template.uniform(0.04, 0.2)),
        pick(template, (theme.ground, theme.accents[1])),
    )
    spacing, wide = sheet.width * template.uniform(0.07, 0.16), count(template, 5, 12)
    sheet.pen.rectangle((0, 0, sheet.width, sheet.height), fill=land)
    extent = np.array([sheet.width, sheet.height])
    for _ in range(count(content, 2, 5)):
        corners = content.uniform(0, 1, 2) * extent + content.normal(0, 0.12, (count(content, 4, 6), 2)) * extent
        sheet.pen.polygon(corners.ravel().tolist(), fill=park)
    if chance(content, 0.7):
        sheet.pen.line(_way(content, extent), fill=water, width=wide * count(content, 3, 9), joint="curve")
    turn = content.uniform(0, np.pi / 2)
    for angle in (turn, turn + np.pi / 2 + content.normal(0, 0.1)):
        along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        offset = -1.0 * extent.max()
        while offset < extent.max():
            offset += spacing * content.uniform(0.5, 2)
            ends = content.uniform(-0.8, 0.1), content.uniform(-0.1, 0.8)
            line = [extent / 2 + across * offset + along * end * extent.max() for end in ends]
            sheet.pen.line(np.concatenate(line).tolist(), fill=road, width=wide)
    for _ in range(count(content, 1, 4)):
        way = _way(content, extent)
        sheet.pen.line(way, fill=theme.muted, width=wide * 2 + 4, joint="curve")
        sheet.pen.line(way, fill=theme.accents[0], width=wide * 2, joint="curve")
    for x, y in (content.uniform(0.02, 0.85, (count(content, 8, 22), 2)) * extent).tolist():
        sheet.write((x, y), sheet.words(count(content, 1, 2)), size * content.uniform(0.8, 1.8), room=sheet.width - x)
    return sheet.finish()


def _way(rng: Rng, extent: NDArray[np.int64]) -> list[float]:
    """A bent way from one edge to the opposite one."""
    along = np.linspace(-0.05, 1.05, count(rng, 4, 6))
    points = np.stack([along, rng.uniform(0, 1) + np.cumsum(rng.normal(0, 0.12, len(along)))], axis=1)
    return [float(v) for v in (curve(points[:, :: pick(rng, (1, -1))] * extent)).ravel()]


def tiles(template: Rng, content: Rng) -> Image.Image:
    """Playing cards, game tiles or pixel sprites in a grid."""
    sheet = Sheet(template, content, (0.75, 1.3))
    style, columns = pick(template, ("cards", "tiles", "sprites")), count(template, 3, 7)
    side = sheet.width / columns
    tall, gap = side * (1.4 if style == "cards" else 1), side * template.uniform(0.02, 0.1)
    palette = [colour(template, (0.3, 1), (0.3, 1)) for _ in range(6)]
    signs = [pick(template, _SYMBOLS) for _ in range(9)] if chance(template, 0.5) else "♠♥♦♣♔♕♖♗♘"
    grained = count(template, 5, 12)
    for row, column in np.ndindex(ceil(sheet.height / tall), columns):
        box = (column * side + gap, row * tall + gap, (column + 1) * side - gap, (row + 1) * tall - gap)
        if style == "sprites":
            _sprite(sheet, box, palette, grained)
        elif chance(content, 0.9):
            ground = contrast(sheet.theme.ink) if style == "cards" else pick(content, palette)
            sheet.pen.rounded_rectangle(box, side * 0.1, fill=ground, outline=sheet.theme.muted)
            _card(sheet, box, signs, palette if style == "cards" else [contrast(ground)])
    return sheet.finish()


def _card(sheet: Sheet, box: Box, signs: str | list[str], palette: list[Colour]) -> None:
    left, top, right, bottom = box
    sign, tone = pick(sheet.content, signs), pick(sheet.content, palette)
    middle, size = ((left + right) / 2, (top + bottom) / 2), right - left
    sheet.pen.text(middle, sign, fill=tone, font=font("DejaVuSans", max(5, round(size * 0.55))), anchor="mm")
    rank = pick(sheet.content, ("A", "K", "Q", "J", "10", "9", "8", "7", "5", "3"))
    sheet.write((left + size * 0.08, top + size * 0.05), rank, size * 0.22, tone, style=1)


def _sprite(sheet: Sheet, box: Box, palette: list[Colour], grained: int) -> None:
    """A mirrored pixel figure."""
    half = sheet.content.random((grained, (grained + 1) // 2)) < 0.55
    body, spots = pick(sheet.content, palette), pick(sheet.content, palette)
    colours = np.where(sheet.content.random(half.shape)[..., None] < 0.75, body, spots)
    figure = np.where(half[..., None], colours, sheet.theme.ground).astype(np.uint8)
    figure = np.concatenate([figure, figure[:, ::-1]], axis=1)
    size = (max(1, int(box[2] - box[0])), max(1, int(box[3] - box[1])))
    sheet.image.paste(Image.fromarray(figure).resize(size, Image.Resampling.NEAREST), (int(box[0]), int(box[1])))
