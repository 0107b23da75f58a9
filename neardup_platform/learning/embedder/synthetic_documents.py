"""Synthetic documents: printed and written pages whose layout is the template's and whose words are the content's."""

import numpy as np
from PIL import Image

from neardup_platform.learning.embedder.synthetic_sheet import (
    Box,
    Colour,
    Rng,
    Sheet,
    blend,
    chance,
    colour,
    count,
    pick,
    text_width,
)


def text_page(template: Rng, content: Rng) -> Image.Image:
    """A page of one to three columns with headings, tables and a page number."""
    sheet = Sheet(template, content, (1.2, 1.5))
    columns, size, margin = count(template, 1, 3), template.uniform(6, 10), sheet.width * template.uniform(0.05, 0.11)
    heading, lead, ruled = template.uniform(1.1, 2.0), template.uniform(1.2, 1.6), chance(template, 0.4)
    running, foot = sheet.words(3, fixed=True), sheet.height - margin * 0.7
    sheet.write((margin, margin * 0.4), running, size * 0.9, sheet.theme.muted, style=2)
    sheet.write((sheet.width / 2, foot), str(count(content, 1, 999)), size, anchor="ma")
    gap = margin * 0.5
    width = (sheet.width - 2 * margin + gap) / columns - gap
    for column in range(columns):
        left = margin + column * (width + gap)
        if column and ruled:
            sheet.pen.line((left - gap / 2, margin, left - gap / 2, foot - gap), fill=sheet.theme.faint)
        _column(sheet, (left, margin * 1.1, left + width, foot - size), size, heading, lead)
    return sheet.finish()


def _column(sheet: Sheet, box: Box, size: float, heading: float, lead: float) -> None:
    left, top, right, bottom = box
    if chance(sheet.content, 0.3):
        top += sheet.content.uniform(0, 0.2) * (bottom - top)
    while top < bottom - 4 * size:
        part = sheet.content.random()
        if part < 0.25:
            top = sheet.paragraph((left, top, right, bottom), size * heading, style=1, most=2) + size * 0.4
        elif part < 0.37:
            top = _table(sheet, (left, top, right, bottom), size) + size
        elif part < 0.45:
            top = _figure(sheet, (left, top, right, bottom)) + size
        else:
            lines = count(sheet.content, 3, 14)
            top = sheet.paragraph((left, top, right, bottom), size, lead=lead, most=lines) + size * 0.7


def _table(sheet: Sheet, box: Box, size: float) -> float:
    left, top, right, bottom = box
    columns, rows, step = count(sheet.content, 2, 4), count(sheet.content, 3, 8), size * 1.5
    rows = min(rows, int((bottom - top) / step))
    width = (right - left) / columns
    for row in range(rows):
        y = top + row * step
        sheet.pen.line((left, y, right, y), fill=sheet.theme.muted)
        for column in range(columns):
            text = sheet.number() if row and column else sheet.words(1)
            sheet.write((left + column * width + 2, y + 2), text, size * 0.9, style=0 if row else 1, room=width - 3)
    sheet.pen.line((left, top + rows * step, right, top + rows * step), fill=sheet.theme.muted)
    return top + rows * step


def _figure(sheet: Sheet, box: Box) -> float:
    left, top, right, bottom = box
    end = min(bottom, top + (right - left) * sheet.content.uniform(0.3, 0.8))
    fill = pick(sheet.content, (*sheet.theme.accents, sheet.theme.faint))
    sheet.pen.rectangle((left, top, right, end), fill=blend(sheet.theme.ground, fill, 0.4))
    for _ in range(count(sheet.content, 2, 6)):
        x, y = sheet.content.uniform((left, top), (right, end), (2, 2)).T.tolist()
        shape = (min(x), min(y), max(x), max(y))
        tone = pick(sheet.content, (*sheet.theme.accents, sheet.theme.ink))
        pick(sheet.content, (sheet.pen.rectangle, sheet.pen.ellipse))(shape, fill=tone)
    return end


