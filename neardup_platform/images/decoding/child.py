"""The decoder process: reads files from its input, writes pixels to its output, and can do nothing else.

Started by `pool.py` with a minimal environment. Before the first file it gives up what a decoder does not need: memory
beyond its limit, new files and sockets (no descriptor is left for them), writing to files, core dumps. The kernel
enforces the time limits: timers without a handler end the process inside any library, whatever it holds. The process
ends with its parent, even if the parent is killed: the input ends, or the life line breaks, which raises a signal.
"""

import fcntl
import os
import resource
import select
import signal
import sys
from pathlib import Path

from neardup_platform.errors import BadPicture, TooCostly
from neardup_platform.images.decode import Pixels, Postponed, decode, prepare
from neardup_platform.images.decoding.wire import (
    MAX_REASON_BYTES,
    READY,
    REQUEST_BYTES,
    Answer,
    Request,
    Status,
)

# No other descriptor is open, and the limit leaves room for none.
_INPUT, _OUTPUT, _ERRORS, _LIFE_LINE = 0, 1, 2, 3


def main(arguments: list[str]) -> None:
    """Serve until the input ends.

    Args:
        arguments: bytes of memory for each picture, bytes of the largest file, descriptor of the life line, niceness.
    """
    memory_bytes, max_bytes, life_line, niceness = map(int, arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    _end_with_parent(life_line)
    os.nice(niceness)
    prepare()
    _drop_privileges(memory_bytes)
    _write(READY)
    # Decoders write to standard error only what their answer already says.
    while (header := _read(REQUEST_BYTES)) is not None:
        request = Request.unpack(bytes(header))
        data = _read(request.length)
        if data is None:
            return
        _answer(request, bytes(data), max_bytes, memory_bytes)


def _answer(request: Request, data: bytes, max_bytes: int, memory_bytes: int) -> None:
    signal.setitimer(signal.ITIMER_PROF, request.cpu_s)
    signal.setitimer(signal.ITIMER_REAL, request.wall_s)
    pixels: Pixels | None = None
    try:
        pixels = decode(
            data,
            max_pixels=request.max_pixels,
            max_bytes=max_bytes,
            enough_px=request.enough_px,
            memory_bytes=memory_bytes,
            quick_pixels=request.quick_pixels,
        )
        status, reason = Status.PICTURE, ""
    except Postponed:
        status, reason = Status.POSTPONED, ""
    except TooCostly as error:
        status, reason = Status.TOO_COSTLY, str(error)
    except BadPicture as error:
        status, reason = Status.BAD, str(error)
    except MemoryError:
        status, reason = (
            Status.TOO_COSTLY,
            "decoding takes more memory than images.decode_memory_mb: shrink the picture or raise the limit",
        )
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    if pixels is not None:
        height, width, _ = pixels.shape
        _write(Answer(status, width, height, pixels.nbytes).pack())
        _write(pixels.data.cast("B"))
    else:
        text = reason.encode(errors="replace")[:MAX_REASON_BYTES]
        _write(Answer(status, 0, 0, len(text)).pack() + text)


def _end_with_parent(life_line: int) -> None:
    """Have the kernel end this process when the other end of the pipe closes, which killing the parent also does."""
    if life_line != _LIFE_LINE:
        os.dup2(life_line, _LIFE_LINE)
        os.close(life_line)
    if sys.platform == "linux":
        fcntl.fcntl(_LIFE_LINE, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(_LIFE_LINE, fcntl.F_SETFL, fcntl.fcntl(_LIFE_LINE, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([_LIFE_LINE], [], [], 0)[0]:  # nothing is ever written: it is already closed
        sys.exit(1)


def _drop_privileges(memory_bytes: int) -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, _ERRORS)
    os.close(nothing)
    status = Path("/proc/self/statm")
    used = int(status.read_text().split()[0]) * resource.getpagesize() if status.exists() else 1 << 30
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_AS, used + memory_bytes),
        (resource.RLIMIT_NOFILE, _LIFE_LINE + 1),
    ):
        _, hard = resource.getrlimit(limit)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)  # noqa: PLW2901
        try:
            resource.setrlimit(limit, (value, value))
        except (ValueError, OSError) as error:
            # macOS has no limit on address space; the parent's time limits still apply.
            if sys.platform == "linux":
                raise SystemExit(f"decoder: no limit {limit} of {value}: {error}") from error


def _read(length: int) -> bytearray | None:
    """Exactly `length` bytes; None at the end of the input."""
    data = bytearray(length)
    view, done = memoryview(data), 0
    while done < length:
        count = os.readv(_INPUT, [view[done:]])
        if count == 0:
            return None
        done += count
    return data


def _write(data: "bytes | memoryview") -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(_OUTPUT, view) :]
