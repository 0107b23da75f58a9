"""What every synthetic picture is drawn on: a sheet with a theme, a language of its own, fonts and a hand.

The template's generator decides the theme; the content's generator decides words, numbers and data.
"""

import colorsys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from neardup_platform.errors import SetupError

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]
Rng = np.random.Generator
T = TypeVar("T")

SHORTEST_PX, SHORTER_SIDE_MOST_PX = 256, 384
# Regular, bold and italic of the faces that matplotlib ships. The first three have Greek and Cyrillic letters too.
_FACES = (
    ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique"),
    ("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic"),
    ("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique"),
    ("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic"),
    ("cmr10", "cmb10", "cmti10"),
    ("cmss10", "cmss10", "cmss10"),
    ("cmtt10", "cmtt10", "cmtt10"),
)
_WIDE_FACES = 3
# Vowels and consonants; the first alphabet is that of most pictures.
_ALPHABETS = (
    ("aeiouy", "bcdfghjklmnpqrstvwxz"),
    ("aeiouäöüéèåøıąę", "bcčdfgğhjklłmnñprsştvzž"),
    ("аеиоуыэюя", "бвгджзйклмнпрстфхцчшщ"),
    ("αεηιουω", "βγδζθκλμνξπρσςτφχψ"),
    ("աեէըիու", "բգդզթլխծկհձղճմյնշչպջռսվտրցփք"),
)


def pick(rng: Rng, items: Sequence[T]) -> T:
    """One of the items, each as likely as the others."""
    return items[int(rng.integers(len(items)))]


def chance(rng: Rng, share: float) -> bool:
    """Whether something that happens with probability `share` happens."""
    return bool(rng.random() < share)


def count(rng: Rng, least: int, most: int) -> int:
    """A number from `least` to `most`, both included."""
    return int(rng.integers(least, most + 1))


def colour(rng: Rng, saturation: tuple[float, float], value: tuple[float, float]) -> Colour:
    """A colour of any hue, with saturation and value (0…1) in the given ranges."""
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value))
    return int(red * 255), int(green * 255), int(blue * 255)


