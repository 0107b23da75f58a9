"""The built-in `pair` embedder: shape by DCT, colour by histogram, and a sketch; independent of any network.

Pixels → **pair vector** → topic `neardup.embeddings.pair` → pair classifier. The `lsh` network sees what a picture
shows; this embedder sees its layout and colours, which separates two photographs of the same kind of thing. The sketch
is for the second look at the best candidates, which lays two pictures over each other.

Layout of the vector, float32 [1479], described for the classifier by `BLOCKS`:

    0…143    DCT of the whole picture squeezed to 64×64 luminance, lowest 12×12 frequencies
    144…287  the same of the central square: equal for a picture and its square thumbnail
    288…431  the same of the picture without its plain margins: equal for a picture and its framed copy
    432…495  lowest 8×8 frequencies of the whole picture, fine ones attenuated: for pictures of few pixels
    496…511  lowest 4×4 frequencies of its blue difference, and
    512…527  of its red difference: where its colours are
    528…559  the same two in units of the picture's range instead of unit norm: how strong they are
    560…655  square roots of a 6×4×4 histogram of luma and two chromas: hardly changed by a crop
    656…657  log2(width/height), mean luma
    658…660  log2(1 + luma deviation), mean chroma strength, log2 of the shorter side up to 128 pixels: how much there
             is to compare; plain and tiny pictures look like many others

A DCT block has unit norm and is ordered [vertical parity, horizontal parity, s, s], so that a mirrored or rotated
picture differs only by signs and a transposition of the sub-blocks.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn

from neardup_platform.images.decode import Pixels
from neardup_platform.images.margins import without_margins
from neardup_platform.images.picture_sketch import sketch_of
from neardup_platform.structure.sketch import ENTRIES

Block = tuple[str, int, int, str]
BLOCKS: tuple[Block, ...] = (
    ("full_dct", 0, 144, "dihedral"),
    ("square_dct", 144, 288, "dihedral"),
    ("trimmed_dct", 288, 432, "dihedral"),
    ("soft_dct", 432, 496, "dihedral"),
    ("blue_dct", 496, 512, "apart"),
    ("red_dct", 512, 528, "apart"),
    ("chroma_layout", 528, 560, "cosine"),
    ("colour_histogram", 560, 656, "cosine"),
    ("statistics", 656, 658, "difference"),
    ("levels", 658, 661, "level"),
    ("sketch", 661, 661 + ENTRIES, "sketch"),
)
DIM = 661 + ENTRIES

_GRID_PX = 64
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_LUMA_BINS, _CHROMA_EDGES = 6, np.array([0.46, 0.5, 0.54], np.float32)
# Natural pictures lose power with frequency; weighting by it makes fine layout count (measured: recall at 99% precision
# 0.48 unweighted, 0.50 weighted; for the central square 0.65 and 0.67). Pictures of 32×32 pixels contain little but
# noise there: for them, best F1 is 0.712 with 12 frequencies weighted in this way, 0.759 with 8 weighted by the square
# root.
_FINE, _SOFT, _COARSE = (12, 1.0), (8, 0.5), (4, 0.5)
# Below about one grey level of deviation there is no shape, and noise must not be amplified to unit norm.
_FLOOR = np.float32(_GRID_PX)


class PairDescriptor:
    """Embeds pictures as layout, colour and sketch; needs only NumPy, SciPy and Pillow."""

    kind = "pair"
    model_version = "dct-colour-3"
    dim = DIM
    blocks: tuple[Block, ...] = BLOCKS
    # The size that `decode` must keep on the shorter side.
    enough_px = 2 * _GRID_PX

    def embed(self, pictures: Sequence[Pixels]) -> NDArray[np.float32]:
        """Describe pictures of any size.

        Args:
            pictures: uint8 [height, width, 3] each.

        Returns:
            float32 [n, 1479], in the layout of the module docstring.
        """
        if not pictures:
            return np.zeros((0, DIM), np.float32)
        images = [Image.fromarray(pixels) for pixels in pictures]
        whole = np.stack([_grid(image) for image in images])
        squares = np.stack([_grid(_central_square(image)) for image in images])
        trimmed = np.stack([_grid(without_margins(image)) for image in images])
        sides = np.array([image.size for image in images], np.float32)
        luma, chroma = _luma_chroma(whole)
        shape = _dct(luma)
        blue, red = (_spectrum(_dct(255 * (chroma[..., c] - 0.5)), *_COARSE) for c in range(2))
        return np.concatenate(
            [
                _unit(_spectrum(shape, *_FINE)),
                _unit(_spectrum(_dct(squares @ _LUMA), *_FINE)),
                _unit(_spectrum(_dct(trimmed @ _LUMA), *_FINE)),
                _unit(_spectrum(shape, *_SOFT)),
                _unit(blue),
                _unit(red),
                np.concatenate([blue, red], axis=1) / (255 * _GRID_PX),
                np.sqrt(_histogram(luma, chroma)),
                _statistics(sides, luma, chroma),
                np.stack([sketch_of(pixels) for pixels in pictures]),
            ],
            axis=1,
        ).astype(np.float32)


def _grid(image: Image.Image) -> NDArray[np.float32]:
    small = image.resize((_GRID_PX, _GRID_PX), Image.Resampling.BOX, reducing_gap=2.0)
    return np.asarray(small, dtype=np.float32)


def _central_square(image: Image.Image) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def _luma_chroma(grids: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Luma 0…255 [n, 64, 64] and blue, red differences around 0.5 [n, 64, 64, 2] (ITU-R BT.601)."""
    luma = grids @ _LUMA
    blue = (grids[..., 2] - luma) * (0.564 / 255) + 0.5
    red = (grids[..., 0] - luma) * (0.713 / 255) + 0.5
    return luma, np.stack([blue, red], axis=-1)