def receipt(template: Rng, content: Rng) -> Image.Image:
    """A till receipt: the shop's name and layout stay, goods, prices, total and date differ."""
    sheet = Sheet(template, content, (1.5, 2.1))
    size, margin = sheet.width * template.uniform(0.035, 0.06), sheet.width * template.uniform(0.04, 0.14)
    shop, address = sheet.words(count(template, 1, 2), fixed=True).upper(), sheet.words(4, fixed=True)
    rule, currency, code = pick(template, "-=*._"), pick(template, ("", "$", "kr ", "EUR ")), chance(template, 0.6)
    labels = [sheet.words(1, fixed=True) for _ in range(4)]
    middle, right = sheet.width / 2, sheet.width - margin
    sheet.write((middle, margin), shop, size * 1.7, style=1, anchor="ma", room=sheet.width - 2 * margin)
    sheet.write((middle, margin + size * 2.2), address, size, anchor="ma", room=sheet.width - 2 * margin)
    rules = rule * int((right - margin) / max(1.0, text_width(sheet.font(size), rule)))
    sheet.write((margin, margin + size * 3.5), rules, size)
    y, bottom = margin + size * 5, sheet.height - margin - size * (10 if code else 6)
    for _ in range(count(content, 4, max(5, int((bottom - y) / size / 1.3)))):
        if y > bottom:
            break
        sheet.write((margin, y), sheet.words(count(content, 1, 3)), size, room=(right - margin) * 0.66)
        sheet.write((right, y), f"{currency}{count(content, 50, 9999) / 100:.2f}", size, anchor="ra")
        y += size * 1.3
    sheet.write((margin, y), rules, size)
    for label, style in zip(labels, (1, 0, 0, 0), strict=True):
        y += size * 1.3
        sheet.write((margin, y), label, size, style=style)
        sheet.write((right, y), f"{currency}{count(content, 500, 99999) / 100:.2f}", size, style=style, anchor="ra")
    if code:
        bars(sheet, (margin, y + size * 1.8, right, y + size * 4))
    return sheet.finish()


def bars(sheet: Sheet, box: Box) -> None:
    """Draw a bar code with random bars in a box (left, top, right, bottom)."""
    left, top, right, bottom = box
    module = max(1, int((right - left) / pick(sheet.content, (60, 80, 95, 110))))
    x = left
    while x < right - 4 * module:
        wide = count(sheet.content, 1, 4) * module
        sheet.pen.rectangle((x, top, x + (wide - 1), bottom), fill=sheet.theme.ink)
        x += wide + count(sheet.content, 1, 3) * module


def form(template: Rng, content: Rng) -> Image.Image:
    """A form filled in by hand or by type: fields and labels stay, answers and ticks differ."""
    sheet = Sheet(template, content, (1.1, 1.5))
    size, margin, boxed = template.uniform(7, 9.5), sheet.width * 0.06, chance(template, 0.5)
    band, by_hand = pick(template, sheet.theme.accents), chance(template, 0.6)
    pen_colour = colour(template, (0.6, 1), (0.7, 1) if sheet.theme.dark else (0.2, 0.6))
    sheet.pen.rectangle((0, 0, sheet.width, size * 3.4), fill=band)
    title, room = sheet.words(3, fixed=True), sheet.width - 2 * margin
    sheet.write((margin, size * 0.7), title, size * 1.7, sheet.theme.ground, style=1, room=room)
    y, step = size * 4.2, size * template.uniform(3.2, 4)
    while y < sheet.height - step:
        cells = count(template, 1, 3)
        width = (sheet.width - 2 * margin) / cells
        ticks = chance(template, 0.2)
        for cell in range(cells):
            box = (margin + cell * width, y, margin + (cell + 1) * width - 4, y + step - 3)
            label = sheet.words(count(template, 1, 2), fixed=True)
            _field(sheet, box, label, size, boxed=boxed)
            if ticks:
                _ticks(sheet, box, size, pen_colour)
            else:
                _answer(sheet, box, size, pen_colour, by_hand=by_hand)
        y += step
    return sheet.finish()


def _field(sheet: Sheet, box: Box, label: str, size: float, *, boxed: bool) -> None:
    left, top, right, bottom = box
    if boxed:
        sheet.pen.rectangle(box, outline=sheet.theme.muted)
    else:
        sheet.pen.line((left, bottom, right, bottom), fill=sheet.theme.muted)
    sheet.write((left + 2, top + 1), label, size * 0.75, sheet.theme.muted, room=right - left - 4)


