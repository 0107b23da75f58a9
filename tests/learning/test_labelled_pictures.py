"""Pictures of a CSV become rows in its order; the same seed gives the same altered copies."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neardup_platform.errors import BadPicture, SetupError
from neardup_platform.images.active_embedders import load_embedders
from neardup_platform.images.embedder import Embedder
from neardup_platform.learning.embedder.alterations import ALTERATIONS, alter
from neardup_platform.learning.embedder.labelled_pictures import embed_altered, embed_manifest
from neardup_platform.scoring.keras_classifier import load_classifier
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.settings import ImageSettings

LIMITS = ImageSettings()


@pytest.fixture(scope="module")
def embedders() -> tuple[Embedder, Embedder]:
    return load_embedders(LIMITS)


def picture(seed: int) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 9, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((90, 60), Image.Resampling.BICUBIC)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    for seed in range(4):
        picture(seed).save(tmp_path / f"{seed}.png")
    lines = ["file,group", "2.png,a", "0.png,", "3.png,a", "1.png,"]
    (tmp_path / "m.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "m.csv"


def test_rows_keep_the_order_of_the_csv(manifest: Path, embedders: tuple[Embedder, Embedder]) -> None:
    found = embed_manifest(manifest, embedders, LIMITS)
    assert found.ids == ("2.png", "0.png", "3.png", "1.png")
    assert found.groups == ("a", "", "a", "")
    expected = embedders[1].embed([np.asarray(picture(seed)) for seed in (2, 0, 3, 1)])
    assert np.array_equal(found.pair, expected.astype(np.float16))
    assert found.lsh.dtype == np.float16


def test_altered_copies_share_the_group_of_their_picture(manifest: Path, embedders: tuple[Embedder, Embedder]) -> None:
    made = [embed_altered(manifest, embedders, LIMITS, most_pictures=2, copies=2, seed=s) for s in (1, 1, 2)]
    assert len(made[0].ids) == 6
    assert len(set(made[0].groups)) == 2
    assert [i.split("#")[0] for i in made[0].ids] == list(made[0].groups)
    assert np.array_equal(made[0].pair, made[1].pair)
    assert not np.array_equal(made[0].pair, made[2].pair)


def test_a_broken_picture_stops_training_rather_than_disappear(
    manifest: Path, embedders: tuple[Embedder, Embedder]
) -> None:
    (manifest.parent / "3.png").write_bytes(b"no picture")
    with pytest.raises(BadPicture):
        embed_manifest(manifest, embedders, LIMITS)


@pytest.mark.parametrize("content", ["", "file\n", "file\n1.png\n"])
def test_a_csv_without_the_columns_is_refused(
    tmp_path: Path, content: str, embedders: tuple[Embedder, Embedder]
) -> None:
    (tmp_path / "m.csv").write_text(content)
    with pytest.raises(SetupError, match=r"m\.csv has no rows with column"):
        embed_manifest(tmp_path / "m.csv", embedders, LIMITS)
    with pytest.raises(SetupError, match="cannot be read"):
        embed_manifest(tmp_path / "missing.csv", embedders, LIMITS)


@pytest.mark.parametrize("name", list(ALTERATIONS))
@pytest.mark.parametrize("size", [(90, 60), (2, 2), (1, 40)])
def test_every_alteration_gives_a_different_rgb_picture(name: str, size: tuple[int, int]) -> None:
    original = picture(0).resize(size)
    copy = ALTERATIONS[name](original, np.random.default_rng(0))
    assert copy.mode == "RGB"
    assert min(copy.size) >= 1
    if size == (90, 60):
        assert copy.size != original.size or np.asarray(copy).tobytes() != np.asarray(original).tobytes()


def test_the_same_seed_gives_the_same_copy() -> None:
    pixels = np.asarray(picture(1))
    (one, names), (two, same_names) = (alter(pixels, np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(one, two)
    assert names == same_names
    assert 1 <= len(names) <= 3


def test_white_logos_on_transparent_background_match_neither_each_other_nor_a_blank_page(
    tmp_path: Path, embedders: tuple[Embedder, Embedder]
) -> None:
    names = ("whitelogo-alternativeto~0.png", "whitelogo-bookbub~0.png", "white.png", "black.png")
    for name in names[:2]:
        (tmp_path / name).write_bytes((Path(__file__).parents[1] / "images" / "cases" / name).read_bytes())
    for name in names[2:]:
        Image.new("RGB", (400, 400), name.removesuffix(".png")).save(tmp_path / name)
    (tmp_path / "m.csv").write_text("\n".join(["file,group", *(f"{name}," for name in names)]))
    found = embed_manifest(tmp_path / "m.csv", embedders, LIMITS)
    vectors, scorer = ImageVectors(found.lsh, found.pair), load_classifier(None, 1)
    first, second = (np.array(rows) for rows in zip((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), strict=True))
    # As blank pictures the logos had equal vectors and a score of 1.
    assert scorer.score(vectors, first, vectors, second).max() < 0.01 < scorer.threshold
