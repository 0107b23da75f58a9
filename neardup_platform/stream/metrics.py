"""What the worker measures of itself: latency over a sliding window, throughput, resident memory."""

import resource
from collections import deque
from collections.abc import Iterable
from pathlib import Path

import numpy as np

# Images whose latency is kept: ten seconds at the peak rate.
WINDOW_IMAGES = 2_000
RATE_WINDOW_S = 10.0


class StreamMetrics:
    """Latency and rate of recently decided images."""

    def __init__(self) -> None:
        self._latencies_ms: deque[float] = deque(maxlen=WINDOW_IMAGES)
        self._batches: deque[tuple[float, int]] = deque()

    def decided(self, now_s: float, latencies_ms: Iterable[float]) -> None:
        """Record a committed micro-batch.

        Args:
            now_s: the monotonic clock.
            latencies_ms: for each image, the time from its event to the commit.
        """
        latencies = list(latencies_ms)
        self._latencies_ms.extend(latencies)
        self._batches.append((now_s, len(latencies)))

    def metrics(self, now_s: float) -> dict[str, float]:
        """`images_per_s` over the last ten seconds, `p50_ms` and `p99_ms` over the last images, `rss_mb`."""
        while self._batches and self._batches[0][0] < now_s - RATE_WINDOW_S:
            self._batches.popleft()
        measured = {
            "images_per_s": sum(images for _, images in self._batches) / RATE_WINDOW_S,
            "rss_mb": round(resident_mb(), 1),
        }
        if self._latencies_ms:
            p50, p99 = np.percentile(self._latencies_ms, [50, 99])
            measured |= {"p50_ms": round(float(p50), 1), "p99_ms": round(float(p99), 1)}
        return measured


def resident_mb() -> float:
    """Resident memory of this process in MB; its peak where the system does not report the present value."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except FileNotFoundError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_000
    return pages * resource.getpagesize() / 1e6
