"""A decoder process from the view of its parent: a file in, pixels or a reason out, killed when it takes too long."""

import contextlib
import errno
import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from neardup_platform.errors import BadPicture, SetupError, TooCostly
from neardup_platform.images.decode import Pixels, Postponed
from neardup_platform.images.decoding.cancellation import Cancellation, Cancelled
from neardup_platform.images.decoding.wire import ANSWER_BYTES, READY, Answer, Request, Status

_PACKAGE_FOLDER = Path(__file__).parents[3]
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from neardup_platform.images.decoding.child import main; main(sys.argv[2:])"
)
# A decoder of untrusted files gets no passwords. NEARDUP_MARK identifies the owner of the process.
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR", "NEARDUP_MARK")
# One heap and no threads, so that the memory limit applies to the picture.
_ONE_THREAD = {"MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
_PIPE_BYTES = 1 << 20
_START_S = 120.0
# The timer of the process fires first; this is for a process whose timer was disabled by an exploit.
_GRACE_S = 5.0


class DecoderDied(Exception):
    """The process ended while it had a file: `status` is its exit status, negative for the signal that ended it."""

    def __init__(self, status: int) -> None:
        super().__init__(f"decoder process ended with status {status}")
        self.status = status


class DecoderProcess:
    """A decoder process; used by one thread at a time.

    Args:
        memory_bytes: for each picture, in addition to what the process itself uses.
        max_bytes: of a file.
        niceness: added to this process's own.
    """

    def __init__(self, memory_bytes: int, max_bytes: int, niceness: int) -> None:
        life_line, self._life = os.pipe()
        try:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-c", _PROGRAM, str(_PACKAGE_FOLDER)),
                    *(str(value) for value in (memory_bytes, max_bytes, life_line, niceness)),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ} | _ONE_THREAD,
                pass_fds=(life_line,),
            )
        finally:
            os.close(life_line)
        assert self._process.stdin is not None  # noqa: S101 -- Popen was given both pipes
        assert self._process.stdout is not None  # noqa: S101
        self._input, self._output = self._process.stdin.fileno(), self._process.stdout.fileno()
        for descriptor in (self._input, self._output):
            os.set_blocking(descriptor, False)
            if sys.platform == "linux":
                # An unprivileged user may not be allowed larger pipes; the usual size works.
                with contextlib.suppress(OSError):
                    fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._ready = False

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can accept a file."""
        return self._process.poll() is None

    def kill(self) -> None:
        """Kill the process immediately; callable from any thread."""
        self._process.kill()

    def close(self) -> None:
        """Kill the process and release its resources."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        os.close(self._life)

    def wait_until_ready(self) -> None:
        """Return once it can decode.

        Raises:
            SetupError: it does not start.
        """
        if self._ready:
            return
        greeting = bytearray(len(READY))
        try:
            self._receive(memoryview(greeting), time.monotonic() + _START_S)
        except DecoderDied as died:
            raise SetupError(
                f"the decoder process does not start (status {died.status}): the reason is on standard error"
            ) from None
        if greeting != READY:
            raise SetupError(f"the decoder process started with {bytes(greeting)!r}: install the package again")
        self._ready = True

    def decode(self, data: bytes, request: Request, cancellation: Cancellation) -> Pixels:
        """Decode one file. After any exception but the first three, the process must be closed.

        Raises:
            BadPicture: the file is not an accepted picture.
            TooCostly: it exceeds a limit, and the process detected that itself.
            Postponed: it is larger than the request allows.
            DecoderDied: the process ended, because of a time limit or a fault.
            Cancelled: `cancellation` was cancelled.
        """
        deadline = time.monotonic() + request.wall_s + _GRACE_S
        try:
            with cancellation.stopping(self.kill):
                self._send(request.pack(), deadline)
                self._send(data, deadline)
                header = bytearray(ANSWER_BYTES)
                self._receive(memoryview(header), deadline)
                answer = self._checked(bytes(header), request.max_pixels)
                body = np.empty(answer.length, np.uint8)
                self._receive(body.data, time.monotonic() + request.wall_s + _GRACE_S)
        except DecoderDied:
            if cancellation.cancelled:
                raise Cancelled from None
            raise
        if answer.status == Status.PICTURE:
            return body.reshape(answer.height, answer.width, 3)
        if answer.status == Status.POSTPONED:
            raise Postponed
        reason = "".join(c if c.isprintable() else "?" for c in body.tobytes().decode(errors="replace"))
        raise TooCostly(reason) if answer.status == Status.TOO_COSTLY else BadPicture(reason)

    def _checked(self, header: bytes, max_pixels: int) -> Answer:
        try:
            return Answer.unpack(header, max_pixels)
        except ValueError:
            raise self._ended() from None

    def _send(self, data: bytes, deadline: float) -> None:
        view = memoryview(data)
        while view:
            self._wait(self._input, select.POLLOUT, deadline)
            try:
                view = view[os.write(self._input, view) :]
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno != errno.EPIPE:
                    raise
                raise self._ended() from None

    def _receive(self, view: memoryview, deadline: float) -> None:
        while view:
            self._wait(self._output, select.POLLIN, deadline)
            try:
                count = os.readv(self._output, [view])
            except BlockingIOError:
                continue
            if count == 0:
                raise self._ended()
            view = view[count:]

    def _wait(self, descriptor: int, event: int, deadline: float) -> None:
        waiting = select.poll()
        waiting.register(descriptor, event)
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not waiting.poll(1_000 * left_s):
            self.kill()
            self._process.wait()
            raise DecoderDied(-signal.SIGALRM)

    def _ended(self) -> DecoderDied:
        """The error for a process that closed its pipes or sent an invalid answer; makes sure that it has ended."""
        try:
            return DecoderDied(self._process.wait(1.0))
        except subprocess.TimeoutExpired:
            self.kill()
            return DecoderDied(self._process.wait())
