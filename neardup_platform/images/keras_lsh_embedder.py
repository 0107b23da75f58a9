"""The built-in `lsh` embedder: EfficientNet-Lite0 features, whitened to 256 dimensions of unit norm.

Pixels → **lsh vector** → topic `neardup.embeddings.lsh` → terms and pair classifier. The projection lies
beside the network's weights as `lsh-projection.npz` and is made by `fit_lsh_projection.py`.
"""

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from neardup_platform.errors import BadArtefact
from neardup_platform.images.decode import Pixels
from neardup_platform.images.keras_efficientnet_lite0 import FEATURES, INPUT_PX, build_feature_maps, pool
from neardup_platform.images.lsh_projection import project

WEIGHTS_FOLDER = Path(__file__).parent / "weights"
NETWORK_FILE = "efficientnet-lite0.npz"
PROJECTION_FILE = "lsh-projection.npz"
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
        network, projection = load_weights(folder / NETWORK_FILE), load_weights(folder / PROJECTION_FILE)
        self._features = compile_features(network)
        self._mean, self._matrix = (projection[name].astype(np.float32) for name in ("mean", "matrix"))
        self.dim = int(self._matrix.shape[1])
        self.model_version = f"lite0-{self.dim}-{_content_hash(network, projection)}"

    def embed(self, pictures: Sequence[Pixels]) -> NDArray[np.float32]:
        """Embeds pictures, squeezed to 224×224.

        Args:
            pictures: uint8 [height, width, 3] each, of any size.

        Returns:
            float32 [n, 256], unit norm.
        """
        return project(embed_features(self._features, pictures), self._mean, self._matrix)


def compile_features(network: Mapping[str, NDArray[Any]]) -> Any:
    """Traces the network once for any batch: uint8 tensor [n, 224, 224, 3] → float32 [n, 2688]."""
    import tensorflow as tf

    model = build_feature_maps(network)
    signature = [tf.TensorSpec([None, INPUT_PX, INPUT_PX, 3], tf.uint8)]
    return tf.function(lambda pixels: pool(model(tf.cast(pixels, tf.float32))), input_signature=signature)


def embed_features(features: Any, pictures: Sequence[Pixels]) -> NDArray[np.float32]:
    """Runs the traced network over pictures of any size, in batches of 32: float32 [n, 2688]."""
    rows = [np.zeros((0, FEATURES), np.float32)]
    for start in range(0, len(pictures), _BATCH):
        batch = np.stack([_squeeze(pixels) for pixels in pictures[start : start + _BATCH]])
        rows.append(features(batch).numpy())
    return np.concatenate(rows)


def load_weights(path: Path) -> dict[str, NDArray[Any]]:
    """Reads the arrays of an `.npz` file.

    Raises:
        BadArtefact: missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise BadArtefact(f"weights {path} cannot be read ({error}): install the package again") from error


def _squeeze(pixels: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize((INPUT_PX, INPUT_PX), Image.Resampling.BILINEAR))


def _content_hash(*weights: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for arrays in weights:
        for name in sorted(arrays):
            digest.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()[:12]
