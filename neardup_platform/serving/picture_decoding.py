"""Decoding for search by example, in two lanes, so that a slow picture does not delay the others.

Upload → **quick lane**, at most two seconds of processor time → **slow lane**, one picture at a time with the full
limits of the settings → embedder. A picture keeps its turn until it has been used, which bounds the memory.
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

# Each may take up to `images.decode_cpu_s`.
_MOST_SLOW_WAITING = 8
_SLOW_NICENESS = 10


class PictureDecoding:
    """Both lanes; the processes start with the first picture, or by `start`."""

    def __init__(self, limits: ImageSettings) -> None:
        self._quick = DecoderPool(limits, quick=True)
        self._slow = DecoderPool(limits, 1, niceness=_SLOW_NICENESS)
        self._quick_turn, self._slow_turn = CapacityLimiter(self._quick.processes), CapacityLimiter(1)
        self._threads = CapacityLimiter(self._quick.processes + 1)
        self._lock = threading.Lock()
        self._slow_begun = self._slow_waiting = 0

    def start(self) -> None:
        """Start the processes, so that the first picture is decoded as fast as later ones.

        Raises:
            SetupError: a process does not start.
        """
        self._quick.start()
        self._slow.start()

    def close(self) -> None:
        """End the processes."""
        self._quick.close()
        self._slow.close()

    @asynccontextmanager
    async def decoded(self, file: BinaryIO, enough_px: int, cancellation: Cancellation) -> AsyncIterator[Pixels]:
        """Yield the pixels of a picture when its turn comes.

        Args:
            file: read when its turn comes, so that a waiting picture takes no memory.
            enough_px: shorter side that suffices for the embedders.
            cancellation: stops the decoding.

        Raises:
            BadPicture: the file is not an accepted picture.
            TooCostly: decoding exceeds a limit of `images`.
            ServerUnavailable: too many slow pictures wait already.
            Cancelled: by `cancellation`.
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
        """Counts of decodes: begun in either lane, killed, cancelled, moved to the slow lane, and in it now."""
        quick, slow = self._quick.metrics(), self._slow.metrics()
        with self._lock:
            return {
                **{name: quick[name] + slow[name] for name in quick},
                "decodes_slow": self._slow_begun,
                "decodes_slow_waiting": self._slow_waiting,
            }

    def pids(self) -> list[int]:
        """Ids of the running processes."""
        return self._quick.pids() + self._slow.pids()
