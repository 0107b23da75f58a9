"""`neardup evaluate`, on sample pictures and real models."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from neardup_platform.cli import cli
from tests.evaluation.labelled_samples import PICTURES, labelled_samples, write_rows

METRICS = {
    *("images", "pairs_true", "precision", "recall", "f1", "bcubed_precision", "bcubed_recall"),
    *("candidate_recall", "coverage", "images_per_s"),
    *("pair_best_f1", "pair_recall_at_p99", "pair_average_precision", "calibration_error"),
}


def test_copies_are_found_and_a_broken_picture_only_costs_coverage(tmp_path: Path) -> None:
    rows = []
    for number, picture in enumerate(PICTURES[:6]):
        shutil.copy(picture, tmp_path / picture.name)
        with Image.open(picture) as image:
            image.resize((image.width // 2, image.height // 2)).save(tmp_path / f"half-{picture.name}")
        rows += [(picture.name, f"g{number}"), (f"half-{picture.name}", f"g{number}")]
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    answer = CliRunner().invoke(
        cli, ["evaluate", str(write_rows(tmp_path / "m.csv", [*rows, ("broken.jpg", "")])), "--json"]
    )
    metrics = json.loads(answer.stdout)
    assert set(metrics) >= METRICS
    assert (metrics["images"], metrics["pairs_true"]) == (13, 6)
    assert metrics["coverage"] == pytest.approx(12 / 13)
    assert metrics["precision"] == 1.0
    assert metrics["recall"] >= 5 / 6
    assert metrics["candidate_recall"] == 1.0
    assert metrics["pictures_refused"] == 1
    assert metrics["mixed_clusters"] == 0
    assert metrics["pair_recall_at_p99_low"] <= metrics["pair_recall_at_p99"] <= metrics["pair_recall_at_p99_high"]


def test_metrics_by_subset_are_printed_as_text_too(tmp_path: Path) -> None:
    manifest = labelled_samples(tmp_path, 3, 2)
    answer = CliRunner().invoke(cli, ["evaluate", str(manifest)])
    assert answer.exit_code == 0, answer.output
    assert "mixed_clusters  0" in answer.stdout
    assert "copies  images 9, pairs_true 9" in answer.stdout


@pytest.mark.parametrize(
    ("options", "status", "expected"),
    [
        (["--folds", "9"], 1, "--folds 3"),
        (["--folds", "1"], 2, "--folds"),
        (["--also", "other.csv"], 2, "--folds"),
        (["--details", "nowhere.csv"], 1, "nowhere.csv"),
        (["--report", "/proc/report"], 1, "/proc/report"),
    ],
)
def test_an_impossible_evaluation_is_refused_before_any_picture_is_read(
    tmp_path: Path, options: list[str], status: int, expected: str
) -> None:
    manifest = labelled_samples(tmp_path, 3, 0)
    for picture in tmp_path.glob("*.png"):
        picture.unlink()
    answer = CliRunner().invoke(cli, ["evaluate", str(manifest), *options])
    assert answer.stdout == ""
    text = f"{answer.exception} {answer.stderr}"
    assert expected in text
    assert (answer.exit_code == 2) == (status == 2)


def test_a_manifest_without_readable_pictures_is_refused(tmp_path: Path) -> None:
    manifest = write_rows(tmp_path / "m.csv", [("a.jpg", "g"), ("b.jpg", "g")])
    answer = CliRunner().invoke(cli, ["evaluate", str(manifest)])
    assert "none of the 2 pictures can be read" in str(answer.exception)
