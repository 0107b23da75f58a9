"""Claims about `neardup evaluate`, on sample pictures and real models."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from neardup_platform.cli import cli
from neardup_platform.errors import BadArtefact, SetupError
from neardup_platform.quality.evaluation import read_manifest

PICTURES = sorted((Path(__file__).parents[2] / "samples" / "pictures").glob("*.jpg"))
FIGURES = {
    *("images", "pairs_true", "precision", "recall", "f1", "bcubed_precision", "bcubed_recall"),
    *("candidate_recall", "coverage", "images_per_s"),
    *("pair_best_f1", "pair_recall_at_p99", "pair_average_precision", "calibration_error"),
}


def write_manifest(folder: Path, rows: list[tuple[str, str]]) -> Path:
    manifest = folder / "manifest.csv"
    with manifest.open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(("file", "group"))
        writer.writerows(rows)
    return manifest


def test_copies_are_found_and_a_broken_picture_costs_coverage_only(tmp_path: Path) -> None:
    rows = []
    for number, picture in enumerate(PICTURES[:6]):
        shutil.copy(picture, tmp_path / picture.name)
        with Image.open(picture) as image:
            image.resize((image.width // 2, image.height // 2)).save(tmp_path / f"half-{picture.name}")
        rows += [(picture.name, f"g{number}"), (f"half-{picture.name}", f"g{number}")]
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    answer = CliRunner().invoke(cli, ["evaluate", str(write_manifest(tmp_path, [*rows, ("broken.jpg", "")])), "--json"])
    figures = json.loads(answer.stdout)
    assert set(figures) >= FIGURES
    assert (figures["images"], figures["pairs_true"]) == (13, 6)
    assert figures["coverage"] == pytest.approx(12 / 13)
    assert figures["precision"] == 1.0
    assert figures["recall"] >= 5 / 6
    assert figures["candidate_recall"] == 1.0


def test_manifest_without_its_columns_is_refused_by_name(tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text("picture,label\na.jpg,1\n")
    with pytest.raises(SetupError, match=r"m\.csv.*file, group"):
        read_manifest(manifest)


def test_manifest_that_lists_a_file_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadArtefact, match="1 files more than once"):
        read_manifest(write_manifest(tmp_path, [("a.jpg", ""), ("a.jpg", "g")]))
