"""The compiled network: equal to TensorFlow, checked at each start, and opened without importing TensorFlow."""

import logging
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neardup_platform.errors import BadArtefact
from neardup_platform.scoring import keras_network
from neardup_platform.scoring.card import NETWORK_FILE, PROBE_FILE, SHIPPED_FOLDER, Card, read_card, write_card
from neardup_platform.scoring.compiled_network import CompiledNetwork
from neardup_platform.scoring.features import pair_features
from neardup_platform.scoring.keras_classifier import PairClassifier
from neardup_platform.scoring.keras_file import OtherNetworkError, read_keras_file
from neardup_platform.scoring.network_probe import MOST_DIFFERENT, Probe, make_probe, read_probe, record_probe
from neardup_platform.scoring.networks import open_network
from neardup_platform.scoring.tensorflow_network import TensorFlowNetwork
from neardup_platform.scoring.vectors import ImageVectors

CARD = read_card(SHIPPED_FOLDER)
NETWORK, FEATURES = SHIPPED_FOLDER / NETWORK_FILE, len(CARD.features)


@pytest.fixture(scope="module")
def tensorflow() -> TensorFlowNetwork:
    return TensorFlowNetwork(NETWORK, FEATURES)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED_FOLDER, tmp_path / "classifier"))


def image_pairs() -> np.ndarray:
    """Features of pairs of noisy copies, from equal to unrelated."""
    rng, count = np.random.default_rng(1), 2_000
    sides = []
    for dim in (CARD.lsh_dim, CARD.pair_dim):
        one = rng.standard_normal((count, dim))
        other = one + rng.uniform(0, 1.5, (count, 1)) * rng.standard_normal((count, dim))
        units = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (one, other))
        sides.append([rows.astype(np.float16) for rows in units])
    a, b = (ImageVectors(*side) for side in zip(*sides, strict=True))
    return pair_features(a, np.arange(count), b, np.arange(count), CARD.blocks)


def random_features(spread: float) -> Callable[[], np.ndarray]:
    def make() -> np.ndarray:
        network = read_keras_file(NETWORK, FEATURES)
        noise = np.random.default_rng(2).standard_normal((5_000, FEATURES))
        return np.asarray(network.mean + spread * network.deviation * noise, np.float32)

    return make


@pytest.mark.parametrize("features", [image_pairs, random_features(0.3), random_features(1), random_features(3)])
def test_the_compiled_network_equals_tensorflow(
    features: Callable[[], np.ndarray], tensorflow: TensorFlowNetwork
) -> None:
    given = features()
    expected = tensorflow(given)
    assert np.ptp(expected) > 0.7
    assert np.abs(CompiledNetwork(read_keras_file(NETWORK, FEATURES))(given) - expected).max() <= MOST_DIFFERENT


@pytest.mark.parametrize(("members", "hidden"), [(1, (5, 3)), (3, (16, 40)), (5, (33, 1))])
def test_a_network_of_any_size_is_compiled(
    members: int, hidden: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras_network, "MEMBERS", members)
    monkeypatch.setattr(keras_network, "HIDDEN", hidden)
    monkeypatch.setattr(keras_network, "EPOCHS", 1)
    rng = np.random.default_rng(members)
    features = rng.standard_normal((300, 7)).astype(np.float32)
    model = keras_network.calibrate(keras_network.fit_network(features, features[:, 0] > 0, 0), 3.0, -0.5)
    model.save(tmp_path / NETWORK_FILE)
    compiled = CompiledNetwork(read_keras_file(tmp_path / NETWORK_FILE, 7))
    assert np.abs(compiled(features) - keras_network.outputs(model, features)).max() <= MOST_DIFFERENT


