"""A planted corpus in the form for the engines: signatures and cells of every image, and its true pairs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neardup_platform.bench.image_tree import centred_to_embeddings
from neardup_platform.bench.planted_corpus import CHUNK_IMAGES, Planted, PlantedCorpus
from neardup_platform.bench.search_engine import KeptImages, compact_rows
from neardup_platform.bench.search_truth import ExhaustiveCosine, Truth
from neardup_platform.scoring.compact import Compact, Layout
from neardup_platform.terms.hyperplanes import Hashed, Signatures, TermSpace
from neardup_platform.terms.parts import HEAD_WORDS

SEED = 7
# The images that an engine may learn from before it is filled.
SAMPLE_IMAGES = 1 << 18
_CHUNKS_PER_LINE = 16


@dataclass(frozen=True)
class SearchedCorpus:
    """Everything the engines are measured against, without the vectors of most images.

    Attributes:
        signatures: uint64 [docs, words].
        cells: uint16 [docs].
        heads: uint64 [docs, HEAD_WORDS].
        compact: uint8 [docs, width], what compact rows hold of the `lsh` vectors.
        sample: float16 [≤ SAMPLE_IMAGES, dim], vectors of the first images, centred and of length 1.
        queries: the planted pictures with a near-duplicate among the planted ones.
        newcomers: images that are not in the corpus.
        truth: what should be found.
    """

    signatures: Signatures
    cells: NDArray[np.uint16]
    heads: Signatures
    compact: Compact
    sample: NDArray[np.float16]
    queries: Hashed
    newcomers: Hashed
    truth: Truth

    @property
    def docs(self) -> int:
        """The number of images."""
        return len(self.signatures)

    def parts(self) -> Iterator[KeptImages]:
        """All images in order, one chunk at a time."""
        for first in range(0, self.docs, CHUNK_IMAGES):
            rows = slice(first, first + CHUNK_IMAGES)
            yield KeptImages(self.signatures[rows], self.cells[rows], self.heads[rows], self.compact[rows])

    @property
    def learnt_from(self) -> KeptImages:
        """The first images, with their vectors."""
        rows = slice(len(self.sample))
        return KeptImages(self.signatures[rows], self.cells[rows], self.heads[rows], self.compact[rows], self.sample)


def make_corpus(planted: Planted, docs: int, space: TermSpace, report: Callable[[str], None]) -> SearchedCorpus:
    """Draw a corpus, hash it, and search it exhaustively by cosine for every query.

    Raises:
        SetupError: `docs` is too small for the planted pictures.
    """
    corpus = PlantedCorpus(planted, docs, SEED)
    sizes = np.bincount(planted.groups[planted.groups >= 0])
    searched = np.flatnonzero((planted.groups >= 0) & (sizes[planted.groups] > 1))
    exhaustive = ExhaustiveCosine(np.ascontiguousarray(planted.unit[searched]))
    signatures = np.empty((docs, space.words), np.uint64)
    cells, heads = np.empty(docs, np.uint16), np.empty((docs, HEAD_WORDS), np.uint64)
    compact = np.empty((docs, Layout(space.dim, 0).width), np.uint8)
    sample = np.empty((min(docs, SAMPLE_IMAGES), space.dim), np.float16)
    for number, chunk in enumerate(corpus.chunks()):
        if number % _CHUNKS_PER_LINE == 0:
            report(f"corpus of {docs:,}: {number * CHUNK_IMAGES:,} images drawn, hashed and searched exhaustively")
        exhaustive.see(chunk)
        hashed = space.hash(centred_to_embeddings(chunk, space.mean))
        rows = slice(number * CHUNK_IMAGES, number * CHUNK_IMAGES + len(chunk))
        signatures[rows], cells[rows], heads[rows] = hashed.signatures, hashed.cells, hashed.heads
        compact[rows] = compact_rows(hashed, space.mean)
        sample[rows] = chunk[: max(0, len(sample) - rows.start)]
    newcomers = space.hash(centred_to_embeddings(corpus.newcomers(), space.mean))
    return SearchedCorpus(
        signatures,
        cells,
        heads,
        compact,
        sample,
        space.hash(centred_to_embeddings(planted.unit[searched], space.mean)),
        KeptImages.of(newcomers, space.mean),
        exhaustive.truth(corpus.ordinals[searched], planted.groups[searched]),
    )
