"""`neardup bench score`, on a small scale."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from neardup_platform.bench import score
from neardup_platform.bench.frozen_network import freeze, numpy_probability
from neardup_platform.bench.score_engines import engines
from neardup_platform.bench.synthetic import FAMILY_IMAGES, many_images, many_vectors
from neardup_platform.cli.main import cli
from neardup_platform.errors import BadArtefact, InvariantBroken
from neardup_platform.scoring.card import NETWORK_FILE, SHIPPED_FOLDER
from neardup_platform.scoring.keras_classifier import PairClassifier
from neardup_platform.scoring.tensorflow_network import read_network, traced
from neardup_platform.scoring.vectors import ImageVectors

ENGINES = ["neardup", "onnxruntime", "tensorflow", "numpy+tensorflow", "numpy"]


@pytest.fixture(scope="module")
def classifier() -> PairClassifier:
    return PairClassifier(SHIPPED_FOLDER, threads=2)


@pytest.mark.slow
def test_every_engine_has_a_row_for_each_batch_and_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "BATCHES", ((1, 40), (8, 30)))
    monkeypatch.setattr(score, "_TURN_PAIRS", 240)
    options = ["--rows", "1000", "--rounds", "3", "--json"]
    answer = CliRunner().invoke(cli, ["bench", "score", *options], catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    result = json.loads(answer.stdout)
    assert result.keys() == {"bench", "machine", "settings", "rows"}
    assert result["bench"] == "score"
    assert result["settings"]["rows"] == 1_000
    keys = [(row["batch"], row["threads"], row["engine"]) for row in result["rows"]]
    assert keys == [(batch, threads, engine) for batch in (40, 240) for threads in (1, 2) for engine in ENGINES]
    for row in result["rows"]:
        assert row["pairs_per_s"] > 0
        assert row["time_ratio"] > 0
        assert row["processor_us"] > 0
        assert 0 <= row["max_difference"] <= 1e-4
        if row["engine"] == "neardup":
            assert row["time_ratio"] == row["processor_ratio"] == 1
            parts = [row[f"{part}_share"] for part in ("gather", "features", "network")]
            assert sum(parts) == pytest.approx(1, abs=0.01)


def test_all_engines_agree_on_near_duplicates_and_unrelated_pairs(classifier: PairClassifier) -> None:
    rng, card = np.random.default_rng(0), classifier.card
    vectors = many_images(rng, 600, card)
    a, b = np.repeat(np.arange(600), 2), np.stack([np.arange(600), rng.integers(0, 600, 600)], axis=1).ravel()
    scores = {name: engine.score(vectors, a, vectors, b) for name, engine in engines(classifier, 2).items()}
    assert list(scores) == ENGINES
    assert scores["neardup"].min() < 0.01
    assert scores["neardup"].max() > 0.9
    for name, found in scores.items():
        assert np.allclose(found, scores["neardup"], atol=1e-4), name


def test_engines_that_disagree_are_not_timed(classifier: PairClassifier) -> None:
    class Wrong:
        def score(self, a: object, rows_a: np.ndarray, b: object, rows_b: np.ndarray) -> np.ndarray:
            return np.full(len(rows_a), 0.5, np.float32)

    rng = np.random.default_rng(0)
    dims = (classifier.card.lsh_dim, classifier.card.pair_dim)
    table = ImageVectors(*(many_vectors(rng, 60, dim).astype(np.float16) for dim in dims))
    with pytest.raises(InvariantBroken, match=r"wrong and neardup differ by 0\.\d+ in a probability"):
        score._measure({"neardup": classifier, "wrong": Wrong()}, table, 2, 20, 3, rng)


def test_a_network_with_unsupported_operations_is_refused() -> None:
    import tensorflow as tf

    odd = tf.function(lambda x: tf.math.erf(x)[:, :1], input_signature=[tf.TensorSpec([None, 3], tf.float32)])
    with pytest.raises(BadArtefact, match="operation Erf"):
        freeze(odd.get_concrete_function())


def test_a_frozen_network_computes_the_same_as_the_traced_one(classifier: PairClassifier) -> None:
    import tensorflow as tf

    features = np.random.default_rng(1).random((50, len(classifier.card.features)), np.float32)
    function = traced(read_network(classifier.folder / NETWORK_FILE, features.shape[1]))
    expected = function(tf.constant(features)).numpy()[:, 0]
    assert np.allclose(numpy_probability(freeze(function), features), expected, atol=1e-6)


def test_many_vectors_come_in_families_of_unit_length() -> None:
    made = many_vectors(np.random.default_rng(2), 10 * FAMILY_IMAGES + 1, 256)
    cosines = made @ made.T
    family = np.arange(len(made)) // FAMILY_IMAGES
    same = family[:, None] == family
    assert np.allclose(np.diag(cosines), 1, atol=1e-5)
    assert cosines[same].min() > 0.7
    assert cosines[same].mean() > 0.9
    assert abs(cosines[~same].mean()) < 0.05
