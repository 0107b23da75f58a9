"""Synthetic screens: chats, terminals and windows whose chrome is the template's and whose text is the content's."""

import numpy as np
from PIL import Image

from neardup_platform.learning.embedder.synthetic_sheet import (
    Rng,
    Sheet,
    blend,
    chance,
    colour,
    count,
    pick,
    text_width,
)


def chat(template: Rng, content: Rng) -> Image.Image:
    """A chat window: bubbles of two sides below a bar with a name."""
    sheet = Sheet(template, content, (1.2, 2.0))
    size, accent, radius = template.uniform(8, 12), sheet.theme.accents[0], template.uniform(2, 12)
    bar, faces, pad = size * template.uniform(2.5, 4), chance(template, 0.5), size * 0.6
    mine, theirs = blend(sheet.theme.ground, accent, template.uniform(0.3, 0.8)), sheet.theme.faint
    hint = sheet.words(2, fixed=True)
    tones = [colour(content, (0.3, 0.9), (0.4, 0.9)) for _ in range(2)]
    y = bar + pad - content.uniform(0, 2 * size)
    while y < sheet.height - bar:
        right = chance(content, 0.5)
        room = sheet.width * content.uniform(0.25, 0.68)
        lines = list(sheet.lines(room, size, count(content, 1, 5)))
        high, wide = len(lines) * size * 1.35 + pad, max(text_width(sheet.font(size), line) for line in lines) + 2 * pad
        left = sheet.width - pad - wide if right else pad + (size * 2.4 if faces else 0)
        if faces and not right:
            sheet.pen.ellipse((pad, y, pad + size * 2, y + size * 2), fill=tones[0])
        if chance(content, 0.1):
            wide, high = room, room * content.uniform(0.5, 1)
            panel = Image.fromarray(content.integers(0, 256, (3, 3, 3)).astype(np.uint8))
            panel = panel.resize((int(wide), int(high)), Image.Resampling.BICUBIC)
            sheet.image.paste(panel, (int(sheet.width - pad - wide if right else left), int(y)))
        else:
            sheet.pen.rounded_rectangle((left, y, left + wide, y + high), radius, fill=mine if right else theirs)
            for i, line in enumerate(lines):
                sheet.write((left + pad, y + pad * 0.4 + i * size * 1.35), line, size)
        y += high + pad * content.uniform(0.6, 2.5)
    sheet.pen.rectangle((0, 0, sheet.width, bar), fill=accent)
    sheet.pen.ellipse((pad, bar * 0.2, pad + bar * 0.6, bar * 0.8), fill=tones[1])
    sheet.write((pad * 2 + bar * 0.6, bar / 2), sheet.words(2), size * 1.2, sheet.theme.ground, style=1, anchor="lm")
    foot = (0, sheet.height - size * 2.4, sheet.width, sheet.height)
    sheet.pen.rectangle(foot, fill=sheet.theme.ground, outline=sheet.theme.faint)
    sheet.write((pad, sheet.height - size * 1.2), hint, size, sheet.theme.muted, anchor="lm")
    return sheet.finish()


def terminal(template: Rng, content: Rng) -> Image.Image:
    """A terminal or code editor: prompt, colours and bars stay, lines differ."""
    sheet = Sheet(template, content, (0.6, 1.1))
    size, numbered, coded = template.uniform(7, 11), chance(template, 0.5), chance(template, 0.6)
    theme, bar, side = sheet.theme, size * 2 if chance(template, 0.6) else 0, chance(template, 0.25)
    prompt, ends = (
        sheet.words(1, fixed=True).lower() + pick(template, ("$", ">", "#", "%")),
        pick(template, (";", ":", " {", "")),
    )
    tones = (theme.ink, *theme.accents, theme.muted)
    left = size * 3 if numbered else size
    if side:
        sheet.pen.rectangle((0, 0, sheet.width * 0.2, sheet.height), fill=theme.faint)
        for i, name in enumerate(sheet.lines(sheet.width * 0.18, size * 0.9, int(sheet.height / size / 1.5))):
            sheet.write((4, bar + i * size * 1.5), name, size * 0.9, theme.muted, room=sheet.width * 0.18)
        left += sheet.width * 0.2
    if bar:
        sheet.pen.rectangle((0, 0, sheet.width, bar), fill=theme.faint)
        for i in range(3):
            x = size * (0.6 + i * 1.2)
            sheet.pen.ellipse((x, bar * 0.3, x + size * 0.8, bar * 0.3 + size * 0.8), fill=theme.accents[i])
    y, depth, line = bar + size * 0.5, 0, count(content, 1, 400)
    while y < sheet.height - size * 1.3:
        if numbered:
            sheet.write((left - size * 0.7, y), str(line), size * 0.9, theme.muted, anchor="ra")
        line, x = line + 1, left + depth * size * 1.2
        depth = max(0, min(4, depth + count(content, -1, 1))) if coded else 0
        if not coded and chance(content, 0.3):
            x += sheet.write((x, y), prompt + " ", size, theme.accents[0], style=1)
        for _ in range(0 if chance(content, 0.1) else count(content, 1, 7)):
            word = sheet.number() if chance(content, 0.2) else sheet.words(1).lower()
            word += pick(content, (" ", "(", ") ", ".", "_", " = ", ends + " "))
            if x + text_width(sheet.font(size), word) > sheet.width - 4:
                break
            x += sheet.write((x, y), word, size, pick(content, tones) if coded else theme.ink)
        y += size * 1.35
    return sheet.finish()


