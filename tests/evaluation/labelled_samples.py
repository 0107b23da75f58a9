"""Sample pictures with altered copies as a labelled manifest, on disk."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from neardup_platform.learning.embedder.alterations import ALTERATIONS

PICTURES = sorted((Path(__file__).parents[2] / "samples" / "pictures").glob("*.jpg"))
MILD = ("resize", "recompress", "recolour", "blur")
SIDE_PX = 128


def write_rows(path: Path, rows: list[tuple[str, ...]], columns: tuple[str, ...] = ("file", "group")) -> Path:
    with path.open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(columns)
        writer.writerows(rows)
    return path


def labelled_samples(folder: Path, groups: int, distractors: int, seed: int = 0) -> Path:
    """Write `groups` small pictures with two mild copies of each, and single ones; returns the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, rows = np.random.default_rng(seed), []
    for number, picture in enumerate(PICTURES[: groups + distractors]):
        with Image.open(picture) as opened:
            image = opened.convert("RGB")
        image.thumbnail((SIDE_PX, SIDE_PX))
        copies = rng.choice(MILD, 2, replace=False) if number < groups else ()
        for name in ("original", *copies):
            file = f"{number}-{name}.png"
            (image if name == "original" else ALTERATIONS[name](image, rng)).save(folder / file)
            rows.append(
                (file, f"g{number}" if number < groups else "", "copies" if number < groups else "alone", str(name))
            )
    order = rng.permutation(len(rows))
    columns = ("file", "group", "subset", "transformation")
    return write_rows(folder / "manifest.csv", [rows[i] for i in order], columns)
