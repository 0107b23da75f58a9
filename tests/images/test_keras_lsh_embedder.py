"""The network is the published architecture; the lsh vector is stable, of unit length and useful."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neardup_platform.errors import BadArtefact
from neardup_platform.images.keras_efficientnet_lite0 import build_network, pool
from neardup_platform.images.keras_lsh_embedder import WEIGHTS_FILE, WEIGHTS_FOLDER, LshEmbedder, load_weights


@pytest.fixture(scope="module")
def embedder() -> LshEmbedder:
    return LshEmbedder()


def check_picture() -> np.ndarray:
    x, y = np.meshgrid(np.arange(224), np.arange(224))
    return np.stack([255 * x // 223, 255 * y // 223, (x + y) % 256], axis=-1).astype(np.uint8)


def picture(seed: int, height: int = 180, width: int = 240) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def test_the_network_has_the_operations_and_strides_of_lite0() -> None:
    # Tan & Le's Lite0 has 4.65 million parameters, 1.28 million of them in its classification layer; folded batch
    # norms leave one bias per channel. Maps are 16 and 32 times smaller than the picture.
    weights = load_weights(WEIGHTS_FOLDER / WEIGHTS_FILE)
    network = build_network(weights)
    assert network.count_params() == sum(v.size for n, v in weights.items() if n not in ("projection", "bias"))
    assert network.count_params() == pytest.approx(3.37e6, rel=0.01)
    *inner, last = network(check_picture()[None].astype(np.float32))
    assert [each.shape[1:] for each in inner] == [(14, 14, 80), (14, 14, 112), (7, 7, 192), (7, 7, 320)]
    assert last.shape == (1, 7, 7, 1280)
    assert pool([*inner, last]).shape == (1, weights["projection"].shape[0])


def test_vectors_have_unit_norm_and_the_stated_dimension(embedder: LshEmbedder) -> None:
    vectors = embedder.embed([picture(s) for s in range(3)])
    assert vectors.shape == (3, embedder.dim) == (3, 256)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_picture_has_the_same_vector_alone_and_in_any_batch(embedder: LshEmbedder) -> None:
    pictures = [picture(s) for s in range(35)]
    together = embedder.embed(pictures)
    assert np.allclose(together[34], embedder.embed([pictures[34]])[0], atol=1e-4)
    assert np.allclose(together[0], embedder.embed([pictures[0]])[0], atol=1e-4)


def test_a_smaller_copy_is_nearer_than_another_picture(embedder: LshEmbedder) -> None:
    original = picture(1)
    copy = np.asarray(Image.fromarray(original).resize((120, 90)))
    a, b, other = embedder.embed([original, copy, check_picture()])
    assert a @ b > 0.9
    assert a @ b > a @ other + 0.3


def test_no_pictures_give_no_rows(embedder: LshEmbedder) -> None:
    assert embedder.embed([]).shape == (0, 256)


def test_other_weights_give_another_model_version(embedder: LshEmbedder, tmp_path: Path) -> None:
    weights = load_weights(WEIGHTS_FOLDER / WEIGHTS_FILE)
    weights["bias"] = weights["bias"] + np.float16(0.01)
    np.savez(tmp_path / WEIGHTS_FILE, allow_pickle=False, **weights)
    assert LshEmbedder(tmp_path).model_version != embedder.model_version
    assert LshEmbedder().model_version == embedder.model_version


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / WEIGHTS_FILE).write_bytes((WEIGHTS_FOLDER / WEIGHTS_FILE).read_bytes()[:5000])
    with pytest.raises(BadArtefact, match=WEIGHTS_FILE):
        LshEmbedder(tmp_path)


@pytest.mark.parametrize("change", ["missing", "shape"])
def test_weights_of_another_network_are_refused(change: str, tmp_path: Path) -> None:
    weights = load_weights(WEIGHTS_FOLDER / WEIGHTS_FILE)
    kernel = weights.pop("conv_head/0")
    if change == "shape":
        weights["conv_head/0"] = kernel[..., :-1]
    np.savez(tmp_path / WEIGHTS_FILE, allow_pickle=False, **weights)
    with pytest.raises(BadArtefact, match="do not fit the network"):
        LshEmbedder(tmp_path)
