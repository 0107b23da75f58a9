"""Vectors of pictures listed in a CSV file, for training the classifier and measuring quality.

Not part of the data flow: CSV → decode → both embedders → **arrays**; no topic is involved.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import SetupError
from neardup_platform.images.decode import Pixels
from neardup_platform.images.decoding.pool import DecoderPool
from neardup_platform.images.embedder import Embedder
from neardup_platform.learning.embedder.alterations import alter
from neardup_platform.learning.embedder.kind_labels import NO_LABELS, KindLabels, kind_labels
from neardup_platform.settings import ImageSettings

_BATCH = 32


@dataclass(frozen=True, slots=True)
class EmbeddedPictures:
    """Row-aligned vectors of labelled pictures.

    Attributes:
        ids: the column `file`, with `#<n>` appended for the n-th altered copy.
        groups: same non-empty value = near-duplicates of one another; empty = resembles no other picture.
        lsh: float16 [n, lsh_dim], as the worker stores them.
        pair: float16 [n, pair_dim].
        labels: of match kinds.
    """

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    lsh: NDArray[np.float16]
    pair: NDArray[np.float16]
    labels: tuple[KindLabels, ...]


def embed_manifest(
    manifest: Path, embedders: tuple[Embedder, Embedder], limits: ImageSettings, *, labelled: bool = True
) -> EmbeddedPictures:
    """Embed the pictures of a CSV with the columns `file` (relative to it) and `group`, in its order.

    The optional columns of `kind_labels.COLUMNS` say what is known about match kinds. If it is not `labelled`, the
    column `group` may be missing.

    Raises:
        SetupError: the CSV is missing or lacks a column.
        BadPicture: a picture is refused.
    """
    rows = read_manifest(manifest, ("file", "group") if labelled else ("file",))
    with DecoderPool(limits, processes=1) as decoders:
        lsh, pair = _embed((_read(manifest.parent / row["file"], embedders, decoders) for row in rows), embedders)
    ids, groups = (tuple(row.get(column, "") for row in rows) for column in ("file", "group"))
    return EmbeddedPictures(ids, groups, lsh, pair, tuple(map(kind_labels, rows)))


def embed_altered(
    manifest: Path,
    embedders: tuple[Embedder, Embedder],
    limits: ImageSettings,
    *,
    most_pictures: int,
    copies: int,
    seed: int,
) -> EmbeddedPictures:
    """Embed pictures, no two alike, each with altered copies of it: one group per picture.

    Args:
        manifest: CSV with the column `file`, relative to it.
        embedders: of kind `lsh` and `pair`.
        limits: of decoding.
        most_pictures: how many pictures of the CSV, chosen by `seed`.
        copies: number of altered copies of each.
        seed: of the choice and of every alteration.

    Raises:
        SetupError: the CSV is missing or lacks the column.
        BadPicture: a picture is refused.
    """
    rng = np.random.default_rng(seed)
    files = [row["file"] for row in read_manifest(manifest, ("file",))]
    chosen = [files[i] for i in rng.permutation(len(files))[:most_pictures]]

    def pictures(decoders: DecoderPool) -> Iterator[Pixels]:
        for file in chosen:
            pixels = _read(manifest.parent / file, embedders, decoders)
            yield pixels
            for _ in range(copies):
                yield alter(pixels, rng)[0]

    with DecoderPool(limits, processes=1) as decoders:
        lsh, pair = _embed(pictures(decoders), embedders)
    ids = tuple(f"{file}#{n}" if n else file for file in chosen for n in range(copies + 1))
    return EmbeddedPictures(ids, tuple(i.split("#")[0] for i in ids), lsh, pair, (NO_LABELS,) * len(ids))


def read_manifest(manifest: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Read a CSV file that must have `columns`.

    Raises:
        SetupError: it is missing, empty or lacks a column.
    """
    try:
        with manifest.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SetupError(f"{manifest} cannot be read as CSV ({error}): name an existing file") from error
    missing = [column for column in columns if not rows or column not in rows[0]]
    if missing:
        raise SetupError(f"{manifest} has no rows with column {', '.join(missing)}: expected {', '.join(columns)}")
    return rows


def _read(path: Path, embedders: tuple[Embedder, Embedder], decoders: DecoderPool) -> Pixels:
    return decoders.decode(path.read_bytes(), max(embedder.enough_px for embedder in embedders))


def _embed(
    pictures: Iterator[Pixels], embedders: tuple[Embedder, Embedder]
) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
    rows: tuple[list[NDArray[np.float16]], list[NDArray[np.float16]]] = ([], [])
    for batch in _batches(pictures):
        for embedder, vectors in zip(embedders, rows, strict=True):
            vectors.append(embedder.embed(batch).astype(np.float16))
    return np.concatenate(rows[0]), np.concatenate(rows[1])


def _batches(pictures: Iterator[Pixels]) -> Iterator[list[Pixels]]:
    batch: list[Pixels] = []
    for pixels in pictures:
        batch.append(pixels)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
