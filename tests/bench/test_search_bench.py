"""`neardup bench search`, on a small scale."""

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from neardup_platform.bench import search_measures
from neardup_platform.bench.matplotlib_frontier import draw_frontier, frontier
from neardup_platform.bench.planted_pictures import COPIES, plant
from neardup_platform.bench.search import Conditions, Task, measure_at
from neardup_platform.cli.main import cli
from neardup_platform.errors import SetupError
from neardup_platform.images.decode import Pixels
from neardup_platform.learning.embedder.alterations import alter
from neardup_platform.settings import ImageSettings
from neardup_platform.terms.effort import Effort
from tests.bench.planting import planted, small_space

FIELDS = {
    *("engine", "setting", "docs", "recall", "k", "p50_ms", "p99_ms", "qps_1", "qps_2", "adds_running"),
    *("adds_per_s", "bytes_per_image", "build_s", "open_s"),
}
SAMPLES = Path(__file__).parents[2] / "samples" / "pictures"


class Thumbnails:
    """A real but weak embedder of 32 dimensions, which needs no network."""

    kind, model_version, dim, enough_px = "lsh", "test", 32, 32
    blocks = ()

    def embed(self, pictures: Sequence[Pixels]) -> np.ndarray:
        small = [np.asarray(Image.fromarray(p).convert("L").resize((8, 4)), np.float32).ravel() for p in pictures]
        return np.stack([v - v.mean() for v in small])


@pytest.fixture(autouse=True)
def _short_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_measures, "PHASE_S", 0.2)
    monkeypatch.setattr(search_measures, "ADDING_S", 0.2)


def manifest_of_samples(folder: Path, pictures: int) -> Path:
    """Each sample picture with an altered copy, and one distractor."""
    rng = np.random.default_rng(4)
    files = sorted(SAMPLES.glob("*.jpg"))[: pictures + 1]
    rows = [(str(files[-1]), "")]
    for file in files[:-1]:
        copied = folder / file.name
        with Image.open(file) as picture:
            picture.thumbnail((400, 400))
            Image.fromarray(alter(np.asarray(picture.convert("RGB")), rng)[0]).save(copied)
        rows += [(str(file), file.stem), (str(copied), file.stem)]
    path = folder / "manifest.csv"
    with path.open("w", newline="") as out:
        csv.writer(out).writerows([("file", "group"), *rows])
    return path


@pytest.mark.slow
def test_every_engine_gets_a_row_per_setting_with_the_fields_of_the_contract() -> None:
    lines: list[str] = []
    few = planted(groups=30, copies=2, distractors=10, dim=32)
    rows = measure_at(
        3_000,
        few,
        replace(small_space(), by_cosine=True),
        Conditions(100, 0, *(Effort(10_000, 512) for _ in range(3)), 32),
        lines.append,
        with_all=True,
    )
    engines = {row["engine"] for row in rows}
    assert engines == {
        *(
            "neardup",
            "neardup, by signature",
            "neardup, fitted cells",
            "tantivy",
            "faiss.IndexBinaryFlat",
            "faiss.IndexBinaryIVF",
        ),
        *("faiss.IndexBinaryMultiHash", "faiss.IndexBinaryHNSW", "faiss.IndexHNSWSQ", "usearch"),
        *("faiss.IndexIVFPQFastScan", "faiss.IndexIVFRaBitQFastScan"),
    }
    for row in rows:
        assert row.keys() >= FIELDS, row["engine"]
        assert row["docs"] == 3_000
        assert 0 < row["p50_ms"] <= row["p99_ms"]
        assert min(row["qps_1"], row["qps_2"]) > 0
        # The memory of so few images may be lost in the noise of the process; the size of files is not.
        assert row["bytes_per_image"] > 0 or not row["adds_running"]
        assert (
            row["adds_running"]
            == (row["adds_per_s"] is not None)
            == (not row["engine"].startswith(("faiss", "usearch")))
        )
    best = {row["engine"]: max(r["recall"] for r in rows if r["engine"] == row["engine"]) for row in rows}
    assert best["faiss.IndexBinaryFlat"] > 0.95
    assert best["neardup"] >= best["faiss.IndexBinaryFlat"]
    assert best["tantivy"] > 0.5
    assert any("faiss.IndexBinaryIVF" in line for line in lines)


