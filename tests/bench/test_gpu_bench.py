"""`neardup bench gpu`, on a small scale and without a GPU."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from neardup_platform.bench import gpu_score, gpu_search, gpu_worker, machine, timing
from neardup_platform.bench.array_features import numpy_features
from neardup_platform.bench.keras_resident import resident_scores
from neardup_platform.bench.synthetic import many_images
from neardup_platform.cli.main import cli
from neardup_platform.errors import InvariantBroken
from neardup_platform.scoring.card import NETWORK_FILE, SHIPPED_FOLDER, read_card
from neardup_platform.scoring.compact import Layout, pack, unpack
from neardup_platform.scoring.features import compared_entries, feature_names
from neardup_platform.scoring.tensorflow_network import read_network
from neardup_platform.terms.faiss_flat import FaissFlat


def test_every_row_names_what_was_measured_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_score, "BATCHES", ((1, 40), (8, 30)))
    monkeypatch.setattr(gpu_search, "QUERIES", (1, 8))
    monkeypatch.setattr(gpu_worker, "BATCHES", ((1, 3), (8, 2)))
    monkeypatch.setattr(gpu_search, "MOST_CPU_DOCS", 2_000)
    monkeypatch.setattr(timing, "_LEAST_S", 0.01)
    options = ["--docs", "10000", "--rows", "1000", "--json"]
    answer = CliRunner().invoke(cli, ["bench", "gpu", *options], catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    result = json.loads(answer.stdout)
    assert result["bench"] == "gpu"
    assert result["settings"]["faiss_gpus"] == result["settings"]["tensorflow_gpus"] == 0
    assert {"faiss-cpu", "keras"} <= result["settings"]["packages"].keys()
    searched = [row for row in result["rows"] if row["measured"] == "search"]
    kinds = ("256 bits", "256 dimensions, float32")
    assert [(r["vectors"], r["queries"]) for r in searched] == [(kind, count) for kind in kinds for count in (1, 8)]
    assert {(row["docs"], row["device"]) for row in searched} == {(2_000, "cpu")}
    scored = [row for row in result["rows"] if row["measured"] == "score"]
    assert [(row["scorer"], row["images"]) for row in scored] == [
        (scorer, images) for scorer in ("resident", "features on the CPU", "worker") for images in (1, 8)
    ]
    for row in scored:
        assert row["pairs_per_s"] == pytest.approx(1e3 * row["images"] * row["candidates"] / row["ms"], rel=0.1)
        assert row["max_difference"] <= 1e-4
    decided = [row for row in result["rows"] if row["measured"] == "worker"]
    assert [(row["corpus"], row["images"], row["device"]) for row in decided] == [(1_000, 1, "cpu"), (1_000, 8, "cpu")]
    for row in decided:
        stages = sum(row[f"{stage}_ms"] for stage in (*gpu_worker.STAGES, "commit"))
        assert 0 < stages <= 1.2 * row["ms"] / row["images"]


def test_features_computed_by_keras_equal_those_of_numpy() -> None:
    """The resident model, with a network that returns one feature at a time."""
    import keras

    card, rng = read_card(SHIPPED_FOLDER), np.random.default_rng(3)
    table, names = many_images(rng, 300, card), feature_names(card.blocks)
    rows_a = rng.integers(0, 300, 400).astype(np.int32)
    rows_b = np.where(rng.random(400) < 0.5, np.minimum(rows_a + 1, 299), rng.integers(0, 300, 400)).astype(np.int32)
    features = keras.Input((len(names),))
    found = resident_scores(keras.Model(features, features), table, card.blocks).predict_on_batch([rows_a, rows_b])
    layout = Layout(card.lsh_dim, compared_entries(card.blocks))
    lsh, pair = unpack(pack(table.lsh, table.pair, layout), layout)
    sides = lsh[rows_a], lsh[rows_b], pair[rows_a], pair[rows_b]
    expected = numpy_features(*sides, card.blocks)
    gap = np.array([name.endswith("_gap") for name in names])
    assert found.shape == expected.shape
    assert np.allclose(found[:, ~gap], expected[:, ~gap], atol=2e-6)
    # The root of a gap amplifies the rounding of a likeness close to 1.
    assert np.allclose(found[:, gap] ** 2, expected[:, gap] ** 2, atol=1e-5)


def test_wrong_probabilities_are_not_timed() -> None:
    card = read_card(SHIPPED_FOLDER)
    network = read_network(SHIPPED_FOLDER / NETWORK_FILE, len(card.features))

    def wrong(_table: object) -> gpu_score.Scores:
        return lambda rows_a, _rows_b: np.full(len(rows_a), 0.5, np.float32)

    with pytest.raises(InvariantBroken, match=r"differ by 0\.\d+"):
        gpu_score.bench_pairs({"wrong": wrong}, card, network, 1_000, False, lambda _: None)


@pytest.mark.parametrize("prepare", [gpu_search._signs, np.ascontiguousarray])
def test_neighbours_on_a_gpu_are_compared_with_those_on_the_cpu(prepare: gpu_search.Prepare) -> None:
    import faiss

    class Elsewhere(FaissFlat):
        def nearest(self, rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
            numbers, nearness = super().nearest(rows, count)
            return (numbers + 1) % len(self), nearness

    vectors = prepare(gpu_search.many_vectors(np.random.default_rng(0), 3_000, gpu_search.DIM))
    for flat_type in (FaissFlat, Elsewhere):
        host = faiss.IndexBinaryFlat(gpu_search.DIM) if prepare is gpu_search._signs else faiss.IndexFlatIP(256)
        flat = flat_type(host)
        flat.add(vectors)
        if flat_type is FaissFlat:
            assert gpu_search._equal_share(host, flat, vectors[:16]) == 1
        else:
            with pytest.raises(InvariantBroken, match="% of the neighbours"):
                gpu_search._equal_share(host, flat, vectors[:16])


def test_the_card_and_its_driver_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.gpus() == []
    program = tmp_path / "nvidia-smi"
    for script, expected in (("echo 'NVIDIA H200, 580.159.04, 143771 MiB'", 1), ("exit 9", 0)):
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        assert len(machine.gpus()) == expected


def test_search_and_score_on_a_device_are_timed_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_worker, "DEVICE_BATCHES", (2,))
    monkeypatch.setattr(timing, "_LEAST_S", 0.01)
    scored: list[tuple[int, ...]] = []

    def scorer(_table: object) -> gpu_score.Scores:
        def score(rows_a: np.ndarray, rows_b: np.ndarray) -> np.ndarray:
            scored.append((len(rows_a), len(rows_b), len(np.unique(rows_a))))
            return np.zeros(len(rows_a), np.float32)

        return score

    (row,) = gpu_worker.bench_device(500, scorer, read_card(SHIPPED_FOLDER), 30, lambda _: None)
    assert set(scored) <= {(60, 60, 2), (60, 60, 1)}
    assert row["images_per_s"] == pytest.approx(2e3 / row["ms"], rel=0.1)
