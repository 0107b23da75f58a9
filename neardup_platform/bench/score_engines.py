"""The first score of the pair classifier and its peers: from the same vectors to the same probabilities.

| engine | features | network |
|---|---|---|
| neardup | compiled loops | compiled loop |
| tensorflow | compiled loops | TensorFlow, the reference |
| onnxruntime | compiled loops | onnxruntime |
| numpy+tensorflow | NumPy on gathered rows | TensorFlow; the worker's method before the compiled loops |
| numpy | NumPy on gathered rows | NumPy |
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from neardup_platform.bench.array_features import numpy_features
from neardup_platform.bench.frozen_network import freeze, numpy_probability, onnx_bytes
from neardup_platform.errors import SetupError
from neardup_platform.scoring.card import NETWORK_FILE
from neardup_platform.scoring.compact import Layout, unpack
from neardup_platform.scoring.features import compared_entries, pair_features, with_compact
from neardup_platform.scoring.keras_classifier import PairClassifier, split_pairs
from neardup_platform.scoring.tensorflow_network import TensorFlowNetwork, read_network, traced
from neardup_platform.scoring.vectors import VectorRows

Floats = NDArray[np.float32]
Ordinals = NDArray[np.int64]
Features = Callable[[VectorRows, Ordinals, VectorRows, Ordinals], Floats]
Probability = Callable[[Floats], Floats]


class Engine(Protocol):
    """A measured engine."""

    def score(self, a: VectorRows, rows_a: Ordinals, b: VectorRows, rows_b: Ordinals) -> Floats:
        """Like `PairClassifier.first_scores`."""


class FirstScore:
    """The classifier without its second look, which no peer has."""

    def __init__(self, classifier: PairClassifier) -> None:
        self._classifier = classifier

    def score(self, a: VectorRows, rows_a: Ordinals, b: VectorRows, rows_b: Ordinals) -> Floats:
        """Like `PairClassifier.first_scores`."""
        return self._classifier.first_scores(a, rows_a, b, rows_b)


class Peer:
    """Features and a network of any kind; pairs are split into parts for threads as in the pair classifier."""

    def __init__(self, features: Features, probability: Probability, threads: int) -> None:
        self._features, self._probability, self._threads = features, probability, threads
        self._pool = ThreadPoolExecutor(threads, "bench-score")

    def score(self, a: VectorRows, rows_a: Ordinals, b: VectorRows, rows_b: Ordinals) -> Floats:
        """Like `PairClassifier.first_scores`."""

        def score_part(part: slice) -> Floats:
            return self._probability(self._features(a, rows_a[part], b, rows_b[part]))

        parts = split_pairs(len(rows_a), self._threads)
        return np.concatenate(list(self._pool.map(score_part, parts) if len(parts) > 1 else map(score_part, parts)))


def engines(classifier: PairClassifier, threads: int) -> dict[str, Engine]:
    """Every engine by name, ours first.

    Args:
        classifier: with the same number of threads.
        threads: that share a batch; NumPy's matrix products use additional threads.

    Raises:
        SetupError: onnxruntime is not installed.
        BadArtefact: the network has an operation that the peers do not support.
    """
    path, n_features = classifier.folder / NETWORK_FILE, len(classifier.card.features)
    tensorflow = TensorFlowNetwork(path, n_features, threads)
    blocks, frozen = classifier.card.blocks, freeze(traced(read_network(path, n_features)))

    def compiled(a: VectorRows, rows_a: Ordinals, b: VectorRows, rows_b: Ordinals) -> Floats:
        return pair_features(a, rows_a, b, rows_b, blocks)

    layout = Layout(classifier.card.lsh_dim, compared_entries(blocks))

    def gathered(a: VectorRows, rows_a: Ordinals, b: VectorRows, rows_b: Ordinals) -> Floats:
        sides = (with_compact(side, rows, blocks) for side, rows in ((a, rows_a), (b, rows_b)))
        one, other = (unpack(side.compact[rows], layout) for side, rows in sides if side.compact is not None)
        return numpy_features(one[0], other[0], one[1], other[1], blocks)

    return {
        "neardup": FirstScore(classifier),
        "onnxruntime": Peer(compiled, _onnx_probability(onnx_bytes(frozen)), threads),
        "tensorflow": Peer(compiled, tensorflow, threads),
        "numpy+tensorflow": Peer(gathered, tensorflow, threads),
        "numpy": Peer(gathered, lambda features: numpy_probability(frozen, features), threads),
    }


def _onnx_probability(model: bytes) -> Probability:
    try:
        import onnxruntime
    except ImportError as error:
        raise SetupError("onnxruntime is a peer of this benchmark: pip install 'neardup-platform[bench]'") from error
    options = onnxruntime.SessionOptions()
    # One thread per operation, as for TensorFlow: parts run concurrently.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session: Any = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda features: np.asarray(session.run(None, {"x": features})[0][:, 0])
