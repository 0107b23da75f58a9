"""The stream worker with pair scores from the cosine alone: `python -m tests.faults.light_worker`.

Everything else is real: Kafka, the store, the term index, control commands, kill -9. It leaves out TensorFlow, so it
starts in two seconds instead of ten, and a test can afford dozens of crashes. Its clock is off by the milliseconds in
the file that `NEARDUP_TEST_CLOCK` names, where there is one; what it syncs is noted in that of `NEARDUP_TEST_SYNCED`.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from neardup_platform.cli import main
from neardup_platform.learning.classifier.keras_active_classifier import active_folder
from neardup_platform.matching import Matching
from neardup_platform.scoring.card import SHIPPED_FOLDER, Card, read_card
from neardup_platform.settings import Settings
from neardup_platform.store.writer import Store
from neardup_platform.stream import worker
from neardup_platform.stream.models import load_model
from neardup_platform.testing import CosineScorer
from tests.faults.power_cut import NOTED, noting

CLOCK = "NEARDUP_TEST_CLOCK"
THRESHOLD, HEAD_THRESHOLD = 0.8, 0.7


class LightScorer(CosineScorer):
    """Scores by the cosine and takes the place of the classifier that a card describes."""

    def __init__(self, folder: Path | None = None, threads: int = 1) -> None:
        self.card: Card = read_card(folder or SHIPPED_FOLDER)
        super().__init__(self.card.version, THRESHOLD, HEAD_THRESHOLD, self.card.required_models)


def matching() -> Matching:
    """What the light worker decides by, with otherwise default settings."""
    return Matching.of(Settings(), LightScorer())


def _in_force(settings: Settings, promoted: str) -> LightScorer:
    return LightScorer(active_folder(settings, promoted))


def _skewed(clock: Path) -> Callable[[], int]:
    true = time.time_ns

    def skewed() -> int:
        return true() + 1_000_000 * int(clock.read_text() or 0)

    return skewed


if __name__ == "__main__":
    worker.limit_tensorflow_threads = lambda _calls: None  # type: ignore[assignment]
    worker.load_active_classifier = _in_force  # type: ignore[assignment]
    load_model.load_classifier = LightScorer  # type: ignore[assignment]
    if NOTED in os.environ:
        Store.sync = noting(Path(os.environ[NOTED]))  # type: ignore[method-assign]
    if CLOCK in os.environ:
        time.time_ns = _skewed(Path(os.environ[CLOCK]))
    sys.argv = ["neardup", "worker"]
    sys.exit(main())
