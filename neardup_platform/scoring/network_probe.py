"""What TensorFlow answered to some features, kept beside the network, so that a start can check the compiled loop.

Training → **`network_probe.npy`**, float32 [rows, features + 1]: features, and the probability that TensorFlow computed
from them → comparison at each start, without TensorFlow. The card holds the SHA-256 of the file under
`training.probe_sha256`.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import BadArtefact
from neardup_platform.scoring.card import PROBE_FILE, Card, check_file, write_card
from neardup_platform.scoring.keras_file import Network

# The largest difference of two probabilities that is rounding; 3·10⁻⁷ was measured.
MOST_DIFFERENT = 1e-6
# Features at random around the mean of the training pairs, near it and far from it, so that all layers are in use.
ROWS = 96
_SPREADS = (0.3, 1.0, 2.0)
_SEED = 53

F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Probe:
    """Features, float32 [rows, features], and TensorFlow's probabilities of them, float32 [rows]."""

    features: F32
    expected: F32

    def difference(self, network: Callable[[F32], F32]) -> float:
        """Returns the largest difference of a network's probabilities from TensorFlow's."""
        return float(np.abs(network(self.features) - self.expected).max())


def make_probe(network: Network, answers: Callable[[F32], F32]) -> Probe:
    """Asks TensorFlow.

    Args:
        network: whose normalisation says what is usual.
        answers: the same network on TensorFlow, from features to probabilities.
    """
    rng = np.random.default_rng(_SEED)
    spread = np.resize(_SPREADS, ROWS)[:, None]
    features = network.mean + spread * network.deviation * rng.standard_normal((ROWS, len(network.mean)))
    single = features.astype(np.float32)
    return Probe(single, answers(single))


def record_probe(card: Card, folder: Path, probe: Probe) -> Card:
    """Writes a probe beside a card, and the card again with its checksum; returns that card, of the same version."""
    buffer = BytesIO()
    np.save(buffer, np.column_stack([probe.features, probe.expected]), allow_pickle=False)
    (folder / PROBE_FILE).write_bytes(buffer.getvalue())
    sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
    recorded = replace(card, training={**card.training, "probe_sha256": sha256})
    write_card(recorded, folder)
    return recorded


def read_probe(card: Card, folder: Path) -> Probe | None:
    """Reads the probe of a classifier; None where it has none, as those of earlier releases.

    Raises:
        BadArtefact: the file is damaged.
    """
    expected = card.training.get("probe_sha256")
    if expected is None or not (folder / PROBE_FILE).exists():
        return None
    check_file(folder, PROBE_FILE, expected)
    try:
        rows = np.load(folder / PROBE_FILE, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BadArtefact(f"{folder / PROBE_FILE} cannot be read ({error}): restore it or train again") from error
    if rows.ndim != 2 or rows.dtype != np.float32 or rows.shape[1] != len(card.features) + 1 or not len(rows):
        raise BadArtefact(f"{folder / PROBE_FILE} is {rows.dtype} {rows.shape}: restore it or train again")
    return Probe(np.ascontiguousarray(rows[:, :-1]), rows[:, -1].copy())
