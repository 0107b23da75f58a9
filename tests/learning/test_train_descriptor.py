"""Training the descriptor: what is learned from, what is refused, and, where PyTorch is installed, that it learns."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from neardup_platform.errors import BadArtefact, BadPicture, SetupError
from neardup_platform.images.keras_efficientnet_lite0 import HEAD_CHANNELS, STAGES, STEM_CHANNELS
from neardup_platform.images.keras_lsh_embedder import WEIGHTS_FILE, WEIGHTS_FOLDER, load_weights
from neardup_platform.learning.embedder import train_descriptor as training
from neardup_platform.learning.embedder.caption_masks import caption_masks
from neardup_platform.learning.embedder.descriptor_pictures import (
    SQUARE_PX,
    TrainingPictures,
    draw_look_alikes,
    join,
    kept_back,
    read_photographs,
)
from neardup_platform.learning.embedder.descriptor_recipe import Recipe
from neardup_platform.learning.embedder.synthetic_pictures import KINDS, draw

SAMPLES = Path(__file__).parents[2] / "samples" / "pictures"
RECIPE = Recipe(batch=12, side_px=64, templates=1, contents=1, warm_up=2, learning_rate=3e-4, hard_share=0.5)


def published() -> dict[str, NDArray[Any]]:
    """Random weights with the names and shapes of the published ones; activations keep their size."""
    rng, arrays = np.random.default_rng(0), {}

    def convolution(name: str, norm: str, shape: tuple[int, ...]) -> None:
        *square, into, out = shape
        fan_in = np.prod(square) * (1 if out == 1 else into)
        arrays[f"{name}/weight"] = (rng.normal(size=shape) * np.sqrt(2 / fan_in)).astype(np.float16)
        channels = into if out == 1 else out
        for statistic, least, most in (("weight", 0.9, 1.1), ("bias", 0, 0.2), ("running_var", 0.9, 1.1)):
            arrays[f"{norm}/{statistic}"] = rng.uniform(least, most, channels).astype(np.float32)
        arrays[f"{norm}/running_mean"] = rng.normal(size=channels).astype(np.float32) * 0.1

    convolution("conv_stem", "bn0", (3, 3, 3, STEM_CHANNELS))
    entering, block = STEM_CHANNELS, 0
    for stage in STAGES:
        for _ in range(stage.repeats):
            name, wide = f"blocks/{block}", entering * stage.expansion
            if stage.expansion != 1:
                convolution(f"{name}/expand_conv", f"{name}/bn0", (1, 1, entering, wide))
            convolution(f"{name}/depthwise_conv", f"{name}/bn1", (stage.kernel, stage.kernel, wide, 1))
            convolution(f"{name}/project_conv", f"{name}/bn2", (1, 1, wide, stage.channels))
            entering, block = stage.channels, block + 1
    convolution("conv_head", "bn1", (1, 1, entering, HEAD_CHANNELS))
    return arrays


def squares(number: int) -> NDArray[np.uint8]:
    kinds = list(KINDS)
    drawn = [draw(kinds[i % len(kinds)], i // len(kinds), 0) for i in range(number)]
    return np.stack([np.asarray(Image.fromarray(pixels).resize((SQUARE_PX, SQUARE_PX))) for pixels in drawn])


def write_manifest(folder: Path, names: list[str]) -> Path:
    (folder / "m.csv").write_text("file\n" + "".join(f"{name}\n" for name in names))
    return folder / "m.csv"


def run(manifest: Path, folder: Path, weights: Mapping[str, Any], recipe: Recipe = RECIPE) -> None:
    np.savez(folder / "published.npz", allow_pickle=False, **weights)
    training.train_descriptor(
        manifest, folder / "published.npz", folder / "out.npz", recipe, count().__next__, lambda _: None
    )


@pytest.fixture
def with_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch is found; what is refused before it is imported can be tested without it."""
    monkeypatch.setattr(training, "find_spec", lambda _: object())


def test_a_sixth_is_kept_back_whatever_else_is_there() -> None:
    names = [f"images/{i:06}.jpg" for i in range(12_000)]
    assert sum(map(kept_back, names)) / len(names) == pytest.approx(1 / 6, abs=0.01)
    assert [i for i in range(30) if kept_back(f"{i}.jpg")] == [4, 7, 8, 9, 11, 12]


