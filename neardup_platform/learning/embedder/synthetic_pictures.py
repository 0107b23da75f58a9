"""Synthetic look-alike pictures for learning to tell the content of a picture from its template.

Pictures with one template share layout, fonts, colours and fixed text, as receipts of one shop do; their content
differs. A descriptor that finds their content equal has learnt the template only.

Run: `python -m neardup_platform.learning.embedder.synthetic_pictures FOLDER TEMPLATES CONTENTS`.
"""

import csv
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import islice, product
from pathlib import Path
from types import MappingProxyType
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from neardup_platform.learning.embedder import synthetic_charts as charts
from neardup_platform.learning.embedder import synthetic_documents as documents
from neardup_platform.learning.embedder import synthetic_drawings as drawings
from neardup_platform.learning.embedder import synthetic_line_art as line_art
from neardup_platform.learning.embedder import synthetic_screens as screens
from neardup_platform.learning.embedder.synthetic_sheet import Rng

KINDS: Mapping[str, Callable[[Rng, Rng], Image.Image]] = MappingProxyType(
    {
        "text_page": documents.text_page,
        "receipt": documents.receipt,
        "form": documents.form,
        "letter": documents.letter,
        "handwriting": documents.handwriting,
        "slide": documents.slide,
        "chat": screens.chat,
        "terminal": screens.terminal,
        "window": screens.window,
        "code": drawings.code,
        "puzzle": drawings.puzzle,
        "chart": charts.chart,
        "icon": drawings.icon,
        "street_map": drawings.street_map,
        "line_art": line_art.line_art,
        "tiles": drawings.tiles,
    }
)


def draw(kind: str, template_seed: int, content_seed: int) -> NDArray[np.uint8]:
    """Draw a synthetic picture; the same arguments give the same pixels.

    Args:
        kind: a key of `KINDS`.
        template_seed: 0 or more; what look-alikes share.
        content_seed: 0 or more; what tells them apart. Two seeds may pick the same symbol of an `icon`.

    Returns:
        uint8 [height, width, 3], shorter side 256…384.

    Raises:
        KeyError: unknown kind.
        SetupError: matplotlib, whose fonts are used, is not installed.
    """
    seeds = (crc32(kind.encode()), template_seed)
    picture = KINDS[kind](np.random.default_rng(seeds), np.random.default_rng((*seeds, content_seed)))
    return np.asarray(picture)


def write_synthetic(folder: Path, templates_per_kind: int, contents_per_template: int) -> None:
    """Write pictures of every kind as WebP files, and `manifest.csv` with the columns `file`, `kind` and `template`.

    `template` is unique in the manifest: kind and template seed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "manifest.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(("file", "kind", "template"))
        for kind, template in product(KINDS, range(templates_per_kind)):
            for content, pixels in islice(distinct(kind, template), contents_per_template):
                name = f"{kind}-{template:04}-{content:04}.webp"
                Image.fromarray(pixels).save(folder / name, quality=85, method=4)
                rows.writerow((name, kind, f"{kind}-{template:04}"))


def distinct(kind: str, template: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Pictures of a template with their content seeds, without those that show what an earlier one shows."""
    seen = set()
    for content in range(10_000):
        pixels = draw(kind, template, content)
        if (shown := pixels.tobytes()) not in seen:
            seen.add(shown)
            yield content, pixels


def main() -> None:
    """Write the pictures that the command line asks for."""
    folder, templates, contents = sys.argv[1:]
    write_synthetic(Path(folder), int(templates), int(contents))


if __name__ == "__main__":
    main()
