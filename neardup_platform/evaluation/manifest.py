"""The pictures to judge by, with what is known of each: groups, subsets and how they were made.

First step of an evaluation: CSV → **rows** → vectors → pipeline → figures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from neardup_platform.errors import BadArtefact, SetupError
from neardup_platform.learning.embedder.labelled_pictures import read_manifest as read_csv

_DETAILS = ("subset", "transformation", "geom_flip_rotate")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a manifest.

    Attributes:
        file: where the picture is.
        group: same non-empty value = near-duplicates of one another; empty = a distractor, like nothing else.
        subset: where it comes from; empty where nobody says.
        transformation: how it was made of the picture it resembles; empty where nobody says.
        turned: whether it is flipped or rotated.
    """

    file: Path
    group: str
    subset: str = ""
    transformation: str = ""
    turned: bool = False


def read_manifest(path: Path, details: Sequence[Path] = ()) -> list[Row]:
    """Rows of a CSV with at least the columns `file` (relative to it) and `group`.

    Args:
        path: the CSV; its columns `subset`, `transformation` and `geom_flip_rotate` are taken where it has them.
        details: further CSV files, `file` relative to each, that fill in those columns where they are empty.

    Raises:
        SetupError: a file is missing, empty or has other columns; no two rows share a group; or a file of
            details names none of the pictures.
        BadArtefact: a picture is listed twice.
    """
    lines = read_csv(path, ("file", "group"))
    known = [_details_of(each) for each in details]
    rows = [_row(path.parent / line["file"], line, known) for line in lines]
    twice = len(rows) - len({row.file for row in rows})
    if twice:
        raise BadArtefact(f"{path} lists {twice} files more than once: each picture is judged once, remove the others")
    groups = [row.group for row in rows if row.group]
    if len(set(groups)) == len(groups):
        raise SetupError(
            f"{path}: no two of its {len(rows)} rows share a group, so there is nothing to find: name the "
            "near-duplicates in the column group"
        )
    named = {row.file.resolve() for row in rows}
    for place, lines_of in zip(details, known, strict=True):
        if named.isdisjoint(lines_of):
            raise SetupError(f"{place} names no picture of {path}: its column file is relative to {place.parent}")
    return rows


def group_label(row: Row, number: int) -> str:
    """The row's true group; a distractor has one of its own."""
    return row.group or f"distractor {number}"


def _details_of(path: Path) -> dict[Path, Mapping[str, str]]:
    return {(path.parent / line["file"]).resolve(): line for line in read_csv(path, ("file",))}


def _row(file: Path, line: Mapping[str, str], known: Sequence[Mapping[Path, Mapping[str, str]]]) -> Row:
    sources = [line, *(lines.get(file.resolve(), {}) for lines in known)]
    # A short line leaves None where a column has no value.
    subset, transformation, turned = (
        next((value for source in sources if (value := (source.get(name) or "").strip())), "") for name in _DETAILS
    )
    return Row(file, (line["group"] or "").strip(), subset, transformation, turned == "1")
