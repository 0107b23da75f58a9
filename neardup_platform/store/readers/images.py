"""Reads images: their records, vectors and decisions."""

from collections.abc import Iterator, Sequence

from neardup_platform.errors import InvariantBroken, NotFound
from neardup_platform.records import Decision
from neardup_platform.store import layout
from neardup_platform.store.layout import Table
from neardup_platform.store.store_pb2 import Forgotten, ImageRecord, Touched, VectorRecord
from neardup_platform.store.tables import Tables
from neardup_platform.wire.codec import decode_decision


class ImageReader:
    """Image records by id, and which images were forgotten."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def find(self, image_id: str) -> ImageRecord | None:
        """Return the record of an image; None if it has not been decided."""
        data = self._tables.get(Table.IMAGES, image_id.encode())
        return ImageRecord.FromString(data) if data is not None else None

    def find_many(self, image_ids: list[str]) -> list[ImageRecord | None]:
        """Return many records at once, in the order of the ids."""
        found = self._tables.get_many(Table.IMAGES, [image_id.encode() for image_id in image_ids])
        return [ImageRecord.FromString(data) if data is not None else None for data in found]

    def all(self) -> Iterator[tuple[str, ImageRecord]]:
        """Yield every image id with its record, in order of id."""
        for key, value in self._tables.scan(Table.IMAGES):
            yield key.decode(), ImageRecord.FromString(value)

    def heads(self) -> Iterator[tuple[str, str]]:
        """Yield every image id with its head, in order of id."""
        for key, value in self._tables.scan(Table.IMAGES):
            yield key.decode(), ImageRecord.FromString(value).head

    def forgotten(self, image_id: str) -> Forgotten | None:
        """Return when and by whom an image was forgotten; None if it never was."""
        data = self._tables.get(Table.FORGOTTEN, layout.hash_key(image_id))
        return Forgotten.FromString(data) if data is not None else None

    def forgotten_since(self, at_ms: int) -> set[bytes]:
        """Return the hashes of the ids of images that were forgotten at a time or later, Unix milliseconds."""
        records = self._tables.scan(Table.FORGOTTEN)
        return {key for key, value in records if Forgotten.FromString(value).at_ms >= at_ms}

    def forgotten_upto_ms(self, image_id: str) -> int:
        """Return the event time, Unix milliseconds, up to which embeddings of an image are dropped.

        0 if it was never forgotten.
        """
        found = self.forgotten(image_id)
        return found.upto_ms if found is not None else 0


class VectorReader:
    """Vectors by ordinal."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def find(self, ordinal: int) -> VectorRecord | None:
        """Return the vectors of an ordinal; None if it has no image now."""
        data = self._tables.get(Table.VECTORS, layout.number_key(ordinal))
        return VectorRecord.FromString(data) if data is not None else None

    def get(self, ordinal: int) -> VectorRecord:
        """Return the vectors of an ordinal.

        Raises:
            InvariantBroken: there are none.
        """
        found = self.find(ordinal)
        if found is None:
            raise InvariantBroken(f"no vectors stored for ordinal {ordinal}")
        return found

    def find_many(self, ordinals: Sequence[int]) -> list[VectorRecord | None]:
        """Return many at once, in the order of the ordinals."""
        found = self._tables.get_many(Table.VECTORS, [layout.number_key(ordinal) for ordinal in ordinals])
        return [VectorRecord.FromString(data) if data is not None else None for data in found]

    def all(self, start: int = 0) -> Iterator[VectorRecord]:
        """Yield the vectors of all images in order of ordinal, from ordinal `start` on."""
        return (record for _, record in self.numbered(start))

    def numbered(self, start: int = 0) -> Iterator[tuple[int, VectorRecord]]:
        """Like `all`, with the ordinals."""
        for key, value in self._tables.scan(Table.VECTORS, start=layout.number_key(start)):
            yield layout.number_of(key), VectorRecord.FromString(value)


class TouchedReader:
    """What commits have changed of images that were known before."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def after(self, commit: int) -> Iterator[tuple[int, Touched]]:
        """Yield the number of each later commit that has changed any, with what it changed, in order."""
        for key, value in self._tables.scan(Table.TOUCHED, start=layout.number_key(commit + 1)):
            yield layout.number_of(key), Touched.FromString(value)


class HistoryReader:
    """Decisions by image, encoded as `Decision`."""

    def __init__(self, tables: Tables, images: ImageReader) -> None:
        self._tables = tables
        self._images = images

    def current(self, image_id: str) -> bytes:
        """Return the current decision about an image.

        Raises:
            NotFound: the image has not been decided.
            InvariantBroken: it has been, but the decision is missing.
        """
        image = self._images.find(image_id)
        if image is None:
            raise NotFound(f"image {image_id!r} has not been decided")
        data = self._tables.get(Table.HISTORY, layout.sequence_key(image_id, image.sequence))
        if data is None:
            raise InvariantBroken(f"decision {image.sequence} of {image_id!r} is missing from the history")
        return bytes(data)

    def at_many(self, keys: list[tuple[str, int]]) -> list[bytes | None]:
        """Return the decisions with these sequences, by image id and sequence; None where there is none."""
        return self._tables.get_many(Table.HISTORY, [layout.sequence_key(*key) for key in keys])

    def has(self, image_id: str, sequence: int) -> bool:
        """Return whether the history of an image has the decision with this sequence."""
        return self._tables.get(Table.HISTORY, layout.sequence_key(image_id, sequence)) is not None

    def all(self, image_id: str) -> list[bytes]:
        """Return every decision about an image, oldest first."""
        prefix = layout.id_prefix(image_id)
        return [value for _, value in self._tables.scan(Table.HISTORY, prefix, prefix)]

    def at(self, image_id: str, at_ms: int) -> Decision | None:
        """Return the decision about an image that was current at a time; None if it had none then.

        Args:
            image_id: of an image.
            at_ms: Unix milliseconds, by the clock of the worker that decided.
        """
        decisions = (decode_decision(data) for data in reversed(self.all(image_id)))
        return next((decision for decision in decisions if decision.decided_ms <= at_ms), None)

    def sequences(self, image_id: str) -> list[int]:
        """Return the sequences of the decisions about an image, ascending."""
        prefix = layout.id_prefix(image_id)
        return [layout.number_of(key) for key, _ in self._tables.scan(Table.HISTORY, prefix, prefix)]
