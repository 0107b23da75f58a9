"""The demo's altered copies: what people do to a picture before they upload it again.

Each alteration is a pure function of a picture and a seed, as moderate as in re-uploads: a crop keeps at least 70% of
the area, colours stay recognisable. The same seed gives the same bytes, so ids and contents are the same in every run
of the demo.
"""

import io
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import ExifTags, Image, ImageDraw, ImageEnhance, ImageFont, ImageOps

Encoded = tuple[bytes, str]
Alteration = Callable[[Image.Image], Encoded]

# Smallest share of the area that a crop keeps.
CROP_KEEPS_RATIO = 0.70
JPEG_QUALITY = 88

_PHRASES = ("Wish you were here", "photo of the day", "SALE -20%", "seen this morning", "weekend plans?")
_COLOURS = ("#20242c", "#ffffff", "#b3261e", "#0b57d0", "#f2b705")
_ROTATED_TO_THE_LEFT = 6  # EXIF orientation: turn 90 degrees clockwise to see it upright


@dataclass(frozen=True, slots=True)
class Copy:
    """An altered copy on disk.

    Attributes:
        original_id: file name of the picture it was made from, which is also that picture's image id.
        copy_path: where it is; the file name is its image id.
        alteration: a name of `alterations()`.
    """

    original_id: str
    copy_path: Path
    alteration: str

    @property
    def image_id(self) -> str:
        """Its image id: the path relative to the folder given to `neardup ingest`."""
        return self.copy_path.name


def _jpeg(picture: Image.Image, quality: int = JPEG_QUALITY, exif: Image.Exif | None = None) -> Encoded:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality, exif=exif or b"")
    return out.getvalue(), "jpg"


def _resize(picture: Image.Image, rng: random.Random) -> Encoded:
    scale = rng.uniform(0.4, 0.75)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return _jpeg(picture.resize(size, Image.Resampling.LANCZOS))


def _crop(picture: Image.Image, rng: random.Random) -> Encoded:
    area = rng.uniform(CROP_KEEPS_RATIO + 0.02, 0.9)
    # One side keeps more than the other, within the area.
    width_ratio = rng.uniform(area, 1.0)
    width = round(picture.width * width_ratio)
    height = round(picture.height * area / width_ratio)
    left = rng.randint(0, picture.width - width)
    top = rng.randint(0, picture.height - height)
    return _jpeg(picture.crop((left, top, left + width, top + height)))


def _recompress(picture: Image.Image, rng: random.Random) -> Encoded:
    return _jpeg(picture, quality=rng.randint(18, 40))


def _recolour(picture: Image.Image, rng: random.Random) -> Encoded:
    picture = ImageEnhance.Brightness(picture).enhance(rng.uniform(0.8, 1.2))
    picture = ImageEnhance.Contrast(picture).enhance(rng.uniform(0.8, 1.25))
    return _jpeg(ImageEnhance.Color(picture).enhance(rng.uniform(0.6, 1.4)))


def _greyscale(picture: Image.Image, rng: random.Random) -> Encoded:
    toned = ImageEnhance.Contrast(ImageOps.grayscale(picture)).enhance(rng.uniform(0.9, 1.15))
    return _jpeg(toned)


def _banner(picture: Image.Image, rng: random.Random) -> Encoded:
    picture = picture.copy()
    height = max(8, round(picture.height * rng.uniform(0.08, 0.13)))
    top = rng.choice((0, picture.height - height))
    background, ink = rng.sample(_COLOURS, 2)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, top, picture.width, top + height), fill=background)
    centre = (picture.width / 2, top + height / 2)
    font = ImageFont.load_default(size=height * 0.6)
    draw.text(centre, rng.choice(_PHRASES), fill=ink, font=font, anchor="mm")
    return _jpeg(picture)


def _logo(picture: Image.Image, rng: random.Random) -> Encoded:
    side = max(12, round(min(picture.size) * rng.uniform(0.14, 0.2)))
    logo = Image.new("RGBA", (side, side))
    draw = ImageDraw.Draw(logo)
    draw.ellipse((0, 0, side - 1, side - 1), fill=(*rng.choice(((11, 87, 208), (179, 38, 30))), 215))
    font = ImageFont.load_default(size=side * 0.5)
    draw.text((side / 2, side / 2), rng.choice("ABMRSW"), fill="white", font=font, anchor="mm")
    gap = side // 4
    left = rng.choice((gap, picture.width - side - gap))
    top = rng.choice((gap, picture.height - side - gap))
    picture = picture.copy()
    picture.paste(logo, (left, top), logo)
    return _jpeg(picture)


def _border(picture: Image.Image, rng: random.Random) -> Encoded:
    width = max(2, round(min(picture.size) * rng.uniform(0.03, 0.06)))
    return _jpeg(ImageOps.expand(picture, width, rng.choice(_COLOURS)))


def _webp(picture: Image.Image, rng: random.Random) -> Encoded:
    out = io.BytesIO()
    picture.save(out, "WEBP", quality=rng.randint(50, 75))
    return out.getvalue(), "webp"


def _exif_rotated(picture: Image.Image, rng: random.Random) -> Encoded:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = _ROTATED_TO_THE_LEFT
    return _jpeg(picture.transpose(Image.Transpose.ROTATE_90), quality=rng.randint(75, 90), exif=exif)


_BY_NAME: dict[str, Callable[[Image.Image, random.Random], Encoded]] = {
    "resize": _resize,
    "crop": _crop,
    "recompress": _recompress,
    "recolour": _recolour,
    "greyscale": _greyscale,
    "banner": _banner,
    "logo": _logo,
    "border": _border,
    "webp": _webp,
    "exif-rotated": _exif_rotated,
}


def _altered(name: str, seed: int | str, picture: Image.Image) -> Encoded:
    rng = random.Random(f"{seed}:{name}")  # noqa: S311 -- repeatable variety, not a secret
    return _BY_NAME[name](picture.convert("RGB"), rng)


def alterations(seed: int | str = 0) -> dict[str, Alteration]:
    """Every alteration by name.

    Args:
        seed: determines strength, place and colours of each; the same seed gives the same bytes.

    Returns:
        Name to a function from an upright picture of any mode to (encoded bytes, file extension without dot).
    """
    return {name: partial(_altered, name, seed) for name in _BY_NAME}


def make_copies(pictures: Path, out: Path, seed: int, per_picture: int = 4) -> list[Copy]:
    """Writes altered copies, named `<stem>--<alteration>.<extension>`, rotating through the alterations.

    Args:
        pictures: a folder of JPEG files, processed in the order of their names.
        out: an existing folder.
        seed: determines every copy; strengths differ between pictures.
        per_picture: copies of each picture, at most as many as there are alterations.

    Returns:
        The copies in order, `per_picture` for each picture.
    """
    names = tuple(_BY_NAME)
    copies: list[Copy] = []
    for path in sorted(pictures.glob("*.jpg")):
        with Image.open(path) as picture:
            upright = ImageOps.exif_transpose(picture)
        ways = alterations(f"{seed}:{path.stem}")
        first = len(copies)
        for name in (names[number % len(names)] for number in range(first, first + per_picture)):
            content, extension = ways[name](upright)
            copy_path = out / f"{path.stem}--{name}.{extension}"
            copy_path.write_bytes(content)
            copies.append(Copy(path.name, copy_path, name))
    return copies
