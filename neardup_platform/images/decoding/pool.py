"""A pool of decoder processes: a killed one is replaced, and a slow picture blocks no other.

File bytes → **pool** → pixels. Ingest and training use one `DecoderPool`. Search by example decodes in two lanes: most
pictures take a fraction of a second; those that take longer move to a separate lane.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import LifoQueue
from types import TracebackType

from neardup_platform.errors import BadPicture, TooCostly
from neardup_platform.images.decode import Pixels, Postponed
from neardup_platform.images.decoding.cancellation import Cancellation, Cancelled
from neardup_platform.images.decoding.process import DecoderDied, DecoderProcess
from neardup_platform.images.decoding.wire import Request
from neardup_platform.settings import ImageSettings

# Limits of the quick lane: photographs from common cameras take a quarter of either.
QUICK_PIXELS, QUICK_CPU_S = 25_000_000, 2.0
# An overloaded machine gives a process at worst this fraction of a processor.
_WALL_PER_CPU = 6.0


class DecoderPool:
    """Decoder processes, started on first use or by `start`. Safe to use from several threads.

    Args:
        limits: of a file and of its decoding.
        quick: decode only what is quick; other pictures raise `Postponed`.
        niceness: of the processes, relative to this one.
    """

    def __init__(
        self, limits: ImageSettings, processes: int | None = None, *, quick: bool = False, niceness: int = 0
    ) -> None:
        self._limits = limits
        self._quick = quick
        self._niceness = niceness
        self._cpu_s = min(QUICK_CPU_S, limits.decode_cpu_s) if quick else limits.decode_cpu_s
        self.processes = processes or limits.decoders
        self._places: LifoQueue[DecoderProcess | None] = LifoQueue()
        for _ in range(self.processes):
            self._places.put(None)
        self._lock = threading.Lock()
        self._closed = False
        self._all: set[DecoderProcess] = set()
        self._counts = {"decodes": 0, "decodes_killed": 0, "decodes_cancelled": 0}

    def __enter__(self) -> "DecoderPool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start every process now, concurrently.

        Raises:
            SetupError: they do not start.
        """
        places = [self._places.get() for _ in range(self.processes)]
        try:
            places = [place or self._new() for place in places]
            for place in places:
                if place is not None:
                    place.wait_until_ready()
        finally:
            for place in places:
                self._places.put(place)

    def decode(self, data: bytes, enough_px: int | None, cancellation: Cancellation | None = None) -> Pixels:
        """Decode one file like `images.decode.decode`; waits for a free process.

        Raises:
            BadPicture: the file is not an accepted picture.
            TooCostly: it takes more memory, time or scans than the limits allow.
            Postponed: it takes longer than the quick lane allows.
            Cancelled: `cancellation` was cancelled, and the process has been killed.
            SetupError: no decoder process can be started.
        """
        limits = self._limits
        if len(data) > limits.max_bytes:
            raise BadPicture(
                f"file of more than images.max_bytes = {limits.max_bytes:,} bytes: shrink it or raise the limit"
            )
        request = Request(
            enough_px,
            limits.max_pixels,
            QUICK_PIXELS if self._quick else None,
            self._cpu_s,
            self._cpu_s * _WALL_PER_CPU,
            len(data),
        )
        with self._place() as process:
            self._count("decodes")
            try:
                return process.decode(data, request, cancellation or Cancellation())
            except Cancelled:
                self._count("decodes_cancelled")
                raise
            except DecoderDied as died:
                self._count("decodes_killed")
                raise self._error_for(died.status) from None

    def metrics(self) -> dict[str, int]:
        """Counters: `decodes` started, `decodes_killed` by a limit or a fault, `decodes_cancelled`."""
        with self._lock:
            return dict(self._counts)

    def pids(self) -> list[int]:
        """The ids of the living processes."""
        with self._lock:
            return [process.pid for process in self._all if process.alive]

    def close(self) -> None:
        """End every process; pictures being decoded end as cancelled or killed."""
        with self._lock:
            self._closed = True
            processes = list(self._all)
        for process in processes:
            process.kill()
        # Those in use come back as soon as their process has ended.
        for place in [self._places.get() for _ in range(self.processes)]:
            if place is not None:
                self._drop(place)
            self._places.put(None)

    def _error_for(self, status: int) -> BadPicture | Postponed:
        if status == -signal.SIGPROF:
            if self._quick and self._cpu_s < self._limits.decode_cpu_s:
                return Postponed()
            return TooCostly(
                f"decoding takes more than images.decode_cpu_s = {self._limits.decode_cpu_s:g} seconds of processor "
                "time: save the picture again in a simpler form, or raise the limit"
            )
        if status == -signal.SIGALRM:
            return TooCostly(
                f"decoding took more than {self._cpu_s * _WALL_PER_CPU:g} seconds ({_WALL_PER_CPU:g} × "
                "images.decode_cpu_s): try again when the machine is less busy"
            )
        if status == -signal.SIGKILL:
            return TooCostly(
                "the decoder was killed, probably because the machine ran out of memory: lower images.decode_memory_mb"
            )
        return TooCostly(
            f"the decoder failed on this file (status {status}): it is damaged, or takes more than "
            f"images.decode_memory_mb = {self._limits.decode_memory_mb:,}"
        )

    @contextmanager
    def _place(self) -> Iterator[DecoderProcess]:
        place = self._places.get()
        try:
            if place is not None and not place.alive:
                self._drop(place)
                place = None
            place = place or self._new()
            place.wait_until_ready()
            yield place
        except (BadPicture, Postponed) as error:
            # A process that is still alive has raised this itself and stays usable; a dead one is dropped.
            if place is not None and not place.alive:
                self._drop(place)
                place = None
            raise error
        except BaseException:
            if place is not None:
                self._drop(place)
            place = None
            raise
        finally:
            self._places.put(place)

    def _new(self) -> DecoderProcess:
        process = DecoderProcess(self._limits.decode_memory_mb << 20, self._limits.max_bytes, self._niceness)
        with self._lock:
            self._all.add(process)
            closed = self._closed
        if closed:
            self._drop(process)
            raise Cancelled
        return process

    def _drop(self, process: DecoderProcess) -> None:
        with self._lock:
            known = process in self._all
            self._all.discard(process)
        if known:
            process.close()

    def _count(self, name: str) -> None:
        with self._lock:
            self._counts[name] += 1
