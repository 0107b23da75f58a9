"""Exponential back-off: how long to wait before a failed process is started again. Pure.

The supervisor uses it for servers, the `stream_worker` run for worker processes, and the sensor for runs.
"""

from dataclasses import dataclass

# A process that ran this long starts with a clean record: its earlier failures no longer count.
HEALTHY_S = 60.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays that double with each consecutive failure.

    Attributes:
        first_s: the first delay that is not 0.
        max_s: the longest delay.
        immediate: how many consecutive failures are retried without a delay.
    """

    first_s: float
    max_s: float
    immediate: int = 0

    def delay_s(self, failures: int) -> float:
        """Seconds to wait after `failures` consecutive failures."""
        doublings = failures - self.immediate - 1
        # 2^64 times any first delay exceeds every limit; an exponent without a bound overflows.
        return 0.0 if doublings < 0 else min(self.max_s, self.first_s * 2.0 ** min(doublings, 64))