def test_photographs_kept_back_are_not_read(tmp_path: Path) -> None:
    files = [str(file) for file in sorted(SAMPLES.rglob("*.jpg"))[:12]]
    learned = [name for name in files if not kept_back(name)]
    photographs = read_photographs(write_manifest(tmp_path, files))
    assert len(photographs) == len(learned)
    for name, (square, aspect) in zip(learned, photographs, strict=True):
        with Image.open(name) as image:
            assert aspect == pytest.approx(image.width / image.height, rel=0.02)
        assert square.shape == (SQUARE_PX, SQUARE_PX, 3)


def test_look_alikes_have_the_same_template_and_other_contents() -> None:
    drawn = draw_look_alikes(1, 2)
    assert len(drawn) == replace(RECIPE, contents=2).look_alikes == 2 * len(KINDS)
    assert all(not np.array_equal(a, b) for (a, _), (b, _) in zip(drawn[::2], drawn[1::2], strict=True))
    pictures = join(drawn[:3], drawn[3:])
    assert pictures.squares.shape == (len(drawn), SQUARE_PX, SQUARE_PX, 3)
    assert pictures.photographs == 3
    assert pictures.aspects.dtype == np.float32


def test_captions_are_written_in_white_on_black() -> None:
    masks = caption_masks(20, np.random.default_rng(0))
    assert masks.shape == (20, 1, 64, 256)
    assert masks.dtype == np.uint8
    assert (masks.max(axis=(1, 2, 3)) == 255).all()
    assert (masks == 0).mean() > 0.5


def test_without_pytorch_the_next_step_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "find_spec", lambda _: None)
    with pytest.raises(SetupError, match="pip install torch"):
        run(tmp_path / "m.csv", tmp_path, {})


@pytest.mark.usefixtures("with_torch")
def test_a_missing_manifest_or_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"m\.csv cannot be read"):
        run(tmp_path / "m.csv", tmp_path, {})
    (tmp_path / "m.csv").write_text("name\nx\n")
    with pytest.raises(SetupError, match="column file"):
        run(tmp_path / "m.csv", tmp_path, {})


@pytest.mark.usefixtures("with_torch")
def test_a_missing_folder_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="create the folder"):
        training.train_descriptor(
            tmp_path / "m.csv", tmp_path / "p.npz", tmp_path / "no" / "out.npz", RECIPE, count().__next__, print
        )


@pytest.mark.usefixtures("with_torch")
def test_fewer_pictures_than_a_batch_are_refused(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, [str(file) for file in sorted(SAMPLES.rglob("*.jpg"))[:6]])
    with pytest.raises(SetupError, match="fewer than a batch of 12"):
        run(manifest, tmp_path, {})


@pytest.mark.usefixtures("with_torch")
def test_pictures_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    name = next(f"{i}.jpg" for i in range(20) if not kept_back(f"{i}.jpg"))
    with pytest.raises(SetupError, match=name):
        run(write_manifest(tmp_path, [name]), tmp_path, {})
    (tmp_path / name).write_text("no picture")
    with pytest.raises(BadPicture, match=name):
        run(write_manifest(tmp_path, [name]), tmp_path, {})


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    weights = published()
    del weights["conv_head/weight"]
    files = [str(file) for file in sorted(SAMPLES.rglob("*.jpg"))[:24]]
    with pytest.raises(BadArtefact, match="conv_head/weight"):
        run(write_manifest(tmp_path, files), tmp_path, weights)


def test_the_export_has_the_arrays_that_the_embedder_reads() -> None:
    pytest.importorskip("torch")
    from neardup_platform.learning.embedder.torch_network import Network

    exported = Network(published()).export()
    shipped = load_weights(WEIGHTS_FOLDER / WEIGHTS_FILE)
    described = [{name: (a.shape, a.dtype) for name, a in arrays.items()} for arrays in (exported, shipped)]
    assert described[0] == described[1]


def test_folded_weights_compute_what_was_learned() -> None:
    torch = pytest.importorskip("torch")
    from neardup_platform.learning.embedder.torch_network import Network

    network = Network(published()).eval()
    depthwise = network.blocks[3].path[1]
    x = torch.rand(2, len(depthwise.weight), 13, 13)
    kernel, bias = (values.float() for values in depthwise.folded())
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2))
    plain = torch.nn.functional.conv2d(padded, kernel.permute(2, 3, 0, 1), bias, 2, groups=len(bias))
    assert torch.allclose(depthwise(x), torch.nn.functional.relu6(plain), atol=1e-5)


def test_the_features_have_the_norms_of_their_parts() -> None:
    torch = pytest.importorskip("torch")
    from neardup_platform.learning.embedder.torch_network import Network

    features = Network(published()).eval().features(torch.rand(2, 3, 64, 64) * 255)
    assert features.shape == (2, 1280 + 2 * (80 + 112 + 192 + 320))
    assert features[:, :1280].norm(dim=1).tolist() == pytest.approx([1, 1], abs=1e-4)
    # Four parts of norm 0.7.
    assert features[:, 1280:].norm(dim=1).tolist() == pytest.approx([1.4, 1.4], abs=1e-4)


