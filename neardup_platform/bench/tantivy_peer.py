"""tantivy, a search library like Lucene, as a peer in `neardup bench search`: terms as words of a document.

An image is a document with one word per term. A query is the OR of its words, each worth one point however rare it is,
so hits are ranked by overlap, as in the search cluster of the original system.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import SetupError
from neardup_platform.terms.hyperplanes import WORD_BITS, Hashed, Signatures, TermSpace

_HEAP_BYTES = 512_000_000
_TERMS, _ORDINAL = "terms", "ordinal"
# A word is two characters, for the table and for the term's value, from blocks without white space.
_TABLE_CHARACTER, _VALUE_CHARACTER, _SPACE = 0x3400, 0x10000, 0x20
_WORD_CHARACTERS = 3


class TantivyPeer:
    """Documents of terms in tantivy's segments, queried with all of an image's terms or with the first of them.

    Args:
        space: of the signatures.
        folder: of the index, created here.

    Raises:
        SetupError: tantivy is not installed.
    """

    name = "tantivy"
    grows = True

    def __init__(self, space: TermSpace, folder: Path) -> None:
        try:
            import tantivy
        except ImportError as error:
            raise SetupError("tantivy is not installed: install neardup-platform[bench]") from error
        self._tantivy: Any = tantivy
        self._space, self._folder = space, folder
        self.settings = tuple(f"terms {space.tables // part}" for part in (4, 2, 1))
        schema = tantivy.SchemaBuilder()
        schema.add_text_field(_TERMS, tokenizer_name="whitespace", index_option="basic")
        schema.add_integer_field(_ORDINAL, fast=True)
        folder.mkdir()
        self._index: Any = tantivy.Index(schema.build(), path=str(folder))
        self._writer: Any = self._index.writer(_HEAP_BYTES, 2)
        self._pool = ThreadPoolExecutor(1)
        self._terms, self._images, self._opened = space.tables, 0, False

    def prepare(self, sample: Hashed, docs: int) -> None:
        """Do nothing: it needs no training."""

    def add(self, images: Hashed) -> None:
        """See `Engine`; once open, each call commits and reloads the reader, so that images are found immediately."""
        for ordinal, words in enumerate(_words(images.signatures, self._space), self._images):
            self._writer.add_document(self._tantivy.Document(**{_TERMS: words, _ORDINAL: ordinal}))
        self._images += len(images)
        if self._opened:
            self._writer.commit()
            self._index.reload()

    def save(self) -> None:
        """See `Engine`."""
        self._writer.commit()
        self._writer.wait_merging_threads()
        self._writer = self._index = None

    def open(self) -> None:
        """See `Engine`."""
        self._index = self._tantivy.Index.open(str(self._folder))
        self._writer = self._index.writer(_HEAP_BYTES, 1)
        self._opened = True

    def use(self, setting: str, threads: int) -> None:
        """See `Engine`; the setting says how many terms of a query are used."""
        self._terms = int(setting.split()[1])
        self._pool.shutdown()
        self._pool = ThreadPoolExecutor(threads)

    def search(self, queries: Hashed, k: int) -> NDArray[np.int64]:
        """See `Engine`."""
        searcher, schema = self._index.searcher(), self._index.schema
        found = np.full((len(queries), k), -1, np.int64)

        def answer(row: int, words: str) -> None:
            hits = searcher.search(self._query(schema, words), k, count=False).hits
            found[row, : len(hits)] = searcher.fast_field_values(_ORDINAL, [address for _, address in hits])

        # The results are consumed, so that an error in any of them is raised.
        list(self._pool.map(answer, range(len(queries)), _words(queries.signatures, self._space)))
        return found

    def mapped_bytes(self) -> int:
        """The files of its segments."""
        return sum(file.stat().st_size for file in self._folder.iterdir() if file.is_file())

    def close(self) -> None:
        """See `Engine`."""
        self._pool.shutdown()
        if self._writer is not None:
            # Otherwise its threads would keep writing into a folder that is being removed.
            self._writer.wait_merging_threads()
        self._writer = self._index = None

    def _query(self, schema: Any, words: str) -> Any:
        query, should = self._tantivy.Query, self._tantivy.Occur.Should
        terms = [query.term_query(schema, _TERMS, word, "basic") for word in words.split()[: self._terms]]
        return query.boolean_query([(should, query.const_score_query(term, 1.0)) for term in terms])


def _words(signatures: Signatures, space: TermSpace) -> list[str]:
    """One text per image, its terms as words, in the order of the tables."""
    planes = signatures.reshape(len(signatures), space.bits, space.plane_words)
    bits = np.unpackbits(np.ascontiguousarray(planes).view(np.uint8), axis=2, bitorder="little")
    values = np.zeros((len(signatures), space.plane_words * WORD_BITS), np.uint32)
    for bit in range(space.bits):
        values |= bits[:, bit].astype(np.uint32) << np.uint32(bit)
    characters = np.full((len(signatures), space.tables, _WORD_CHARACTERS), _SPACE, np.uint32)
    characters[:, :, 0] = _TABLE_CHARACTER + np.arange(space.tables)
    characters[:, :, 1] = _VALUE_CHARACTER + values[:, : space.tables]
    texts = characters.reshape(len(signatures), -1).view(f"<U{space.tables * _WORD_CHARACTERS}")
    return [str(text) for text in texts[:, 0]]
