"""The network equals the published one until it is tuned; the lsh vector is stable, of unit length and useful."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neardup_platform.errors import BadArtefact
from neardup_platform.images.keras_efficientnet_lite0 import build_early, build_late, gem_pool, set_tuned, tuned_weights
from neardup_platform.images.keras_lsh_embedder import (
    NETWORK_FILE,
    TUNED_FILE,
    WEIGHTS_FOLDER,
    LshEmbedder,
    load_weights,
)


@pytest.fixture(scope="module")
def embedder() -> LshEmbedder:
    return LshEmbedder()


def check_picture() -> np.ndarray:
    x, y = np.meshgrid(np.arange(224), np.arange(224))
    return np.stack([255 * x // 223, 255 * y // 223, (x + y) % 256], axis=-1).astype(np.uint8)


def picture(seed: int, height: int = 180, width: int = 240) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def test_the_rebuilt_network_reproduces_the_published_features() -> None:
    # 152.99, 338.70 and 1.2056 with float32 kernels; the shipped float16 kernels change the sums by under 0.5%
    # and a single feature by 1.3%. Another padding or channel order is off by more than 10%.
    published = load_weights(WEIGHTS_FOLDER / NETWORK_FILE)
    last = build_late(published)(build_early(published)(check_picture()[None].astype(np.float32)))[-1]
    averaged = last.numpy().mean(axis=(1, 2))[0]
    assert averaged.sum() == pytest.approx(152.99, rel=0.005)
    assert gem_pool(last).numpy().sum() == pytest.approx(338.70, rel=0.005)
    assert averaged[2] == pytest.approx(1.2056, rel=0.015)


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
    shutil.copy(WEIGHTS_FOLDER / NETWORK_FILE, tmp_path)
    tuned = load_weights(WEIGHTS_FOLDER / TUNED_FILE)
    tuned["bias"] = tuned["bias"] + np.float16(0.01)
    np.savez(tmp_path / TUNED_FILE, allow_pickle=False, **tuned)
    assert LshEmbedder(tmp_path).model_version != embedder.model_version
    assert LshEmbedder().model_version == embedder.model_version


def test_tuned_weights_survive_being_written_and_read() -> None:
    published = load_weights(WEIGHTS_FOLDER / NETWORK_FILE)
    tuned, late = load_weights(WEIGHTS_FOLDER / TUNED_FILE), build_late(published)
    set_tuned(late, tuned)
    again = tuned_weights(late)
    assert set(again) == set(tuned) - {"projection", "bias"}
    assert all(np.array_equal(again[name], tuned[name]) for name in again)
    assert any(not np.array_equal(again[name], before) for name, before in tuned_weights(build_late(published)).items())


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    shutil.copy(WEIGHTS_FOLDER / NETWORK_FILE, tmp_path)
    (tmp_path / TUNED_FILE).write_bytes((WEIGHTS_FOLDER / TUNED_FILE).read_bytes()[:5000])
    with pytest.raises(BadArtefact, match=TUNED_FILE):
        LshEmbedder(tmp_path)


@pytest.mark.parametrize("change", ["missing", "shape"])
def test_weights_of_another_network_are_refused(change: str, tmp_path: Path) -> None:
    shutil.copy(WEIGHTS_FOLDER / NETWORK_FILE, tmp_path)
    tuned = load_weights(WEIGHTS_FOLDER / TUNED_FILE)
    kernel = tuned.pop("conv_head/0")
    if change == "shape":
        tuned["conv_head/0"] = kernel[..., :-1]
    np.savez(tmp_path / TUNED_FILE, allow_pickle=False, **tuned)
    with pytest.raises(BadArtefact, match="do not fit the network"):
        LshEmbedder(tmp_path)
