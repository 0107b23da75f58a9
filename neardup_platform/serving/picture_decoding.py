"""Decoding for search by example: in two lanes, so that one slow picture never holds another.

Upload → **quick lane**, two seconds of processor time at most → **slow lane**, one at a time with all that the
settings allow → embedder. A turn lasts until what was decoded has been used, which bounds what is in memory.
"""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import BinaryIO

from anyio import CapacityLimiter, to_thread

from neardup_platform.errors import ServerUnavailable
from neardup_platform.images.decode import Pixels, Postponed
from neardup_platform.images.decoding.cancellation import Cancellation
from neardup_platform.images.decoding.pool import DecoderPool
from neardup_platform.settings import ImageSettings

# Each for up to `images.decode_cpu_s`.
_MOST_SLOW_WAITING = 8
_SLOW_NICENESS = 10


class PictureDecoding:
    """The lanes; processes start with the first picture, or by `start`."""

    def __init__(self, limits: ImageSettings) -> None:
        self._quick = DecoderPool(limits, quick=True)
        self._slow = DecoderPool(limits, 1, niceness=_SLOW_NICENESS)
        self._quick_turn, self._slow_turn = CapacityLimiter(self._quick.processes), CapacityLimiter(1)
        self._threads = CapacityLimiter(self._quick.processes + 1)
        self._lock = threading.Lock()
        self._slow_begun = self._slow_waiting = 0

    def start(self) -> None:
        """Start the processes, so that the first picture is decoded as fast as the next.

        Raises:
            SetupError: they do not start.
        """
        self._quick.start()
        self._slow.start()

    def close(self) -> None:
        """End the processes."""
        self._quick.close()
        self._slow.close()

    @asynccontextmanager
    async def decoded(self, file: BinaryIO, enough_px: int, cancellation: Cancellation) -> AsyncIterator[Pixels]:
        """The pixels of a picture, once its turn has come.

        Args:
            file: read when its turn comes, so that what waits stays where it is.
            enough_px: shorter side that suffices.
            cancellation: ends the decoding.

        Raises:
            BadPicture: it is no picture that is accepted.
            TooCostly: it takes more than the limits of `images` allow.
            ServerUnavailable: too many slow pictures wait already.
            Cancelled: `cancellation` was.
        """
        async with self._quick_turn:
            try:
                pixels = await self._run(self._quick, file, enough_px, cancellation)
            except Postponed:
                pixels = None
            if pixels is not None:
                yield pixels
                return
        with self._lock:
            if self._slow_waiting >= _MOST_SLOW_WAITING:
                raise ServerUnavailable(f"{self._slow_waiting} large pictures wait to be decoded: try again later")
            self._slow_begun += 1
            self._slow_waiting += 1
        try:
            async with self._slow_turn:
                yield await self._run(self._slow, file, enough_px, cancellation)
        finally:
            with self._lock:
                self._slow_waiting -= 1

    async def _run(self, pool: DecoderPool, file: BinaryIO, enough_px: int, cancellation: Cancellation) -> Pixels:
        def run() -> Pixels:
            file.seek(0)
            return pool.decode(file.read(), enough_px, cancellation)

        return await to_thread.run_sync(run, limiter=self._threads)

    def figures(self) -> dict[str, int]:
        """Decodes begun in either lane, killed, cancelled; those moved to the slow lane, and in it now."""
        quick, slow = self._quick.figures(), self._slow.figures()
        with self._lock:
            return {
                **{name: quick[name] + slow[name] for name in quick},
                "decodes_slow": self._slow_begun,
                "decodes_slow_waiting": self._slow_waiting,
            }

    def pids(self) -> list[int]:
        """Of the processes alive."""
        return self._quick.pids() + self._slow.pids()
