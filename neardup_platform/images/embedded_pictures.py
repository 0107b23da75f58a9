"""Many pictures to vectors and previews, batch by batch: shared by ingest and evaluation."""

import hashlib
import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from neardup_platform.errors import BadPicture, NotAPicture, NotFound
from neardup_platform.images.decode import Pixels
from neardup_platform.images.decoding.pool import DecoderPool
from neardup_platform.images.embedder import Embedder
from neardup_platform.images.pdq_hash import pdq_hash
from neardup_platform.records import Embedding, JoinedImage, Kind, PdqHash
from neardup_platform.settings import ImageSettings

# Pictures embedded at once: enough for efficient matrix work in the network, few enough for a few 100 MB.
BATCH_PICTURES = 32
PREVIEW_PX = 384
# Pictures read ahead for each decoder, and pixels that wait to be embedded together: a full batch of large pictures,
# each up to 150 MB, would take gigabytes.
_AHEAD = 4
_MOST_PIXEL_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class PictureSource:
    """A picture to read.

    Attributes:
        image_id: the id that the image gets.
        place: path or `s3://` uri, for messages.
        read: returns its bytes, at most one more than `images.max_bytes`, which suffices to refuse it. Raises
            `NotAPicture` for a file of a folder that is skipped.
    """

    image_id: str
    place: str
    read: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class EmbeddedPicture:
    """A picture's two vectors, and a JPEG preview for people.

    Attributes:
        place: where it was read from.
        content: SHA-256 of its bytes, hexadecimal.
        pdq: its PDQ hash; None where it is not wanted, or pdqhash is not installed.
    """

    image_id: str
    place: str
    content: str
    vectors: dict[Kind, tuple[str, NDArray[np.float32]]]
    preview: bytes
    pdq: PdqHash | None = None

    def embeddings(self, event_time_ms: int, source_uri: str, *, replaces: bool = False) -> JoinedImage:
        """Both embeddings, ready to be published."""
        lsh, pair = (
            Embedding(self.image_id, kind, version, vector, event_time_ms, source_uri, replaces, self.pdq)
            for kind, (version, vector) in ((kind, self.vectors[kind]) for kind in (Kind.LSH, Kind.PAIR))
        )
        return JoinedImage(lsh, pair)

    @property
    def preview_key(self) -> str:
        """The key of the preview in the bucket: one folder per id, one key per picture and models.

        So another picture under the same id never overwrites a preview that is shown.
        """
        models = _hash("/".join(version for version, _ in self.vectors.values()))
        return f"{preview_folder(self.image_id)}{self.content[:32]}-{models[:8]}.jpg"


@dataclass(frozen=True, slots=True)
class Refused:
    """A refused picture with its place and the reason, or a skipped file with its place and kind."""

    place: str
    reason: str


@dataclass(slots=True)
class EmbeddedBatch:
    """The outcome of one batch of pictures."""

    pictures: list[EmbeddedPicture] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    skipped: list[Refused] = field(default_factory=list)

    @property
    def files(self) -> int:
        """The number of files processed."""
        return len(self.pictures) + len(self.refused) + len(self.skipped)


@dataclass(frozen=True, slots=True)
class _Readable:
    """A picture that can be embedded: its source, the hash of its file, its pixels and their PDQ hash."""

    source: PictureSource
    content: str
    pixels: Pixels
    pdq: PdqHash | None


_Read = _Readable | Refused | NotAPicture


def preview_folder(image_id: str) -> str:
    """Prefix of an image's previews in the bucket, whatever characters the id contains."""
    return f"pictures/{_hash(image_id)[:32]}/"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def embed_pictures(
    sources: Iterator[PictureSource], embedders: Sequence[Embedder], settings: ImageSettings, *, hashed: bool = False
) -> Iterator[EmbeddedBatch]:
    """Read, decode and embed, batch by batch. A broken picture is refused and the rest continues.

    Args:
        sources: pictures to read.
        embedders: one of each kind.
        hashed: whether to compute PDQ hashes, where pdqhash is installed.
    """
    enough_px = max(embedder.enough_px for embedder in embedders)

    def read(source: PictureSource) -> _Read:
        try:
            data = source.read()
            pixels = decoders.decode(data, enough_px)
            return _Readable(source, hashlib.sha256(data).hexdigest(), pixels, pdq_hash(pixels) if hashed else None)
        except NotAPicture as error:
            return error
        except (BadPicture, NotFound, OSError) as error:
            return Refused(source.place, str(error))

    with (
        DecoderPool(settings) as decoders,
        ThreadPoolExecutor(max_workers=decoders.processes, thread_name_prefix="decode") as pool,
    ):
        read_ahead = _ahead(pool, read, sources, _AHEAD * decoders.processes)
        while files := list(islice(read_ahead, 1)):
            yield _batch(chain(files, islice(read_ahead, BATCH_PICTURES - 1)), embedders)


def _ahead(
    pool: ThreadPoolExecutor, read: Callable[[PictureSource], _Read], sources: Iterator[PictureSource], most: int
) -> Iterator[tuple[PictureSource, _Read]]:
    """Each source with its result, in order, with up to `most` sources being read or waiting."""
    reading: deque[tuple[PictureSource, Future[_Read]]] = deque()
    for source in sources:
        reading.append((source, pool.submit(read, source)))
        if len(reading) >= most:
            first, result = reading.popleft()
            yield first, result.result()
    for first, result in reading:
        yield first, result.result()


def _batch(files: Iterable[tuple[PictureSource, _Read]], embedders: Sequence[Embedder]) -> EmbeddedBatch:
    """Embed pictures together until they take `_MOST_PIXEL_BYTES`."""
    batch, held_bytes = EmbeddedBatch(), 0
    good: list[_Readable] = []
    for source, result in files:
        if isinstance(result, Refused):
            batch.refused.append(result)
        elif isinstance(result, NotAPicture):
            batch.skipped.append(Refused(source.place, str(result)))
        else:
            good.append(result)
            held_bytes += result.pixels.nbytes
        if held_bytes > _MOST_PIXEL_BYTES:
            batch.pictures += _embed(good, embedders)
            good, held_bytes = [], 0
    batch.pictures += _embed(good, embedders)
    return batch


def _embed(pictures: Sequence[_Readable], embedders: Sequence[Embedder]) -> list[EmbeddedPicture]:
    if not pictures:
        return []
    pixels = [picture.pixels for picture in pictures]
    vectors = {Kind(embedder.kind): (embedder.model_version, embedder.embed(pixels)) for embedder in embedders}
    return [
        EmbeddedPicture(
            picture.source.image_id,
            picture.source.place,
            picture.content,
            {kind: (version, matrix[row]) for kind, (version, matrix) in vectors.items()},
            preview(picture.pixels),
            picture.pdq,
        )
        for row, picture in enumerate(pictures)
    ]


def preview(picture: Pixels) -> bytes:
    """A JPEG whose longer side is at most `PREVIEW_PX`."""
    image = Image.fromarray(picture)
    image.thumbnail((PREVIEW_PX, PREVIEW_PX))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=82)
    return buffer.getvalue()