def blend(first: Colour, second: Colour, share: float) -> Colour:
    """The first colour mixed with `share` (0…1) of the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def contrast(ground: Colour) -> Colour:
    """Black or white, whichever stands out from the ground."""
    return (0, 0, 0) if np.dot(ground, (0.3, 0.6, 0.1)) > 128 else (255, 255, 255)


def curve(points: NDArray[np.float64], steps: int = 8) -> NDArray[np.float64]:
    """A Catmull-Rom spline through points.

    Args:
        points: float64 [n, 2], at least two.
        steps: pieces between two points.

    Returns:
        float64 [(n - 1) · steps, 2].
    """
    ends = np.concatenate([points[:1], points, points[-1:]])
    before, start, stop, after = (ends[i : len(ends) - 3 + i, None] for i in range(4))
    t = np.linspace(0, 1, steps)[None, :, None]
    linear, square, cube = stop - before, 2 * before - 5 * start + 4 * stop - after, 3 * (start - stop) + after - before
    pieces: NDArray[np.float64] = (2 * start + linear * t + square * t**2 + cube * t**3) / 2
    return pieces.reshape(-1, 2)


@dataclass(frozen=True, slots=True)
class Language:
    """Random letter frequencies from which words are made.

    Attributes:
        vowels: the vowels, a frequent one many times.
        consonants: likewise.
        syllables: most syllables of a word.
    """

    vowels: str
    consonants: str
    syllables: int

    def words(self, rng: Rng, number: int) -> list[str]:
        """Random words of this language."""
        sizes = rng.integers(1, self.syllables + 1, number)
        total = int(sizes.sum())
        vowels, consonants = rng.integers(0, 64, (2, total)).tolist()
        closed = (rng.random(total) < 0.3).tolist()
        syllables = [
            self.consonants[c] + self.vowels[v] + (self.consonants[c - v] if end else "")
            for c, v, end in zip(consonants, vowels, closed, strict=True)
        ]
        pieces = iter(syllables)
        return ["".join(next(pieces) for _ in range(size)) for size in sizes.tolist()]


@dataclass(frozen=True, slots=True)
class Theme:
    """What the pictures of a template share besides their layout.

    Attributes:
        ground: of the picture.
        ink: of text, in contrast to the ground.
        accents: three colours that stand out from the ground.
        face: names of the regular, bold and italic font.
        language: of all words.
    """

    ground: Colour
    ink: Colour
    accents: tuple[Colour, Colour, Colour]
    face: tuple[str, str, str]
    language: Language

    @property
    def faint(self) -> Colour:
        """For lines and boxes, close to the ground."""
        return blend(self.ground, self.ink, 0.15)

    @property
    def muted(self) -> Colour:
        """For labels, between ground and ink."""
        return blend(self.ground, self.ink, 0.6)

    @property
    def dark(self) -> bool:
        """Whether text is lighter than the ground."""
        return sum(self.ground) < sum(self.ink)


@lru_cache(maxsize=512)
def font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """A font that matplotlib ships.

    Raises:
        SetupError: matplotlib is not installed, or lacks the font.
    """
    spec = find_spec("matplotlib")
    path = Path(spec.origin if spec and spec.origin else "").parent / "mpl-data" / "fonts" / "ttf" / f"{name}.ttf"
    try:
        return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)
    except OSError as error:
        raise SetupError(f"cannot read the font {path}: install matplotlib, which ships it") from error


@lru_cache(maxsize=65_536)
def _advance(face: ImageFont.FreeTypeFont, letter: str) -> float:
    return float(face.getlength(letter))


def text_width(face: ImageFont.FreeTypeFont, text: str) -> float:
    """Width of a line in pixels, without kerning: much faster than asking the font for every line."""
    return sum(_advance(face, letter) for letter in text)


def _frequent(rng: Rng, letters: str) -> str:
    shares = rng.dirichlet(np.full(len(letters), 0.9))
    return "".join(letters[i] for i in rng.choice(len(letters), 64, p=shares))


def _make_theme(rng: Rng) -> Theme:
    mood = rng.random()
    if mood < 0.2:
        ground, ink = colour(rng, (0, 0.5), (0.03, 0.22)), colour(rng, (0, 0.2), (0.8, 1))
    elif mood < 0.36:
        ground, ink = colour(rng, (0.08, 0.5), (0.75, 1)), colour(rng, (0, 0.9), (0, 0.3))
    else:
        ground, ink = colour(rng, (0, 0.03), (0.95, 1)), colour(rng, (0, 0.6), (0, 0.2))
    bright = (0.7, 1.0) if mood < 0.2 else (0.15, 0.6) if mood < 0.36 else (0.35, 0.85)
    accents = (colour(rng, (0.5, 1), bright), colour(rng, (0.5, 1), bright), colour(rng, (0.3, 1), bright))
    alphabet = int(rng.choice(len(_ALPHABETS), p=[0.6, 0.15, 0.12, 0.08, 0.05]))
    face = pick(rng, _FACES if alphabet == 0 else _FACES[:_WIDE_FACES])
    vowels, consonants = (_frequent(rng, letters) for letters in _ALPHABETS[alphabet])
    return Theme(ground, ink, accents, face, Language(vowels, consonants, count(rng, 3, 5)))


@lru_cache(maxsize=4)
def _make_hand(seed: int) -> list[NDArray[np.float64]]:
    """An alphabet of strokes in a unit box above the baseline, each from the left to the right of its letter."""
    rng, letters = np.random.default_rng(seed), []
    for _ in range(20):
        number = count(rng, 3, 6)
        x = np.sort(rng.uniform(0, 1, number)) + rng.normal(0, 0.22, number)
        y = np.where(np.arange(number) % 2 == count(rng, 0, 1), rng.uniform(-0.1, 0.2), rng.uniform(0.7, 1.0))
        if chance(rng, 0.35):
            y[number // 2] = rng.choice([1.9, -0.9])
        letters.append(np.stack([x, y + rng.normal(0, 0.1, number)], axis=1))
    return letters


class Sheet:
    """A picture being drawn: theme and layout from the template's generator, the rest from the content's.

    Read `template` before anything that depends on `content`: its state is part of the template.

    Attributes:
        template: source of all that pictures of a template share.
        content: source of all that differs.
        theme: of the template.
        width, height: in drawing units; the finished picture has `1 / scale` of each.
        pen: draws on the picture.
    """

    def __init__(self, template: Rng, content: Rng, ratio: tuple[float, float] = (1.0, 1.5), *, scale: int = 1):
        """Start an empty sheet whose height is `ratio` (least, most) times its width; `scale` 2 smooths lines."""
        self.template, self.content, self.scale = template, content, scale
        self.theme = _make_theme(template)
        self._hand_seed, self._slant = count(template, 0, 2**31), template.uniform(-0.1, 0.5)
        shorter, shape = count(template, SHORTEST_PX, SHORTER_SIDE_MOST_PX), template.uniform(*ratio)
        sides = (shorter, round(shorter * shape)) if shape >= 1 else (round(shorter / shape), shorter)
        self.width, self.height = sides[0] * scale, sides[1] * scale
        self.image = Image.new("RGB", (self.width, self.height), self.theme.ground)
        self.pen = ImageDraw.Draw(self.image)

    def finish(self) -> Image.Image:
        """The finished picture, shorter side 256…384 pixels."""
        return self.image if self.scale == 1 else self.image.reduce(self.scale)

    def words(self, number: int, *, fixed: bool = False) -> str:
        """Words of the theme's language, the first one with a capital; `fixed` for all pictures of the template."""
        rng = self.template if fixed else self.content
        text = " ".join(self.theme.language.words(rng, number))
        return text[:1].upper() + text[1:]

    def font(self, size: float, style: int = 0) -> ImageFont.FreeTypeFont:
        """The theme's font of that size; style 0 is regular, 1 bold, 2 italic."""
        return font(self.theme.face[style], max(5, round(size)))

    def write(
        self,
        at: tuple[float, float],
        text: str,
        size: float,
        fill: Colour | None = None,
        *,
        style: int = 0,
        anchor: str = "la",
        room: float | None = None,
    ) -> float:
        """Write a line in the theme's face, cut to `room` if given, and return its width."""
        face = self.font(size, style)
        while room is not None and len(text) > 1 and text_width(face, text) > room:
            text = text[: max(1, int(len(text) * room / text_width(face, text)))].rstrip()
        self.pen.text(at, text, fill=fill or self.theme.ink, font=face, anchor=anchor)
        return text_width(face, text)

    def lines(self, width: float, size: float, number: int, style: int = 0) -> Iterator[str]:
        """Lines of content words that fill the width; the last is shorter."""
        face = self.font(size, style)
        space, letters = text_width(face, " "), max(1.0, text_width(face, "n"))
        supply = iter(self.words(max(2, int(number * width / letters / 4) + 4)).split())
        kept: list[str] = []
        for _ in range(number):
            line, used = kept, sum(text_width(face, word) + space for word in kept)
            for word in supply:
                used += text_width(face, word) + space
                if used > width and line:
                    kept = [word]
                    break
                line.append(word)
            else:
                kept = []
            if not line:
                return
            yield " ".join(line)

    def paragraph(
        self, box: Box, size: float, fill: Colour | None = None, *, style: int = 0, lead: float = 1.35, most: int = 99
    ) -> float:
        """Fill a box (left, top, right, bottom) with content words from its top; return where they end."""
        left, top, right, bottom = box
        number = min(most, int((bottom - top) / (size * lead)))
        for line in self.lines(right - left, size, number, style):
            self.write((left, top), line, size, fill, style=style, room=right - left)
            top += size * lead
        return top

    def scribble(self, left: float, base: float, room: float, height: float, fill: Colour, width: int = 1) -> None:
        """Write content words by hand on a baseline, within `room`, with small letters of `height`."""
        hand, x = _make_hand(self._hand_seed), left
        while x < left + room:
            length = min(count(self.content, 2, 8), int((left + room - x) / (height * 0.8)))
            if length < 1:
                return
            letters = [hand[i] for i in self.content.integers(0, len(hand), length)]
            points = np.concatenate([letter + np.array([i * 0.9, 0]) for i, letter in enumerate(letters)])
            points += self.content.normal(0, 0.06, points.shape)
            line = curve(points, 5) * height
            line = np.stack([x + line[:, 0] + self._slant * line[:, 1], base - line[:, 1]], axis=1)
            self.pen.line(line.ravel().tolist(), fill=fill, width=width, joint="curve")
            x += (length * 0.9 + 0.8) * height

    def number(self, least: int = 1, most: int = 99_999) -> str:
        """A content number, often with decimals or a separator."""
        value = count(self.content, least, most)
        return pick(self.content, (f"{value}", f"{value:,}", f"{value / 100:.2f}", f"{value / 10:.1f}"))