def _answer(sheet: Sheet, box: Box, size: float, fill: Colour, *, by_hand: bool) -> None:
    left, top, right, bottom = box
    room = (right - left - 8) * sheet.content.uniform(0.4, 1)
    if by_hand:
        sheet.scribble(left + 4, bottom - size * 0.5, room, size * sheet.content.uniform(0.6, 0.9), fill, 2)
    else:
        text = sheet.number() if chance(sheet.content, 0.3) else sheet.words(6)
        sheet.write((left + 4, top + size), text, size * 1.3, fill, style=1, room=room)


def _ticks(sheet: Sheet, box: Box, size: float, fill: Colour) -> None:
    left, _, right, bottom = box
    for x in np.arange(left + 4, right - size, size * 2.2).tolist():
        square = (x, bottom - size * 1.3, x + size, bottom - size * 0.3)
        sheet.pen.rectangle(square, outline=sheet.theme.ink)
        if chance(sheet.content, 0.5):
            sheet.pen.line((x, square[1], x + size, square[3]), fill=fill, width=2)
            sheet.pen.line((x, square[3], x + size, square[1]), fill=fill, width=2)


def letter(template: Rng, content: Rng) -> Image.Image:
    """A letter: the letterhead stays, address, text and signature differ."""
    sheet = Sheet(template, content, (1.25, 1.45))
    size, margin, accent = (
        template.uniform(6.5, 9.5),
        sheet.width * template.uniform(0.08, 0.13),
        sheet.theme.accents[0],
    )
    shop, motto = sheet.words(2, fixed=True), sheet.words(5, fixed=True)
    x = pick(template, (margin, sheet.width * 0.55))
    crest = pick(template, (sheet.pen.ellipse, sheet.pen.rectangle))
    crest((x, margin * 0.6, x + size * 3, margin * 0.6 + size * 3), fill=accent)
    sheet.write((x + size * 3.6, margin * 0.6), shop, size * 1.6, accent, style=1, room=sheet.width - x - size * 4)
    sheet.write((x + size * 3.6, margin * 0.6 + size * 2), motto, size * 0.8, room=sheet.width - x - size * 4)
    indented, lead, right = chance(template, 0.3), template.uniform(1.25, 1.6), sheet.width - margin
    if chance(template, 0.5):
        sheet.pen.line((0, margin + size * 3, sheet.width, margin + size * 3), fill=accent, width=2)
    y = margin + size * 4.5
    for _ in range(count(content, 2, 4)):
        sheet.write((margin, y), sheet.words(count(content, 1, 3)), size, room=right - margin)
        y += size * lead
    date = f"{count(content, 1, 30)}.{count(content, 1, 12)}.{count(content, 1990, 2030)}"
    sheet.write((right, y), date, size, anchor="ra")
    y = sheet.paragraph((margin, y + size * 2, right, sheet.height), size, style=1, most=1) + size
    end = sheet.height - margin - size * count(content, 5, 12)
    while y < end - 2 * size:
        box = (margin + (size * 2 if indented else 0), y, right, end)
        y = sheet.paragraph(box, size, lead=lead, most=count(content, 2, 9)) + size * 0.8
    room = sheet.width * content.uniform(0.15, 0.45)
    ink = colour(content, (0.3, 1), (0.7, 1) if sheet.theme.dark else (0.1, 0.5))
    sheet.scribble(margin, y + size * 3, room, size * content.uniform(1, 1.6), ink, 2)
    return sheet.finish()