def window(template: Rng, content: Rng) -> Image.Image:
    """A web page or dialog: bars, menu and grid stay, texts, pictures and values differ."""
    sheet = Sheet(template, content, (0.6, 1.4))
    theme, size, pad = sheet.theme, template.uniform(7, 10), template.uniform(5, 10)
    bar, menu, columns = size * template.uniform(2, 3.5), chance(template, 0.4), count(template, 1, 3)
    brand, entries = sheet.words(1, fixed=True), [sheet.words(1, fixed=True) for _ in range(5)]
    framed, high = chance(template, 0.6), sheet.height * template.uniform(0.18, 0.4)
    sheet.pen.rectangle((0, 0, sheet.width, bar), fill=theme.accents[0])
    x = pad + sheet.write((pad, bar / 2), brand, size * 1.4, theme.ground, style=1, anchor="lm") + 2 * pad
    left = pad
    if menu:
        left = sheet.width * 0.22
        sheet.pen.rectangle((0, bar, left - pad, sheet.height), fill=theme.faint)
    for i, entry in enumerate(entries):
        at = (pad, bar + pad + i * size * 2) if menu else (x + i * size * 6, bar / 2 - size / 2)
        if at[0] < sheet.width - size * 4:
            sheet.write(at, entry, size, theme.ink if menu else theme.ground, room=left - 3 * pad if menu else size * 5)
    top = (
        sheet.paragraph(
            (left, bar + pad, sheet.width - pad, sheet.height), size * 1.6, style=1, most=count(content, 1, 2)
        )
        + pad
    )
    width = (sheet.width - left) / columns
    while top < sheet.height - size * 4:
        for column in range(columns):
            box = (left + column * width, top, left + (column + 1) * width - pad, min(top + high, sheet.height - pad))
            if framed:
                sheet.pen.rectangle(box, outline=theme.faint)
            _block(sheet, box, size)
        top += high + pad
    return sheet.finish()


def _block(sheet: Sheet, box: tuple[float, float, float, float], size: float) -> None:
    """A picture, text, switches or a button in a box."""
    left, top, right, bottom = box
    rng, theme = sheet.content, sheet.theme
    top += 3
    if chance(rng, 0.45) and bottom - top > 3 * size:
        end = top + (bottom - top) * rng.uniform(0.3, 0.7)
        coarse = rng.integers(0, 256, (count(rng, 1, 4), count(rng, 1, 4), 3)).astype(np.uint8)
        panel = Image.fromarray(coarse).resize((int(right - left - 6), int(end - top)), Image.Resampling.BICUBIC)
        sheet.image.paste(panel, (int(left + 3), int(top)))
        top = end + 3
    if chance(rng, 0.3):
        for _ in range(count(rng, 1, 4)):
            if top > bottom - size * 1.5:
                break
            tone = pick(rng, (*theme.accents, theme.muted))
            sheet.pen.rounded_rectangle((left + 4, top, left + 4 + size * 1.6, top + size), size / 2, fill=tone)
            sheet.write((left + 8 + size * 1.6, top), sheet.words(2), size, room=right - left - 12 - size * 1.6)
            top += size * 1.6
    top = sheet.paragraph((left + 4, top, right - 4, bottom), size, style=1, most=1)
    top = sheet.paragraph((left + 4, top, right - 4, bottom), size, theme.muted, most=count(rng, 2, 9)) + 3
    if top < bottom - size * 2:
        wide = (right - left) * rng.uniform(0.3, 0.7)
        sheet.pen.rounded_rectangle((left + 4, top, left + wide, top + size * 1.7), 3, fill=pick(rng, theme.accents))
        at = ((left + 4 + left + wide) / 2, top + size * 0.85)
        sheet.write(at, sheet.words(1), size, theme.ground, anchor="mm", room=wide - 8)
