"""The built-in `lsh` embedder: EfficientNet-Lite0 trained for copy detection, 256 dimensions of unit norm.

Pixels → **lsh vector** → topic `neardup.embeddings.lsh` → terms and pair classifier. `copy-detection.npz` holds the
network and the projection; `learning/embedder/train_descriptor.py` creates it.
"""

import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from neardup_platform.errors import BadArtefact
from neardup_platform.images.decode import Pixels
from neardup_platform.images.keras_efficientnet_lite0 import (
    INPUT_PX,
    Weights,
    build_network,
    pool,
)

WEIGHTS_FOLDER = Path(__file__).parent / "weights"
WEIGHTS_FILE = "copy-detection.npz"
# Larger batches gain nothing on a processor and hold 20 MB of feature maps per picture.
_BATCH = 32


class LshEmbedder:
    """Embeds pictures by what they show.

    Raises:
        BadArtefact: the weights or the projection in `folder` are missing or damaged.
    """

    kind = "lsh"
    blocks: tuple[tuple[str, int, int, str], ...] = ()
    enough_px = INPUT_PX

    def __init__(self, folder: Path = WEIGHTS_FOLDER) -> None:
        weights = load_weights(folder / WEIGHTS_FILE)
        try:
            self._vectors = _compile(weights)
        except (KeyError, ValueError) as error:
            raise BadArtefact(
                f"weights {folder / WEIGHTS_FILE} do not fit the network ({error}): restore them"
            ) from error
        self.dim = int(weights["projection"].shape[1])
        self.model_version = f"lite0-copies-{self.dim}-{_content_hash(weights)}"

    def embed(self, pictures: Sequence[Pixels]) -> NDArray[np.float32]:
        """Embed pictures, squeezed to 224×224.

        Args:
            pictures: uint8 [height, width, 3] each, of any size.

        Returns:
            float32 [n, 256], unit norm.
        """
        rows = [np.zeros((0, self.dim), np.float32)]
        for start in range(0, len(pictures), _BATCH):
            batch = np.stack([squeeze(pixels, INPUT_PX) for pixels in pictures[start : start + _BATCH]])
            rows.append(self._vectors(batch).numpy())
        return np.concatenate(rows)


def _compile(weights: Weights) -> Any:
    """Trace the network once for any batch: uint8 tensor [n, 224, 224, 3] → float32 [n, dim]."""
    import tensorflow as tf

    network = build_network(weights)
    matrix, bias = (tf.constant(weights[name].astype(np.float32)) for name in ("projection", "bias"))

    def vectors(pixels: Any) -> Any:
        return project(pool(network(tf.cast(pixels, tf.float32))), matrix, bias)

    return tf.function(vectors, input_signature=[tf.TensorSpec([None, INPUT_PX, INPUT_PX, 3], tf.uint8)])


def project(features: Any, matrix: Any, bias: Any) -> Any:
    """Features to unit vectors: float32 tensors [n, features], [features, dim], [dim] → [n, dim]."""
    import tensorflow as tf

    return tf.math.l2_normalize(tf.matmul(features, matrix) + bias, axis=1)


def load_weights(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays of an `.npz` file.

    Raises:
        BadArtefact: missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise BadArtefact(f"weights {path} cannot be read ({error}): install the package again") from error


def squeeze(pixels: Pixels, side_px: int) -> Pixels:
    """Scale a picture to a square, whatever its shape: uint8 [side_px, side_px, 3]."""
    return np.asarray(Image.fromarray(pixels).resize((side_px, side_px), Image.Resampling.BILINEAR))


def _content_hash(weights: Weights) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + np.ascontiguousarray(weights[name]).tobytes())
    return digest.hexdigest()[:12]