@pytest.mark.slow
def test_the_command_plants_the_pictures_of_a_manifest_and_draws_a_plot(tmp_path: Path) -> None:
    manifest, plot = manifest_of_samples(tmp_path, 6), tmp_path / "frontier.png"
    options = ["--docs", "2000", "--manifest", str(manifest), "--plot", str(plot), "--json"]
    answer = CliRunner().invoke(cli, ["bench", "search", *options], catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    result = json.loads(answer.stdout)
    assert result["bench"] == "search"
    assert result["settings"]["planted_pictures"] == 13
    assert {(row["docs"], row["k"]) for row in result["rows"]} == {(2_000, result["settings"]["k"])}
    with Image.open(plot) as picture:
        assert picture.format == "PNG"
        assert picture.width > 800


def test_engines_that_are_slow_to_build_get_their_own_corpus_and_ours_is_measured_on_both() -> None:
    assert Task(10_000_000, 1_000_000, 200, None).sizes == {10_000_000: False, 1_000_000: True}
    assert Task(50_000, 50_000, 200, None).sizes == {50_000: True}


def test_without_a_manifest_samples_and_altered_copies_are_planted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "pictures").symlink_to(SAMPLES)
    monkeypatch.chdir(tmp_path)
    what, found = plant(None, Thumbnails(), small_space(), ImageSettings(), lambda _: None)
    files = len(list(SAMPLES.glob("*.jpg")))
    assert "samples" in what
    assert found.unit.shape == (files * (1 + COPIES), 32)
    assert np.bincount(found.groups).tolist() == [1 + COPIES] * files
    cosines = found.unit @ found.unit.T
    same = found.groups[:, None] == found.groups
    assert cosines[same].mean() > 0.45
    assert cosines[~same].mean() < 0.2


def test_an_empty_group_is_a_distractor(tmp_path: Path) -> None:
    _, found = plant(manifest_of_samples(tmp_path, 3), Thumbnails(), small_space(), ImageSettings(), lambda _: None)
    assert found.groups[0] == -1
    assert np.unique(found.groups[1:], return_counts=True)[1].tolist() == [2, 2, 2]
    assert (found.groups[1::2] == found.groups[2::2]).all()
    assert found.groups[1:].min() >= 0


def test_without_pictures_to_plant_the_error_names_the_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SetupError, match="--manifest"):
        plant(None, Thumbnails(), small_space(), ImageSettings(), lambda _: None)


def test_a_manifest_without_near_duplicates_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lone.csv"
    path.write_text(f"file,group\n{SAMPLES / 'cat.jpg'},a\n{SAMPLES / 'owl.jpg'},\n")
    with pytest.raises(SetupError, match="no group has two pictures"):
        plant(path, Thumbnails(), small_space(), ImageSettings(), lambda _: None)


def test_a_failing_adder_ends_the_measurement() -> None:
    class Broken:
        grows = True

        def use(self, setting: str, threads: int) -> None:
            pass

        def add(self, images: object) -> None:
            raise OSError("disk full")

        def search(self, queries: object, k: int) -> np.ndarray:
            return np.zeros((1, k), np.int64)

    hashed = small_space().hash(planted(groups=20, copies=0, distractors=0, dim=32).unit)
    load = search_measures.Load(hashed, hashed, 3)
    with pytest.raises(OSError, match="disk full"):
        search_measures.measure_speed(Broken(), "any", load)  # type: ignore[arg-type]


def test_the_frontier_excludes_rows_beaten_in_both() -> None:
    rows = [
        {"recall": r, "qps_2": q} for r, q in ((0.9, 100.0), (0.8, 90.0), (0.99, 10.0), (0.95, 100.0), (0.5, 500.0))
    ]
    assert [(row["recall"], row["qps_2"]) for row in frontier(rows)] == [(0.5, 500.0), (0.95, 100.0), (0.99, 10.0)]


def test_an_unwritable_plot_is_reported(tmp_path: Path) -> None:
    row = {"engine": "neardup", "setting": "scan all", "docs": 10, "recall": 0.9, "qps_2": 5.0}
    with pytest.raises(SetupError, match="name another file"):
        draw_frontier([row], tmp_path / "absent" / "plot.png")
