"""`neardup compare` on real pictures: score, structure, overlay, and clear errors."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from neardup_platform.cli import cli
from neardup_platform.errors import SetupError
from tests.structure.pictures import SAMPLES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def crop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "crop.jpg"
    whole = Image.open(SAMPLES[0]).convert("RGB")
    whole.crop((30, 20, whole.width - 60, whole.height - 40)).save(path, quality=60)
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["compare", *map(str, arguments)])


def test_a_crop_matches_and_lies_inside_the_whole(crop: Path, tmp_path: Path) -> None:
    out = tmp_path / "overlay.png"
    result = run(SAMPLES[0], crop, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["match"]
    assert answer["score"] > 0.9
    sizes = [abs(term["value"]) for term in answer["terms"]]
    assert sizes == sorted(sizes, reverse=True) != []
    assert answer["evidence"]["fine_correlation"] > 0.8
    overlap = answer["structure"]["overlap"]
    width, height = Image.open(SAMPLES[0]).size
    assert overlap["relation"] == "b inside a"
    assert overlap["b_covered"] > 0.95
    assert overlap["a_covered"] == pytest.approx((width - 90) * (height - 60) / (width * height), abs=0.03)
    corners = [[30 / width, 20 / height], [1 - 60 / width, 20 / height], [1 - 60 / width, 1 - 40 / height]]
    assert np.allclose(overlap["b_in_a"][:3], corners, atol=0.02)
    # Three panels and two gaps; in the last one the crop's surroundings stay white.
    overlay = np.asarray(Image.open(out))
    assert overlay.shape[1] == pytest.approx(3 * overlay.shape[0] * width / height + 24, abs=4)
    assert (overlay[2, -2] == 255).all()


def test_different_pictures_do_not_match_in_words() -> None:
    result = run(SAMPLES[0], SAMPLES[1])
    assert result.exit_code == 0, result.output
    assert "no match" in result.stdout
    assert "the first and the second agree nowhere" in result.stdout
    assert "contradicts" in result.stdout


def test_a_plain_picture_is_called_undistinctive(tmp_path: Path) -> None:
    Image.new("RGB", (320, 240), "navy").save(tmp_path / "plain.png")
    assert "second undistinctive" in run(SAMPLES[0], tmp_path / "plain.png").stdout
    assert json.loads(run(SAMPLES[0], tmp_path / "plain.png", "--json").stdout)["undistinctive"] == [False, True]
    assert "undistinctive" not in run(SAMPLES[0], SAMPLES[1]).stdout


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    text = tmp_path / "notes.jpg"
    text.write_text("no picture")
    result = run(SAMPLES[0], text)
    assert isinstance(result.exception, SetupError)
    assert "notes.jpg" in str(result.exception)
    assert "the second is no picture" in str(result.exception)


def test_a_missing_file_is_wrong_usage(tmp_path: Path) -> None:
    assert run(SAMPLES[0], tmp_path / "none.jpg").exit_code == 2


def test_an_overlay_that_cannot_be_written_is_named(crop: Path, tmp_path: Path) -> None:
    for out in (tmp_path / "overlay.txt", tmp_path / "none" / "overlay.png"):
        result = run(SAMPLES[0], crop, "--out", out)
        assert isinstance(result.exception, SetupError)
        assert str(out) in str(result.exception)
