"""Altered copies of a picture, as they occur on the web: known near-duplicates without labelling.

Not part of the data flow: the projection of the `lsh` embedder and the pair classifier are fitted on pictures and their
altered copies. All random choices come from the generator argument, so a seed gives the same copies.
"""

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

Pixels = NDArray[np.uint8]
Alteration = Callable[[Image.Image, np.random.Generator], Image.Image]

_WORDS = ("SALE", "sample", "@photo", "NEW!", "Summer 2019", "copyright", "best recipe", "www.example.org")
_SMALLEST_SIDE_PX = 24
_QUARTER_TURNS = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)


def alter(pixels: Pixels, rng: np.random.Generator, *, most: int = 3) -> tuple[Pixels, tuple[str, ...]]:
    """Make an altered copy with one to `most` different alterations in random order, then recompress it.

    Args:
        pixels: uint8 [height, width, 3].
        rng: source of every random choice.
        most: largest number of alterations, 1…len(ALTERATIONS).

    Returns:
        uint8 [height', width', 3] and the names of the alterations, in the order applied.
    """
    names = rng.choice(list(ALTERATIONS), size=int(rng.integers(1, most + 1)), replace=False)
    image = Image.fromarray(pixels)
    for name in names:
        image = ALTERATIONS[name](image, rng)
    return np.asarray(recompress(image, rng), dtype=np.uint8), tuple(str(name) for name in names)


def crop(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Keep 45 to 95% of each side, anywhere in the picture."""
    width, height = image.size
    kept_width, kept_height = (max(1, int(side * rng.uniform(0.45, 0.95))) for side in (width, height))
    left, top = int(rng.integers(0, width - kept_width + 1)), int(rng.integers(0, height - kept_height + 1))
    return image.crop((left, top, left + kept_width, top + kept_height))


def centre_crop(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Crop the centre to another aspect ratio, like thumbnails in galleries and shops: square or 0.6 to 2.2."""
    width, height = image.size
    ratio = 1.0 if rng.random() < 0.5 else float(rng.uniform(0.6, 2.2))
    kept_width, kept_height = min(width, int(height * ratio)), min(height, int(width / ratio))
    return ImageOps.fit(image, (max(1, kept_width), max(1, kept_height)))


def resize(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Scale to 25 to 90%, the two sides differing by up to 15%."""
    scale = rng.uniform(0.25, 0.9)
    sides = [max(_SMALLEST_SIDE_PX, int(side * scale * rng.uniform(0.93, 1.07))) for side in image.size]
    return image.resize((sides[0], sides[1]), Image.Resampling.BILINEAR)


def recompress(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Encode as JPEG of quality 25 to 90 and decode again."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=int(rng.integers(25, 91)))
    return Image.open(file).convert("RGB")


def recolour(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Change brightness, contrast and saturation by up to 40%."""
    for enhancer in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhancer(image).enhance(float(rng.uniform(0.6, 1.4)))
    return image


def tint(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Convert to grey, or make the colour channels differ in strength."""
    if rng.random() < 0.4:
        return image.convert("L").convert("RGB")
    gains = rng.uniform(0.75, 1.25, 3)
    return Image.fromarray(np.clip(np.asarray(image) * gains, 0, 255).astype(np.uint8))


def blur(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Blur with a Gaussian of 0.3 to 1.2% of the longer side."""
    return image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.003, 0.012)) * max(image.size)))


def overlay(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Lay a half-transparent rectangle or ellipse over up to a sixth of the picture."""
    layer = Image.new("RGBA", image.size, (0, 0, 0, 0))
    width, height = (int(side * rng.uniform(0.1, 0.4)) + 2 for side in image.size)
    left, top = int(rng.integers(0, image.width)), int(rng.integers(0, image.height))
    colour = (*(int(c) for c in rng.integers(0, 256, 3)), int(rng.integers(90, 256)))
    draw = ImageDraw.Draw(layer)
    shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
    shape((left, top, left + width, top + height), fill=colour)
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


def text(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Write a few words across the picture, as memes and watermarks do."""
    layer = Image.new("RGBA", image.size, (0, 0, 0, 0))
    size = max(8, int(image.height * rng.uniform(0.07, 0.16)))
    grey = 255 if rng.random() < 0.7 else 0
    place = (int(rng.integers(0, max(1, image.width // 2))), int(rng.integers(0, max(1, image.height - size))))
    fill = (grey, grey, grey, int(rng.integers(110, 256)))
    ImageDraw.Draw(layer).text(place, str(rng.choice(_WORDS)), fill=fill, font_size=size)
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


def border(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Frame the picture by 2 to 8% of its longer side, in white or a random colour."""
    width = max(1, int(max(image.size) * rng.uniform(0.02, 0.08)))
    plain = rng.random() < 0.6
    colour = (255, 255, 255) if plain else tuple(int(c) for c in rng.integers(0, 256, 3))
    return ImageOps.expand(image, border=width, fill=colour)


def flip(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Mirror the picture: left to right, or one time in five upside down."""
    return ImageOps.flip(image) if rng.random() < 0.2 else ImageOps.mirror(image)


def rotate(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Rotate the picture by quarter turns, or by up to 20 degrees with filled corners."""
    if rng.random() < 0.4:
        return image.transpose(_QUARTER_TURNS[int(rng.integers(0, len(_QUARTER_TURNS)))])
    grey = int(rng.choice([0, 255]))
    return image.rotate(float(rng.uniform(-20, 20)), Image.Resampling.BILINEAR, expand=True, fillcolor=(grey,) * 3)


def shrink(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Scale the shorter side to 28 to 64 pixels, like icons and thumbnails of thumbnails."""
    scale = float(rng.uniform(28, 64)) / min(image.size)
    sides = [max(1, round(side * min(1.0, scale))) for side in image.size]
    return image.resize((sides[0], sides[1]), Image.Resampling.BOX)


def screenshot(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Show the picture on a page of one colour with bars and lines of text, filling 40 to 80% of its height."""
    page_grey = int(rng.choice([255, 245, 30, 0]))
    height = int(image.height / rng.uniform(0.4, 0.8))
    width = int(image.width / rng.uniform(0.75, 1.0))
    page = Image.new("RGB", (width, height), (page_grey,) * 3)
    draw = ImageDraw.Draw(page)
    bar = tuple(int(c) for c in rng.integers(0, 256, 3))
    draw.rectangle((0, 0, width, max(1, height // 14)), fill=bar)
    top, left = (
        int(rng.integers(height // 14, max(height // 14 + 1, height - image.height + 1))),
        (width - image.width) // 2,
    )
    size = max(6, height // 28)
    for line in range(2):
        place = (width // 20, top + image.height + size // 2 + line * (size + 4))
        draw.text(place, str(rng.choice(_WORDS)), fill=(128,) * 3, font_size=size)
    page.paste(image, (left, top))
    return page


ALTERATIONS: dict[str, Alteration] = {
    "crop": crop,
    "centre_crop": centre_crop,
    "resize": resize,
    "recompress": recompress,
    "recolour": recolour,
    "tint": tint,
    "blur": blur,
    "overlay": overlay,
    "text": text,
    "border": border,
    "flip": flip,
    "rotate": rotate,
    "shrink": shrink,
    "screenshot": screenshot,
}
