"""Keeps work in the background behind the stream."""

from collections.abc import Callable

from neardup_platform.clock import Clock
from neardup_platform.stream.control.interruption import Interruption

_WAIT_S = 0.02


class Throttle:
    """Waits in a command's thread before each batch.

    Args:
        images_per_s: the most images in a second.
        has_room: whether more may be decided: most of what was decided before is published.
        interruption: ends the wait.
    """

    def __init__(
        self, images_per_s: float, has_room: Callable[[], bool], interruption: Interruption, clock: Clock
    ) -> None:
        self._images_per_s = images_per_s
        self._has_room, self._interruption, self._clock = has_room, interruption, clock
        self._next_s = clock.monotonic_s()

    def wait_for(self, images: int) -> None:
        """Wait until a batch may begin.

        Raises:
            BadCommand: the command is cancelled.
        """
        while (wait_s := self._next_s - self._clock.monotonic_s()) > 0 or not self._has_room():
            self._interruption.check()
            self._interruption.wait(max(wait_s, _WAIT_S))
        self._interruption.check()
        self._next_s = max(self._next_s, self._clock.monotonic_s()) + images / self._images_per_s
