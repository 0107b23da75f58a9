"""Synthetic charts: style, title and colours are the template's, the data is the content's."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from neardup_platform.learning.embedder.synthetic_sheet import (
    Box,
    Rng,
    Sheet,
    blend,
    chance,
    colour,
    count,
    pick,
)


def chart(template: Rng, content: Rng) -> Image.Image:
    """A bar, line, scatter or pie chart or a heat map, with axes and labels."""
    sheet = Sheet(template, content, (0.6, 1.0), scale=2)
    style = pick(template, (_bar_chart, _line_chart, _scatter, _pie, _heat_map))
    size, grid, title = sheet.height * template.uniform(0.03, 0.045), chance(template, 0.6), sheet.words(4, fixed=True)
    box = (sheet.width * 0.11, size * 3.5, sheet.width * 0.96, sheet.height - size * 3)
    heading = f"{title} {count(content, 1980, 2030)}"
    sheet.write((sheet.width / 2, size), heading, size * 1.3, style=1, anchor="ma", room=sheet.width * 0.95)
    if style is not _pie:
        _axes(sheet, box, size, grid=grid)
    style(sheet, box)
    return sheet.finish()


def _axes(sheet: Sheet, box: Box, size: float, *, grid: bool) -> None:
    left, top, right, bottom = box
    step, labels = count(sheet.content, 1, 500), pick(sheet.template, (4, 5, 6))
    for i in range(labels + 1):
        y, x = bottom - (bottom - top) * i / labels, left + (right - left) * i / labels
        if grid:
            sheet.pen.line((left, y, right, y), fill=sheet.theme.faint, width=2)
        sheet.write((left - 6, y), str(step * i), size * 0.8, sheet.theme.muted, anchor="rm")
        if i < labels:
            label = sheet.words(1)
            sheet.write(
                (x + 10, bottom + size * 0.5), label, size * 0.8, sheet.theme.muted, room=(right - left) / labels
            )
    sheet.pen.line((left, top, left, bottom, right, bottom), fill=sheet.theme.ink, width=2)


def _series(sheet: Sheet, box: Box, points: int) -> NDArray[np.float64]:
    """Heights of `points` points in a box, as a walk or as noise."""
    rng = sheet.content
    values = np.cumsum(rng.normal(0, 1, points)) if chance(sheet.template, 0.5) else rng.random(points)
    values = (values - values.min()) / (np.ptp(values) + 1e-9) * rng.uniform(0.5, 0.95) + 0.04
    heights: NDArray[np.float64] = box[3] - values * (box[3] - box[1])
    return heights


def _bar_chart(sheet: Sheet, box: Box) -> None:
    left, _, right, bottom = box
    flat, series = chance(sheet.template, 0.3), count(sheet.template, 1, 3)
    number = count(sheet.content, 5, 14)
    step = (right - left) / number
    for k in range(series):
        for i, y in enumerate(_series(sheet, box, number).tolist()):
            x = left + (i + 0.1 + 0.8 * k / series) * step
            bar = (x, y, x + 0.75 * step / series, bottom)
            if flat:
                row = box[1] + (i + 0.1 + 0.8 * k / series) * (bottom - box[1]) / number
                long = left + (bottom - y) / (bottom - box[1]) * (right - left)
                bar = (left, row, long, row + 0.75 * (bottom - box[1]) / number / series)
            sheet.pen.rectangle(bar, fill=sheet.theme.accents[k])


def _line_chart(sheet: Sheet, box: Box) -> None:
    filled, wide, series = chance(sheet.template, 0.3), count(sheet.template, 3, 7), count(sheet.template, 1, 3)
    number = count(sheet.content, 8, 60)
    x = np.linspace(box[0] + 2, box[2], number)
    for k in range(series):
        line = np.stack([x, _series(sheet, box, number)], axis=1).ravel().tolist()
        tone = sheet.theme.accents[k]
        if filled:
            area = [*line, box[2], box[3], box[0] + 2, box[3]]
            sheet.pen.polygon(area, fill=blend(sheet.theme.ground, tone, 0.4))
        sheet.pen.line(line, fill=tone, width=wide, joint="curve")


def _scatter(sheet: Sheet, box: Box) -> None:
    reach, series = sheet.template.uniform(4, 11), count(sheet.template, 1, 3)
    for k in range(series):
        middle, spread = sheet.content.uniform(0.2, 0.8, 2), sheet.content.normal(0, 0.16, (2, 2))
        points = middle + sheet.content.normal(0, 1, (count(sheet.content, 30, 130), 2)) @ spread
        points = np.array(box[:2]) + points.clip(0.02, 0.98) * (np.array(box[2:]) - np.array(box[:2]))
        for x, y in points.tolist():
            sheet.pen.ellipse((x - reach, y - reach, x + reach, y + reach), fill=sheet.theme.accents[k])


def _pie(sheet: Sheet, box: Box) -> None:
    ring, tones = chance(sheet.template, 0.4), [colour(sheet.template, (0.2, 0.9), (0.4, 1)) for _ in range(8)]
    radius = min(box[2] - box[0], box[3] - box[1]) / 2
    x, y = box[0] + radius, (box[1] + box[3]) / 2
    shares = sheet.content.dirichlet(np.full(count(sheet.content, 3, 8), 2.0))
    angle, size = sheet.content.uniform(0, 360), sheet.height * 0.035
    for i, share in enumerate(shares.tolist()):
        circle = (x - radius, y - radius, x + radius, y + radius)
        sheet.pen.pieslice(circle, angle, angle + share * 360, fill=tones[i], outline=sheet.theme.ground, width=4)
        angle += share * 360
        row = box[1] + i * size * 2
        sheet.pen.rectangle((x + radius * 1.15, row, x + radius * 1.15 + size, row + size), fill=tones[i])
        label, at = f"{sheet.words(1)} {share:.0%}", (x + radius * 1.15 + size * 1.4, row)
        sheet.write(at, label, size, room=sheet.width - at[0])
    if ring:
        hole = radius * 0.55
        sheet.pen.ellipse((x - hole, y - hole, x + hole, y + hole), fill=sheet.theme.ground)


def _heat_map(sheet: Sheet, box: Box) -> None:
    smooth, ends = chance(sheet.template, 0.5), np.array([sheet.theme.accents[0], sheet.theme.accents[1]], np.float64)
    rows, columns = count(sheet.content, 5, 16), count(sheet.content, 6, 24)
    values = sheet.content.random((rows, columns, 1)) ** sheet.content.uniform(0.5, 2)
    cells = Image.fromarray((ends[0] + values * (ends[1] - ends[0])).astype(np.uint8))
    size = (int(box[2] - box[0]) - 2, int(box[3] - box[1]) - 2)
    resampling = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    sheet.image.paste(cells.resize(size, resampling), (int(box[0]) + 2, int(box[1])))
