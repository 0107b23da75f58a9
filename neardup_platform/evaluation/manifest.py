"""The pictures for an evaluation, with what is known about each: groups, subsets and how they were made.

First step of an evaluation: CSV → **rows** → vectors → pipeline → metrics.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from neardup_platform.errors import BadArtefact, SetupError
from neardup_platform.learning.embedder.kind_labels import NO_LABELS, KindLabels, kind_labels
from neardup_platform.learning.embedder.labelled_pictures import read_manifest as read_csv

_DETAILS = ("subset", "transformation", "geom_flip_rotate", "template", "scene")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a manifest.

    Attributes:
        file: the path of the picture.
        group: same non-empty value = near-duplicates of one another; empty = a distractor, which resembles no other.
        subset: its origin; empty if unknown.
        transformation: how it was made from the picture it resembles; empty if unknown.
        turned: whether it is flipped or rotated.
        labels: of match kinds.
    """

    file: Path
    group: str
    subset: str = ""
    transformation: str = ""
    turned: bool = False
    labels: KindLabels = NO_LABELS


def read_manifest(path: Path, details: Sequence[Path] = ()) -> list[Row]:
    """Rows of a CSV with at least the columns `file` (relative to it) and `group`.

    Args:
        path: the CSV; its columns `subset`, `transformation`, `geom_flip_rotate`, `template` and `scene` are used if
            present.
        details: further CSV files, `file` relative to each, that fill in those columns where they are empty.

    Raises:
        SetupError: a file is missing, empty or has other columns; no two rows share a group; or a file of details names
            none of the pictures.
        BadArtefact: a picture is listed twice.
    """
    known = [_details_of(each) for each in details]
    rows = _rows(path, known)
    _check(rows, str(path))
    named = {row.file.resolve() for row in rows}
    for place, lines_of in zip(details, known, strict=True):
        if named.isdisjoint(lines_of):
            raise SetupError(f"{place} names no picture of {path}: its column file is relative to {place.parent}")
    return rows


def read_manifests(paths: Sequence[Path]) -> list[Row]:
    """Rows of several CSVs as one; a CSV of distractors alone is accepted beside one with groups.

    Raises:
        SetupError: as `read_manifest`; or a group is named in two files, so that nobody knows whether it is one group.
        BadArtefact: a picture is listed twice.
    """
    of_each = {path: _rows(path, []) for path in paths}
    for (path, rows), (other, others) in combinations(of_each.items(), 2):
        shared = sorted({row.group for row in rows if row.group} & {row.group for row in others})
        if shared:
            raise SetupError(
                f"{path} and {other} both name group {shared[0]}: list its pictures in one file if it is one group, "
                "rename it in one of them otherwise"
            )
    together = [row for rows in of_each.values() for row in rows]
    _check(together, ", ".join(map(str, of_each)))
    return together


def group_label(row: Row, number: int) -> str:
    """The row's true group; a distractor gets its own label."""
    return row.group or f"distractor {number}"


def _rows(path: Path, known: Sequence[Mapping[Path, Mapping[str, str]]]) -> list[Row]:
    return [_row(path.parent / line["file"], line, known) for line in read_csv(path, ("file", "group"))]


def _check(rows: Sequence[Row], place: str) -> None:
    duplicates = len(rows) - len({row.file for row in rows})
    if duplicates:
        raise BadArtefact(
            f"{place} lists {duplicates} files more than once: each picture is evaluated once, remove the others"
        )
    groups = [row.group for row in rows if row.group]
    if len(set(groups)) == len(groups):
        raise SetupError(
            f"{place}: no two of its {len(rows)} rows share a group, so there are no near-duplicates: name the "
            "near-duplicates in the column group"
        )


def _details_of(path: Path) -> dict[Path, Mapping[str, str]]:
    return {(path.parent / line["file"]).resolve(): line for line in read_csv(path, ("file",))}


def _row(file: Path, line: Mapping[str, str], known: Sequence[Mapping[Path, Mapping[str, str]]]) -> Row:
    sources = [line, *(lines.get(file.resolve(), {}) for lines in known)]
    # A short line has None for columns without a value.
    found = {
        name: next((value for source in sources if (value := (source.get(name) or "").strip())), "")
        for name in _DETAILS
    }
    group, turned = (line["group"] or "").strip(), found["geom_flip_rotate"] == "1"
    return Row(file, group, found["subset"], found["transformation"], turned, kind_labels(found))
