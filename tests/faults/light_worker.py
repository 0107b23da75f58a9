"""The stream worker with pair scores from the cosine alone: `python -m tests.faults.light_worker`.

Everything else is real: Kafka, the store, the term index, control commands, kill -9. It leaves out TensorFlow, so it
starts in two seconds instead of ten, and a test can afford dozens of crashes. Its clock is off by the milliseconds in
the file that `NEARDUP_TEST_CLOCK` names, where there is one; what it syncs is noted in that of `NEARDUP_TEST_SYNCED`.
"""

import os
import signal
import sys
import threading
from pathlib import Path

from neardup_platform.clock import SystemClock
from neardup_platform.errors import NeardupError
from neardup_platform.learning.classifier.keras_active_classifier import active_folder
from neardup_platform.matching import Matching
from neardup_platform.scoring.card import SHIPPED_FOLDER, Card, read_card
from neardup_platform.servers.endpoints import resolve
from neardup_platform.settings import Settings
from neardup_platform.store.writer import Store
from neardup_platform.stream.running import run_worker
from neardup_platform.terminal_text import log_to_stderr
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


class LightClassifiers:
    """Light scorers, by the same folders as the real classifiers."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def load_active(self, promoted: str) -> LightScorer:
        return LightScorer(active_folder(self._settings, promoted))

    def load(self, folder: Path) -> LightScorer:
        return LightScorer(folder)


class SkewedClock(SystemClock):
    """Off by the milliseconds in a file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def now_ms(self) -> int:
        return super().now_ms() + int(self._file.read_text() or 0)


def main() -> int:
    """As `neardup worker`; returns the exit status."""
    log_to_stderr("%(asctime)s %(levelname)s %(name)s %(message)s")
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    if NOTED in os.environ:
        Store.sync = noting(Path(os.environ[NOTED]))  # type: ignore[method-assign]
    clock = SkewedClock(Path(os.environ[CLOCK])) if CLOCK in os.environ else SystemClock()
    try:
        run_worker(resolve(Settings()), clock, stopping, lambda _: None, LightClassifiers)
    except NeardupError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