def handwriting(template: Rng, content: Rng) -> Image.Image:
    """A note in one hand on blank, ruled or squared paper."""
    sheet = Sheet(template, content, (0.7, 1.45), scale=2)
    step, margin = sheet.width * template.uniform(0.05, 0.1), sheet.width * template.uniform(0.05, 0.14)
    paper, stroke = pick(template, ("blank", "ruled", "squared")), count(template, 2, 5)
    ink = pick(template, (sheet.theme.ink, *sheet.theme.accents))
    height = step * template.uniform(0.3, 0.42)
    for y in np.arange(step, sheet.height, step).tolist() if paper != "blank" else []:
        sheet.pen.line((0, y, sheet.width, y), fill=sheet.theme.faint, width=2)
    for x in np.arange(step, sheet.width, step).tolist() if paper == "squared" else []:
        sheet.pen.line((x, 0, x, sheet.height), fill=sheet.theme.faint, width=2)
    rows = int(sheet.height / step) - 1
    first = count(content, 1, max(1, rows // 4))
    for row in range(first, count(content, max(first + 2, rows // 2), rows) + 1):
        if chance(content, 0.12):
            continue
        left = margin + (
            content.uniform(0, 0.3) * sheet.width if chance(content, 0.3) else content.uniform(0, step / 2)
        )
        room = (sheet.width - margin - left) * (content.uniform(0.3, 0.8) if chance(content, 0.3) else 1)
        sheet.scribble(left, row * step + content.normal(0, step * 0.04), room, height, ink, stroke)
    return sheet.finish()


def slide(template: Rng, content: Rng) -> Image.Image:
    """A slide or captioned panel: bars and fonts stay, title, bullets and picture differ."""
    sheet = Sheet(template, content, (0.56, 1.0), scale=2)
    size, accent = sheet.height * template.uniform(0.045, 0.06), sheet.theme.accents[0]
    captioned, margin = chance(template, 0.4), sheet.width * 0.06
    if captioned:
        _scene(sheet, (0, 0, sheet.width, sheet.height))
        for y in (margin * 0.5, sheet.height - margin * 0.5 - size * 1.8):
            _caption(sheet, y, size * 1.6)
        return sheet.finish()
    side, bar = chance(template, 0.5), template.uniform(0.12, 0.22) * sheet.height
    sheet.pen.rectangle((0, 0, sheet.width, bar), fill=accent)
    foot = sheet.words(3, fixed=True)
    sheet.write((margin, sheet.height - size * 1.3), foot, size * 0.7, sheet.theme.muted)
    title = sheet.words(count(content, 2, 5))
    sheet.write(
        (margin, bar / 2), title, size * 1.7, sheet.theme.ground, style=1, anchor="lm", room=sheet.width - 2 * margin
    )
    split = content.uniform(0.4, 0.6) * sheet.width
    halves = ((margin, split - margin / 2), (split + margin / 2, sheet.width - margin))
    text, scene = halves if side else halves[::-1]
    y, end = bar + size, sheet.height - size * 2.5
    _scene(sheet, (scene[0], y, scene[1], end))
    while y < end - size * 2 and not chance(content, 0.06):
        sheet.pen.ellipse((text[0], y + size * 0.3, text[0] + size * 0.5, y + size * 0.8), fill=accent)
        y = sheet.paragraph((text[0] + size, y, text[1], end), size, most=count(content, 1, 3)) + size * 0.5
    return sheet.finish()


def _scene(sheet: Sheet, box: Box) -> None:
    left, top, right, bottom = box
    rng = sheet.content
    coarse = rng.integers(0, 256, (count(rng, 2, 4), count(rng, 2, 4), 3)).astype(np.uint8)
    panel = Image.fromarray(coarse).resize((int(right - left), int(bottom - top)), Image.Resampling.BICUBIC)
    sheet.image.paste(panel, (int(left), int(top)))
    for _ in range(count(rng, 4, 12)):
        (x, y), reach = rng.uniform((left, top), (right, bottom)), rng.uniform(0.04, 0.2, 2) * (right - left)
        shape = (max(left, x - reach[0]), max(top, y - reach[1]), min(right, x + reach[0]), min(bottom, y + reach[1]))
        pick(rng, (sheet.pen.ellipse, sheet.pen.rectangle))(shape, fill=colour(rng, (0, 1), (0.1, 1)))


def _caption(sheet: Sheet, top: float, size: float) -> None:
    text, room = sheet.words(count(sheet.content, 2, 5)).upper(), sheet.width * 0.9
    face = sheet.font(size, 1)
    while text_width(face, text) > room and " " in text:
        text = text.rsplit(" ", 1)[0]
    at = (sheet.width / 2, top)
    sheet.pen.text(at, text, fill=(255, 255, 255), font=face, anchor="ma", stroke_width=4, stroke_fill=(0, 0, 0))
