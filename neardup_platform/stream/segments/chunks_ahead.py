"""Reads the chunks of a segment in a thread, a few ahead of the worker, which decides them meanwhile."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from neardup_platform.records import JoinedImage

Chunk = tuple[int, list[JoinedImage]]

# As many as may be in flight (stream/comparing.py), so that one is there whenever another step may start.
_AHEAD = 4


class ChunksAhead:
    """Chunks in their order; the thread ends with `close`.

    Args:
        chunks: read in the thread alone.
    """

    def __init__(self, chunks: Iterator[Chunk]) -> None:
        self._chunks = chunks
        self._thread = ThreadPoolExecutor(1, "segment")
        self._ahead: deque[Future[Chunk | None]] = deque(self._read() for _ in range(_AHEAD))

    def take(self) -> Chunk | None:
        """The next chunk; None after the last.

        Raises:
            BadArtefact: the file is damaged.
        """
        chunk = self._ahead.popleft().result()
        self._ahead.append(self._read())
        return chunk

    def close(self) -> None:
        """Read no more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _read(self) -> "Future[Chunk | None]":
        return self._thread.submit(next, self._chunks, None)