def test_a_classifier_scores_without_importing_tensorflow() -> None:
    program = (
        "import sys; import numpy as np\n"
        "from neardup_platform.scoring.keras_classifier import load_classifier\n"
        "from neardup_platform.stream.models.keras_classifiers import KerasClassifiers\n"
        "load_classifier(None)\n"
        "sys.exit(', '.join({'tensorflow', 'keras'} & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_network_that_answers_otherwise_than_tensorflow_did_runs_on_tensorflow(
    copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    probe = read_probe(CARD, copy)
    assert probe is not None
    card = record_probe(CARD, copy, Probe(probe.features, probe.expected + np.float32(3e-6)))
    with caplog.at_level(logging.WARNING):
        network = open_network(card, copy, 1)
    assert isinstance(network, TensorFlowNetwork)
    assert "differs by 3" in caplog.text
    for count in (1, 5, 96):
        assert np.array_equal(network(probe.features[:count]), network(probe.features)[:count])


def test_without_recorded_answers_tensorflow_itself_is_asked(copy: Path, caplog: pytest.LogCaptureFixture) -> None:
    without = {key: value for key, value in CARD.training.items() if key != "probe_sha256"}
    card: Card = replace(CARD, training=without)
    write_card(card, copy)
    (copy / PROBE_FILE).unlink()
    with caplog.at_level(logging.INFO):
        assert isinstance(open_network(card, copy, 1), CompiledNetwork)
    assert "keeps no answers of TensorFlow" in caplog.text


def test_a_network_of_another_structure_runs_on_tensorflow(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import keras

    entry = keras.Input((FEATURES,))
    keras.Model(entry, keras.layers.Dense(1, activation="sigmoid")(entry)).save(tmp_path / NETWORK_FILE)
    with caplog.at_level(logging.WARNING):
        network = open_network(CARD, tmp_path, 1)
    assert "runs on TensorFlow" in caplog.text
    assert network(np.zeros((3, FEATURES), np.float32)).shape == (3,)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"activation": "relu"', '"activation": "tanh"'),
        ('"activation": "sigmoid"', '"activation": "linear"'),
        ('"class_name": "Average"', '"class_name": "Maximum"'),
        ('"keras_history": ["member_1_0", 0, 0]', '"keras_history": ["member_0_0", 0, 0]'),
        ('"invert": false', '"invert": true'),
        ('"name": "calibration"', '"name": "lost"'),
    ],
)
def test_a_network_of_other_layers_is_not_compiled(before: str, after: str, tmp_path: Path) -> None:
    path = tmp_path / NETWORK_FILE
    with zipfile.ZipFile(NETWORK) as source, zipfile.ZipFile(path, "w") as target:
        config = source.read("config.json").decode()
        assert before in config
        target.writestr("config.json", config.replace(before, after))
        target.writestr("model.weights.h5", source.read("model.weights.h5"))
    with pytest.raises(OtherNetworkError):
        read_keras_file(path, FEATURES)


@pytest.mark.parametrize("content", [b"weights", NETWORK.read_bytes()[:30_000]])
def test_a_damaged_file_is_not_compiled(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / NETWORK_FILE
    path.write_bytes(content)
    with pytest.raises(OtherNetworkError):
        read_keras_file(path, FEATURES)


def test_a_network_of_other_features_is_rejected(tmp_path: Path) -> None:
    shutil.copy(NETWORK, tmp_path)
    card = replace(CARD, features=CARD.features[:-1])
    with pytest.raises(BadArtefact, match="its card says 57 features"):
        open_network(card, tmp_path, 1)


def test_damaged_answers_are_rejected(copy: Path) -> None:
    (copy / PROBE_FILE).write_bytes(b"torn")
    with pytest.raises(BadArtefact, match=r"network_probe\.npy is damaged"):
        PairClassifier(copy)


def test_a_probe_reaches_all_probabilities() -> None:
    network = read_keras_file(NETWORK, FEATURES)
    probe = make_probe(network, CompiledNetwork(network))
    assert probe.expected.min() < 0.001
    assert probe.expected.max() > 0.9
    assert np.mean((probe.expected > 0.01) & (probe.expected < 0.99)) > 0.2
