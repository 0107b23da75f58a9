"""Pictures in any form, one by one, to both vectors: what the deduplicator in memory uses.

Path, bytes, file or PIL image → pixels → **vectors**. `embedded_pictures.py` does the same for a stream of files.
"""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from neardup_platform.errors import BadPicture, SetupError
from neardup_platform.images.active_embedders import load_embedders, model_specs
from neardup_platform.images.decoding.pool import DecoderPool
from neardup_platform.images.embedder import Embedder
from neardup_platform.images.rgb import Pixels, to_rgb
from neardup_platform.records import Kind, ModelSpec
from neardup_platform.settings import ImageSettings

# A picture: its path, the bytes of its file, a file opened for binary reading, or a PIL image.
Picture = str | PathLike[str] | bytes | BinaryIO | Image.Image
# lsh and pair vectors, float32 [n, dim] each.
Vectors = tuple[NDArray[np.float32], NDArray[np.float32]]

_ORIENTATION = 0x0112


class PictureEmbedder:
    """Decodes and embeds pictures.

    Decoder processes and embedders start with the first picture: TensorFlow takes seconds to load.

    Args:
        settings: models, and limits of decoding.
        models: what the classifier was trained on.
    """

    def __init__(self, settings: ImageSettings, models: Mapping[Kind, ModelSpec]) -> None:
        self._settings = settings
        self._models = models
        self._decoders = DecoderPool(settings)
        self._loaded: tuple[Embedder, Embedder] | None = None

    def close(self) -> None:
        """Stop the decoder processes."""
        self._decoders.close()

    def decode(self, picture: Picture) -> Pixels:
        """Return the pixels of a picture.

        Raises:
            BadPicture: it cannot be decoded within the limits.
            OSError: the file cannot be read.
            SetupError: the embedders are not those of `models`.
        """
        enough_px = max(embedder.enough_px for embedder in self._embedders())
        if isinstance(picture, Image.Image):
            return self._rgb(picture, enough_px)
        limit = self._settings.max_bytes + 1
        if isinstance(picture, bytes):
            data = picture
        elif isinstance(picture, str | PathLike):
            with Path(picture).open("rb") as file:
                data = file.read(limit)
        else:
            data = picture.read(limit)
        return self._decoders.decode(data, enough_px)

    def embed(self, pictures: Sequence[Pixels]) -> Vectors:
        """Return both vectors of decoded pictures; row i belongs to picture i."""
        lsh, pair = self._embedders()
        return lsh.embed(pictures), pair.embed(pictures)

    def _rgb(self, image: Image.Image, enough_px: int) -> Pixels:
        limit = self._settings.max_pixels
        if not 0 < image.width * image.height <= limit:
            raise BadPicture(
                f"image of {image.width}×{image.height}: 1 to images.max_pixels = {limit:,} pixels allowed"
            )
        try:
            image.load()
            return to_rgb(image, image.getexif().get(_ORIENTATION, 1), enough_px)
        except (OSError, SyntaxError, ValueError) as error:
            raise BadPicture(f"image of mode {image.mode} cannot be read ({error})") from error

    def _embedders(self) -> tuple[Embedder, Embedder]:
        if self._loaded is None:
            embedders = load_embedders(self._settings)
            if model_specs(embedders) != self._models:
                raise SetupError(
                    "the embedders are not those the classifier was trained on: add vectors instead, or set "
                    "images.lsh_model and images.pair_model"
                )
            self._loaded = embedders
        return self._loaded