def test_the_loss_falls_with_similar_views_and_distant_others() -> None:
    torch = pytest.importorskip("torch")
    from neardup_platform.learning.embedder.torch_losses import losses

    basis = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(0)))[0]
    apart = torch.cat([basis[:8], basis[:8]])
    crowded = torch.nn.functional.normalize(apart + basis[8], dim=1)
    mixed = torch.cat([basis[:8], basis[[1, 0, 3, 2, 5, 4, 7, 6]]])
    (far, spread), (near, dense), (wrong, _) = (
        [float(part) for part in losses(vectors, 0.05)] for vectors in (apart, crowded, mixed)
    )
    assert far < near < wrong
    assert spread == pytest.approx(-np.log(np.sqrt(2)), abs=1e-3)
    assert dense == pytest.approx(0.0, abs=1e-3)


def test_views_are_altered_pictures_that_the_seed_decides() -> None:
    torch = pytest.importorskip("torch")
    from neardup_platform.learning.embedder.torch_draws import Draws
    from neardup_platform.learning.embedder.torch_views import make_views, resize

    pictures = torch.from_numpy(squares(8)).permute(0, 3, 1, 2).repeat(4, 1, 1, 1)
    n = len(pictures)
    masks = torch.from_numpy(caption_masks(4, np.random.default_rng(0)))
    aspects, icons = torch.linspace(0.5, 2, n), torch.arange(n) % 4 == 0

    def views(seed: int, strength: float) -> Any:
        draws = Draws(torch.Generator().manual_seed(seed))
        return make_views(pictures, aspects, icons, torch.full((n,), strength), masks, 64, draws)

    strong, mild, unaltered = views(0, 1.0), views(0, 0.0), resize(pictures, 64)
    assert strong.shape == (n, 3, 64, 64)
    assert strong.isfinite().all()
    assert strong.min() >= 0
    assert strong.max() <= 255
    assert torch.equal(strong, views(0, 1.0))
    assert not torch.equal(strong, views(1, 1.0))
    assert 0 < (mild - unaltered).abs().mean() < (strong - unaltered).abs().mean()


def test_compression_changes_more_at_lower_quality() -> None:
    torch = pytest.importorskip("torch")
    from neardup_platform.learning.embedder.torch_jpeg import recompress

    pictures = torch.from_numpy(squares(2)).permute(0, 3, 1, 2).float()
    changes = [(recompress(pictures, torch.full((2,), q)) - pictures).abs().mean() for q in (98.0, 60.0, 20.0)]
    assert changes[0] < 2
    assert changes[0] < changes[1] < changes[2]


@pytest.mark.parametrize("hard_share", [0.0, 1.0])
def test_a_batch_has_different_pictures_and_in_hard_ones_neighbours(hard_share: float) -> None:
    torch = pytest.importorskip("torch")
    from neardup_platform.learning.embedder.torch_batches import choose_pictures
    from neardup_platform.learning.embedder.torch_draws import Draws

    # The neighbours of a picture are those with the same number modulo 50.
    n, recipe = 1_000, replace(RECIPE, batch=60, hard_share=hard_share)
    nearest = torch.stack([(torch.arange(n) + 50 * (i + 1)) % n for i in range(16)], 1)
    chosen = choose_pictures(nearest, 600, recipe, Draws(torch.Generator().manual_seed(0)))
    assert len(set(chosen.tolist())) == recipe.batch
    alike = recipe.batch - len(set((chosen % 50).tolist()))
    assert alike > 45 if hard_share else (chosen < 600).sum() == recipe.photographs


@pytest.mark.slow
def test_steps_lower_the_loss_and_the_average_is_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from neardup_platform.learning.embedder import torch_training

    monkeypatch.setattr(torch_training, "_REPORT_STEPS", 5)
    pictures = TrainingPictures(squares(32), np.ones(32, np.float32), 16)
    lines: list[str] = []
    recipe = replace(RECIPE, seconds=12)
    trained = torch_training.train(pictures, published(), recipe, count().__next__, lines.append)
    contrasts = [float(line.split("InfoNCE ")[1].split(",")[0]) for line in lines[:-1]]
    assert lines[-1] == "finished after 15 steps"
    assert contrasts[-1] < contrasts[0]
    assert all(np.isfinite(values).all() for values in trained.values())
