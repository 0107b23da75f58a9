"""Opens the network of a classifier: as the compiled loop, or on TensorFlow where the loop cannot prove itself equal.

Card and folder → **features → probabilities**. The choice follows from the files alone, so every process that opens
them (worker, API, reprocessing) gives a pair the same score to the last bit (docs/adr/0053).
"""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neardup_platform.scoring.card import NETWORK_FILE, Card
from neardup_platform.scoring.compiled_network import CompiledNetwork
from neardup_platform.scoring.keras_file import OtherNetworkError, read_keras_file
from neardup_platform.scoring.network_probe import MOST_DIFFERENT, make_probe, read_probe
from neardup_platform.scoring.tensorflow_network import TensorFlowNetwork

# From float32 [n, features] to float32 [n].
Probabilities = Callable[[NDArray[np.float32]], NDArray[np.float32]]

log = logging.getLogger(__name__)


def open_network(card: Card, folder: Path, threads: int) -> Probabilities:
    """Opens a classifier's network.

    Args:
        card: of the classifier.
        folder: of the classifier.
        threads: that call it at once.

    Raises:
        BadArtefact: the network is damaged, or of other features.
    """
    path, n_features = folder / NETWORK_FILE, len(card.features)
    try:
        network = read_keras_file(path, n_features)
    except OtherNetworkError as error:
        reason = str(error)
    else:
        compiled, probe = CompiledNetwork(network), read_probe(card, folder)
        if probe is None:
            log.info("classifier %s keeps no answers of TensorFlow: asking it, which takes seconds", card.version)
            probe = make_probe(network, TensorFlowNetwork(path, n_features, threads))
        difference = probe.difference(compiled)
        if difference <= MOST_DIFFERENT:
            return compiled
        reason = f"it differs by {difference:.2g} from TensorFlow, at most {MOST_DIFFERENT:g} is rounding"
    log.warning("the network of classifier %s runs on TensorFlow, not compiled (%s)", card.version, reason)
    return TensorFlowNetwork(path, n_features, threads)
