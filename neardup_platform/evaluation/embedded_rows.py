"""Vectors of the rows of a manifest, each picture read and embedded once.

Rows → **vectors, or the reasons for their absence** → pipeline, and training on the other rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import SetupError
from neardup_platform.evaluation.manifest import Row
from neardup_platform.images.embedded_pictures import PictureSource, embed_pictures
from neardup_platform.images.embedder import Embedder
from neardup_platform.learning.classifier.training_pictures import Fingerprints, fingerprint
from neardup_platform.learning.embedder.labelled_pictures import EmbeddedPictures
from neardup_platform.records import Embedding, JoinedImage
from neardup_platform.settings import ImageSettings


@dataclass(frozen=True, slots=True)
class EmbeddedRows:
    """The outcome of reading and embedding rows; row numbers count from 0 in the manifest.

    Attributes:
        rows: all of them.
        images: by row number, in order; the image id is the row number. Unreadable rows are absent.
        refused: row number → why it cannot be read.
        fingerprints: uint64 [len(rows)], of the files; 0 if a file cannot be opened.
        seconds: time spent reading and embedding.
    """

    rows: Sequence[Row]
    images: dict[int, JoinedImage]
    refused: dict[int, str]
    fingerprints: Fingerprints
    seconds: float

    def vectors(self, numbers: Sequence[int]) -> EmbeddedPictures:
        """The readable rows in the format of training; float16, as the worker stores them."""
        kept = [number for number in numbers if number in self.images]
        return EmbeddedPictures(
            tuple(str(self.rows[number].file) for number in kept),
            tuple(self.rows[number].group for number in kept),
            _stack([self.images[number].lsh for number in kept]),
            _stack([self.images[number].pair for number in kept]),
            tuple(self.rows[number].labels for number in kept),
        )


def embed_rows(
    rows: Sequence[Row], embedders: Sequence[Embedder], settings: ImageSettings, progress: Callable[[int], None]
) -> EmbeddedRows:
    """Read and embed the rows. A broken picture is refused and the rest continues.

    Args:
        rows: of a manifest.
        embedders: one of each kind.
        settings: limits of decoding.
        progress: called with the number of pictures processed since the last call.

    Raises:
        SetupError: no picture can be read.
    """
    started, prints = perf_counter(), np.zeros(len(rows), np.uint64)

    def read(number: int) -> bytes:
        content = rows[number].file.read_bytes()
        prints[number] = fingerprint(content)
        return content

    def source(number: int) -> PictureSource:
        return PictureSource(str(number), str(number), lambda: read(number))

    images: dict[int, JoinedImage] = {}
    refused: dict[int, str] = {}
    for batch in embed_pictures(map(source, range(len(rows))), embedders, settings):
        images.update((int(picture.image_id), picture.embeddings(0, "")) for picture in batch.pictures)
        refused.update((int(each.place), each.reason) for each in batch.refused)
        progress(len(batch.pictures) + len(batch.refused))
    if not images:
        raise SetupError(
            f"none of the {len(rows)} pictures can be read (the first: {rows[0].file}: {refused[0]}): "
            "the column file is relative to the CSV"
        )
    return EmbeddedRows(rows, images, refused, prints, perf_counter() - started)


def _stack(embeddings: Sequence[Embedding]) -> NDArray[np.float16]:
    return np.stack([embedding.vector for embedding in embeddings]).astype(np.float16)
