"""Latencies of a live stream beside whatever is measured: from an image's event until a reader of the store sees it."""

import threading
import time
from collections import deque
from collections.abc import Sequence

import numpy as np

from neardup_platform.bench.stream import LOOKUP_IMAGES, REFRESH_S
from neardup_platform.bench.synthetic import image_id
from neardup_platform.errors import ServerUnavailable
from neardup_platform.settings import Settings
from neardup_platform.store.secondary import SecondaryStore

_PATIENCE_S = 300.0
# A stream that is stopped has ended when no image has become readable for this long.
_QUIET_S = 3.0


class LiveStream:
    """Follows the images of a producer until they are readable, in a thread.

    Args:
        first, count: numbers of the images, in the order of sending.
    """

    def __init__(self, settings: Settings, first: int, count: int) -> None:
        self._reader = SecondaryStore(settings.store_path, settings.home / f"bench-reader-{first}")
        self._pending = deque(image_id(number) for number in range(first, first + count))
        self._seen: list[tuple[int, int]] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def wait_for_first(self) -> None:
        """Wait until an image is readable, or the producer has failed."""
        deadline_s = time.monotonic() + _PATIENCE_S
        while not self._seen:
            if time.monotonic() > deadline_s:
                raise ServerUnavailable(f"no image became readable for {_PATIENCE_S:.0f} s")
            time.sleep(REFRESH_S)

    def wait(self) -> None:
        """Wait until all images are readable.

        Raises:
            ServerUnavailable: one is not, for minutes.
        """
        self._thread.join()
        if self._pending:
            raise ServerUnavailable(f"{len(self._pending)} images did not become readable within {_PATIENCE_S:.0f} s")

    def stop(self) -> None:
        """Wait until what a stopped producer has sent is readable."""
        self._stopping.set()
        self._thread.join()

    def between(self, started_s: float, ended_s: float) -> list[float]:
        """Latencies in ms of the images of a time; after `wait` or `stop`."""
        return [seen - event for event, seen in self._seen if 1_000 * started_s <= event <= 1_000 * ended_s]

    def _follow(self) -> None:
        quiet_since_s = time.monotonic()
        while self._pending:
            self._reader.refresh()
            now_ms = time.time_ns() // 1_000_000
            ids = [self._pending.popleft() for _ in range(min(LOOKUP_IMAGES, len(self._pending)))]
            records = dict(zip(ids, self._reader.images.find_many(ids), strict=True))
            found = [(record.event_time_ms, now_ms) for record in records.values() if record is not None]
            self._seen += found
            self._pending.extendleft(reversed([name for name, record in records.items() if record is None]))
            if found:
                quiet_since_s = time.monotonic()
            if time.monotonic() - quiet_since_s > (_QUIET_S if self._stopping.is_set() else _PATIENCE_S):
                break
            time.sleep(REFRESH_S)
        self._reader.close()


def percentile(values: Sequence[float], percent: float) -> float | None:
    """A percentile, rounded to 0.1; None where there are no values."""
    return round(float(np.percentile(values, percent)), 1) if values else None