def _dct(grids: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(dctn(grids, axes=(1, 2), norm="ortho"), dtype=np.float32)


def _spectrum(dct: NDArray[np.float32], frequencies: int, exponent: float) -> NDArray[np.float32]:
    """Low frequencies of [n, 64, 64], weighted by frequency^exponent, in parity order: [n, frequencies²]."""
    half, axis = frequencies // 2, np.arange(frequencies, dtype=np.float32)
    weights = np.hypot(*np.meshgrid(axis, axis)) ** exponent
    spectrum = dct[:, :frequencies, :frequencies] * weights
    parity = spectrum.reshape(-1, half, 2, half, 2).transpose(0, 2, 4, 1, 3)
    return np.asarray(parity.reshape(len(dct), -1), dtype=np.float32)


def _unit(spectrum: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(spectrum, axis=1, keepdims=True)
    return np.asarray(spectrum / np.maximum(norms, _FLOOR), dtype=np.float32)


def _histogram(luma: NDArray[np.float32], chroma: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shares of the grid's cells in 6 luma × 4 × 4 chroma bins, [n, 96]; each row sums to 1."""
    n, bins = len(luma), _LUMA_BINS * 16
    luma_bin = np.minimum((luma * (_LUMA_BINS / 255)).astype(np.int64), _LUMA_BINS - 1)
    blue_bin, red_bin = (np.digitize(chroma[..., c], _CHROMA_EDGES) for c in range(2))
    cell = (luma_bin * 4 + blue_bin) * 4 + red_bin
    flat = (cell.reshape(n, -1) + np.arange(n)[:, None] * bins).ravel()
    counts = np.bincount(flat, minlength=n * bins).reshape(n, bins)
    return (counts / _GRID_PX**2).astype(np.float32)


def _statistics(
    sides: NDArray[np.float32], luma: NDArray[np.float32], chroma: NDArray[np.float32]
) -> NDArray[np.float32]:
    aspect = np.log2(sides[:, 0] / sides[:, 1])
    mean = luma.mean(axis=(1, 2)) / 255
    deviation = np.log2(1 + luma.std(axis=(1, 2)))
    strength = np.abs(chroma - 0.5).mean(axis=(1, 2, 3))
    # Decoding may reduce a picture, but never below this.
    shorter = np.log2(np.minimum(sides.min(axis=1), PairDescriptor.enough_px))
    return np.stack([aspect, mean, deviation, strength, shorter], axis=1)
