"""Fine-tuning learns: copies get closer, other pictures do not; the same seed writes the same weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neardup_platform.errors import SetupError
from neardup_platform.images.keras_copy_detection import Recipe, losses
from neardup_platform.images.keras_lsh_embedder import NETWORK_FILE, TUNED_FILE, WEIGHTS_FOLDER, LshEmbedder
from neardup_platform.learning.embedder.fine_tune import choose_views, fine_tune, nearest_others
from neardup_platform.learning.embedder.training_views import MILD, STRONG, VIEW_PX, VIEWS, make_views

SAMPLES = Path(__file__).parents[2] / "samples" / "pictures"
RECIPE = Recipe(steps=25, pictures=12, warm_up=2, hard_share=0.5)


def picture(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 9, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((240, 160), Image.Resampling.BICUBIC))


def test_views_are_the_picture_and_altered_copies_of_it() -> None:
    views = make_views(picture(0), np.random.default_rng(1))
    assert views.shape == (VIEWS, VIEW_PX, VIEW_PX, 3)
    assert len({view.tobytes() for view in views}) == VIEWS
    assert np.array_equal(views, make_views(picture(0), np.random.default_rng(1)))
    assert not np.array_equal(views[1:], make_views(picture(0), np.random.default_rng(2))[1:])


def test_two_different_views_of_one_type_or_a_mild_and_a_strong_one_are_chosen() -> None:
    first, second = choose_views(5_000, np.random.default_rng(0))
    assert (first != second).all()
    assert set(first) | set(second) == set(range(VIEWS))
    tiny = first >= MILD + STRONG
    assert np.array_equal(tiny, second >= MILD + STRONG)
    assert (second[~tiny] >= MILD).all()


def test_the_loss_falls_with_similar_views_and_distant_others() -> None:
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(16, 16)))[0].astype(np.float32)
    apart = np.concatenate([basis[:8], basis[:8]])
    crowded = apart + basis[8]
    crowded /= np.linalg.norm(crowded, axis=1, keepdims=True)
    mixed = np.concatenate([basis[:8], basis[[1, 0, 3, 2, 5, 4, 7, 6]]])
    (far, spread), (near, dense), (wrong, _) = (
        [float(part) for part in losses(vectors, 0.05)] for vectors in (apart, crowded, mixed)
    )
    assert far < near < wrong
    assert spread == pytest.approx(-np.log(np.sqrt(2)), abs=1e-3)
    assert dense == pytest.approx(0.0, abs=1e-3)


def test_nearest_others_exclude_the_row_itself() -> None:
    angles = np.arange(10, dtype=np.float32) / 20
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = nearest_others(vectors, 2)
    assert set(found[0]) == {1, 2}
    assert set(found[5]) == {4, 6}


def test_tuning_lowers_the_loss_and_writes_what_the_embedder_reads(tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    files = sorted(SAMPLES.rglob("*.jpg"))[:16]
    manifest.write_text("file\n" + "".join(f"{file}\n" for file in files))
    lines: list[str] = []
    fine_tune(manifest, tmp_path / TUNED_FILE, replace(RECIPE, steps=50), lines.append)
    contrasts = [float(line.split("InfoNCE ")[1].split(",")[0]) for line in lines]
    assert contrasts[-1] < contrasts[0]
    (tmp_path / NETWORK_FILE).symlink_to(WEIGHTS_FOLDER / NETWORK_FILE)
    vectors = LshEmbedder(tmp_path).embed([picture(0)])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_list_without_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("name\nx\n")
    with pytest.raises(SetupError, match="column file"):
        fine_tune(tmp_path / "m.csv", tmp_path / "out.npz", RECIPE, print)
